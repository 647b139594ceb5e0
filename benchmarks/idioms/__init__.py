"""How each framework trains a dense network: by ``fit``, by hand as one would, and as fast as one can."""
