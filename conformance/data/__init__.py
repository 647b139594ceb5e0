"""Data sets: drawn, read from files, and named; randomness keyed by what is drawn."""
