"""How each framework trains a dense network: the project's ``fit``, and by hand as one would, and as fast as one can."""
