"""The figures of ``docs/gallery.md``: ``python -m conformance.reports.gallery RUN docs/figures`` makes them."""

import sys
from pathlib import Path
from typing import Any

from conformance.reports.plots import plot, save
from conformance.results.run import load_run

# What each figure shows, by its file.
FIGURES: dict[str, dict[str, Any]] = {
    "cost-float64.svg": {"recipe": "moons-deep-relu-momentum"},
    "cost-float32.svg": {"recipe": "flower-shallow-tanh", "dtype": "float32"},
    "gradient-norm.svg": {"recipe": "breast-cancer-saturated", "quantity": "gradient norm", "dtype": "float32"},
    "validation-cost.svg": {"recipe": "digits-batch-norm", "quantity": "validation cost", "dtype": "float32"},
    "learning-rate.svg": {"recipe": "moons-deep-relu-momentum", "quantity": "learning rate", "dtype": "float32"},
    "margins.svg": {"what": "margins", "dtype": "float32"},
    "accuracy.svg": {"recipe": "digits-batch-norm", "what": "accuracy", "dtype": "float32"},
}


def main(run: str, folder: str) -> None:
    """Draw all figures of a run of the default suite into a folder."""
    made, into = load_run(run), Path(folder)
    into.mkdir(parents=True, exist_ok=True)
    for name, arguments in FIGURES.items():
        save(plot(made, **arguments), into / name)


if __name__ == "__main__":
    main(*sys.argv[1:])
