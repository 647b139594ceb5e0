"""The recipe, the catalogue that it is made of, and the suites."""
