"""One adapter per implementation: convert and call, no mathematics."""
