"""The harness: runs one recipe in several implementations and says, tensor by tensor, whether they are the same."""
