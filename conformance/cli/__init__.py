"""The command line."""

from conformance.cli.app import app, main

__all__ = ["app", "main"]
