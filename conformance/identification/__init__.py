"""Which formulation is it? An optimizer, loss, activation, normalisation, schedule or initializer, asked from outside."""
