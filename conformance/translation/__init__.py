"""One framework's built-in as another framework's: found by the formulation, and run before it is told."""
