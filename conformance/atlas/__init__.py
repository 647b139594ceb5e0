"""The atlas: what the built-ins of every installed framework really do, side by side, measured."""
