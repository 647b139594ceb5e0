"""How far an observation may be from the oracle, and what verdict that gives."""
