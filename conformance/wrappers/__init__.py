"""Somebody's own model, loss and optimizer put under test as they are: one file for each framework."""
