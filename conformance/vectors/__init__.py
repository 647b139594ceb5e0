"""Test vectors: inputs and right answers of every component as files that any language reads, and who answered what."""
