"""How fast ``fit`` is beside what is written by hand: ``python -m benchmarks``. The page is ``docs/benchmarks.md``."""
