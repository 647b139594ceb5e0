"""Which formulation is it? Optimizers, losses, activations, norms, schedules and initializers, asked from outside."""
