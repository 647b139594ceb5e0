"""Runs that never were, with times that nobody took."""

import math
import runpy
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from conformance.results.store import TrainingTime

SYNTHETIC = Path(__file__).parents[1] / "results" / "synthetic.py"


@pytest.fixture(scope="session")
def synthetic() -> dict[str, object]:
    """What the maker of such runs knows."""
    return runpy.run_path(str(SYNTHETIC))


@pytest.fixture(autouse=True)
def sizes(request, monkeypatch):
    """Sizes of installations that are given: asking for those of ten thousands of files takes a second."""
    if "slow" not in request.keywords:
        sizes = {"numpy": 70_000_000, "torch": 900_000_000, "tf": 1_500_000_000, "jax": 600_000_000}
        monkeypatch.setattr("conformance.picking.facts.installed_bytes", sizes.get)


@pytest.fixture
def timed_run(synthetic, tmp_path):
    """A run in a folder: trainings of 100 steps, by each implementation faster than by the one before it.

    In the last recipe the last implementation has no second call.
    """
    folder = synthetic["synthetic_run"](tmp_path / "run", 3, failing=False)
    database = folder / "run.sqlite"
    with closing(sqlite3.connect(database)) as connection, connection:
        recipes = [row[0] for row in connection.execute("SELECT DISTINCT recipe FROM records ORDER BY rowid")]
        for place, name in enumerate(synthetic["IMPLEMENTATIONS"]):
            for recipe in recipes:
                lacks = recipe == recipes[-1] and place == 3
                steady = math.nan if lacks else 1.0 / (place + 1)
                time = TrainingTime(recipe, name, "float32", 2.0, 100, 3.0, steady, 100.0 + place)
                values = [None if value != value else value for value in time]
                connection.execute(f"INSERT INTO trainings VALUES ({', '.join('?' * len(time))})", values)
    return folder
