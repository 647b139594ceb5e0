"""Explanations for another process: ``python -m conformance.diagnosis FOLDER``.

Reads trainings that failed as JSON, one a line, and writes for each an explanation as it is kept, one a line. An error
in a diagnosis is told in the place of its explanation.
"""

import json
import sys
from pathlib import Path
from typing import IO

from conformance.checks.look import describe_error
from conformance.diagnosis.explain import Failing, explain_one, not_explained
from conformance.diagnosis.explanation import as_row
from conformance.results.choices import recipes_of
from conformance.results.store import Store


def answer(folder: Path, asked: IO[str], answers: IO[str]) -> None:
    """Explain what is asked for, until there is no more."""
    store = Store(folder)
    recipes = recipes_of(store)
    for line in asked:
        failing = Failing(*json.loads(line))
        try:
            row = as_row(explain_one(store, recipes, failing))
        except Exception as error:
            row = not_explained(failing, f"the diagnosis failed: {describe_error(error)}")
        print(json.dumps(row), file=answers, flush=True)


if __name__ == "__main__":
    answer(Path(sys.argv[1]), sys.stdin, sys.stdout)
