"""The process in which the trainings of two dialects are made, by one implementation.

Started by ``conformance/equivalence/process.py`` as ``python -m conformance.equivalence.worker FOLDER NAME TARGET
SCRATCH``.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from conformance.adapters.registry import load
from conformance.adapters.session import DeviceNotFound, Unsupported
from conformance.data.datasets import DataError
from conformance.equivalence.trainings import pairs
from conformance.recipes.recipe import Recipe
from conformance.runs.messages import MessageStream

REQUEST, ANSWER = "request.json", "trained.npz"


def work(target: str, scratch: Path, stream: MessageStream) -> None:
    """Make the trainings that are asked for, leave what they came to, and say that it is there, or why it is not."""
    request = json.loads((scratch / REQUEST).read_text(encoding="utf-8"))
    try:
        np.savez(scratch / ANSWER, **_trained(target, request, stream))
    except (DataError, ValueError) as error:
        stream.bad_input(str(error))
    except (DeviceNotFound, Unsupported) as error:
        stream.refused(str(error))
    except Exception as error:  # whatever a framework raises
        stream.lost(f"{type(error).__name__}: {error}")
    else:
        stream.done()


def _trained(target: str, request: dict[str, Any], stream: MessageStream) -> dict[str, Any]:
    """The arrays of all trainings: ``situation.seed.field``."""
    adapter = load(target)("cpu")
    arrays: dict[str, Any] = {}
    for number, recipes in enumerate(request["situations"]):
        sides = [Recipe.model_validate(recipe) for recipe in recipes]
        for pair in pairs(sides, request["seeds"], request["dtype"], adapter, stream.trained):
            place = f"{number}.{pair.seed}"
            arrays |= {f"{place}.first": pair.first.costs, f"{place}.second": pair.second.costs}
            arrays |= {f"{place}.accuracies": np.asarray([pair.first.accuracy, pair.second.accuracy])}
            arrays |= {f"{place}.rounding": pair.rounding}
            arrays |= {f"{place}.sizes": np.asarray([pair.batches, pair.test_examples])}
    return arrays


if __name__ == "__main__":
    work(sys.argv[3], Path(sys.argv[4]), MessageStream())
    os._exit(0)  # frameworks take up to a second to tear themselves down, and nothing is left to lose
