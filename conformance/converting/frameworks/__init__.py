"""Each framework's own layers, given their tensors and asked for a forward pass; a file imports its framework alone."""
