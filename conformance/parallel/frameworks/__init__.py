"""Each framework's own machinery of data-parallel training; a file imports its framework alone."""
