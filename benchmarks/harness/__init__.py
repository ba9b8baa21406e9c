"""What every benchmark shares; standard library only, since it runs in the environment of every peer."""
