"""Pages of runs that never were."""

import runpy
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from conformance.reports.page import page
from conformance.results.run import load_run
from conformance.results.store import Store

SYNTHETIC = Path(__file__).parents[1] / "results" / "synthetic.py"
# What no page may fall for, as the name of a recipe.
HOSTILE = "</script><script>alert(1)</script> \"'&| \u2028 ünï <b>"


@pytest.fixture(scope="session")
def synthetic_run() -> Any:
    """The maker of runs that never were."""
    return runpy.run_path(str(SYNTHETIC))["synthetic_run"]


@pytest.fixture(scope="session")
def hostile_name() -> str:
    """The name of the first recipe of ``page_of("hostile")``."""
    return HOSTILE


def rename_recipe(folder: Path, place: int, name: str) -> None:
    """Give a recipe of a run another name, everywhere."""
    store = Store(folder)
    facts = store.facts()
    old = facts["plan"]["tasks"][place][0]
    tasks = [[name if recipe == old else recipe, dtype] for recipe, dtype in facts["plan"]["tasks"]]
    store.set_fact("plan", facts["plan"] | {"tasks": tasks})
    store.set_fact("recipes", {name if recipe == old else recipe: told for recipe, told in facts["recipes"].items()})
    store.close()
    with closing(sqlite3.connect(store.database)) as connection, connection:
        for table in ("records", "curves", "done"):
            connection.execute(f"UPDATE {table} SET recipe=? WHERE recipe=?", (name, old))


@pytest.fixture(scope="session")
def page_of(tmp_path_factory: pytest.TempPathFactory, synthetic_run: Any) -> Callable[..., Path]:
    """``page_of("failing", recipes=12)`` is the file of the page of such a run; the same is made once."""
    made: dict[tuple[str, int], Path] = {}

    def make(kind: str, recipes: int = 12) -> Path:
        if (kind, recipes) not in made:
            folder = tmp_path_factory.mktemp(f"{kind}-{recipes}")
            synthetic_run(folder, recipes, failing=kind != "passing", complete=kind != "incomplete")
            if kind == "hostile":
                rename_recipe(folder, 0, HOSTILE)
            path = folder / "report.html"
            path.write_text(page(load_run(folder)), encoding="utf-8")
            made[kind, recipes] = path
        return made[kind, recipes]

    return make
