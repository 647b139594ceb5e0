"""The layers of Flax's NNX, beside those of its linen."""
