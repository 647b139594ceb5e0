"""Known faults as data, and their injection."""
