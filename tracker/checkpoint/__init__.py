"""Which objects belong to the state of a run."""
