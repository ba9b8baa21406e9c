"""What keeps a store small, quick and whole: retention, removal, repair, the index."""
