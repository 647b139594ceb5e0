"""Where an implementation first leaves the oracle, and why."""
