"""A training, or a component, as one file that needs nothing of this project."""
