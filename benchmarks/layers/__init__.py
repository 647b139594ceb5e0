"""The same networks of the project's layers and of each framework's own, in the same training step."""
