"""A recipe with its data and its tape at one precision."""
