"""What earlier runs made is taken again where nothing has changed, and only there."""

import shutil
from dataclasses import fields
from pathlib import Path

import pytest

from conformance.recipes.recipe import Recipe
from conformance.results.store import Store
from conformance.runs import reuse
from conformance.runs.plan import Plan
from conformance.runs.run import carry_out
from conformance.verdicts.record import Record

OTHER = "conformance.adapters.numpy:NumpyAdapter"


FOLDER = "framework-conformance"


def carried_out(folder: Path, recipe: Recipe, name: str = "numpy") -> Store:
    plan = Plan(folder, [("own", recipe)], {name: OTHER}, ["float64"], workers=1, reuse=True, kept_cases=True)
    carry_out(plan, lambda *progress: None)
    return Store(plan.folder)


@pytest.fixture(scope="module")
def first(tmp_path_factory, small_recipe):
    """A run from an empty cache, and the cache that it leaves."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(cache))
        return carried_out(tmp_path_factory.mktemp("run") / "first", small_recipe), cache


@pytest.fixture
def run(first, tmp_path, monkeypatch, small_recipe):
    """A later run, with a copy of the cache."""
    shutil.copytree(first[1], tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield lambda name="numpy", recipe=small_recipe: carried_out(tmp_path / "later", recipe, name)
    reuse._state.cache_clear()
    reuse._state_of_implementation.cache_clear()


def records(store: Store) -> list[tuple]:
    """All that is recorded, but for the name of the run, of the implementation and the time."""
    rows = store.select("SELECT * FROM records ORDER BY rowid")
    names = [field.name for field in fields(Record)]
    left_out = {names.index(name) for name in ("run", "implementation", "seconds", "recipe")}
    return [tuple(value for place, value in enumerate(row) if place not in left_out) for row in rows]


def asked_the_oracle(store: Store) -> bool:
    return (store.folder / "logs" / "oracle.log").exists()


def test_an_unchanged_training_is_taken_with_its_records_and_curves(first, run):
    was, now = first[0], run()
    assert (was.facts()["reused"], now.facts()["reused"]) == (0, 1)
    assert records(was) == records(now)
    curves = "SELECT * FROM curves ORDER BY implementation, quantity, position"
    assert was.select(curves) == now.select(curves) != []
    assert not asked_the_oracle(now)


def test_a_training_under_another_name_is_the_same_training(run, small_recipe):
    now = run(recipe=small_recipe.model_copy(update={"name": "otherwise-named"}))
    assert now.facts()["reused"] == 1
    assert now.select("SELECT DISTINCT recipe FROM records") == [("otherwise-named",)]


def test_somebodys_own_implementation_is_looked_at_anew_with_the_kept_case(first, run):
    now = run("own")
    assert now.facts()["reused"] == 0
    assert not asked_the_oracle(now)
    assert records(now) == records(first[0])


def test_another_source_of_the_implementation_takes_nothing_but_the_case(run, monkeypatch):
    reuse._state_of_implementation.cache_clear()
    own = reuse.source_digest
    monkeypatch.setattr(reuse, "source_digest", lambda *names: own(*names) + "x" * (names == ("reference_numpy",)))
    now = run()
    assert now.facts()["reused"] == 0
    assert not asked_the_oracle(now)


def test_another_source_of_the_harness_takes_nothing(run, monkeypatch):
    reuse._state.cache_clear()
    reuse._state_of_implementation.cache_clear()
    own = reuse.source_digest
    monkeypatch.setattr(reuse, "source_digest", lambda *names: own(*names) + "x")
    now = run()
    assert now.facts()["reused"] == 0
    assert asked_the_oracle(now)


@pytest.mark.parametrize(
    ("is_it", "damage"),
    [
        (lambda name: name.endswith(".json"), lambda content: content[:-7]),
        pytest.param(
            lambda name: not name.endswith(".json") and not name.startswith("data-"),
            lambda content: content[:-1] + b"x",
            marks=pytest.mark.slow,
        ),
        pytest.param(lambda name: name.startswith("data-"), lambda content: b"", marks=pytest.mark.slow),
    ],
    ids=["note cut", "case changed", "data emptied"],
)
def test_a_damaged_case_is_made_anew(run, tmp_path, is_it, damage):
    (file,) = (file for file in (tmp_path / "cache" / FOLDER / "cases").iterdir() if is_it(file.name))
    file.write_bytes(damage(file.read_bytes()))
    now = run("own")
    assert asked_the_oracle(now)
    assert now.select("SELECT DISTINCT verdict FROM records") == [("pass",)]


@pytest.mark.slow
def test_a_case_that_is_too_large_is_not_kept(run, tmp_path, monkeypatch):
    monkeypatch.setattr(reuse, "MOST_CASE_BYTES", 100)
    shutil.rmtree(tmp_path / "cache")
    run()
    assert not list((tmp_path / "cache" / FOLDER / "cases").iterdir())
