"""Data-parallel training: a batch divided among two replicas of a model, held against the same training on one."""
