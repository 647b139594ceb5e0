"""What lasts of a run: the store, and the frames that are read from it."""
