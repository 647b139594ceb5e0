"""A run carried out: its plan, its worker processes."""
