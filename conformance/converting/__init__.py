"""Files of weights of the catalogue's models, from how one framework keeps them to how another does."""
