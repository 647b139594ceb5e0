"""The soak test: its recipes, its going on where it was broken off, and that it does give a false alarm."""

import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from conformance.adapters.registry import resolve
from conformance.audit import soak as soaking
from conformance.audit.soak import Soak, random_choice, random_recipe, tally, work_through
from conformance.data.datasets import DATASETS
from conformance.problems.preparation import prepare
from conformance.recipes.coverage import allowed, values_of
from conformance.recipes.factors import FACTORS, values_in
from conformance.results.store import Done, Store
from conformance.runs.outcome import BadInput
from conformance.verdicts.compare import Verdict
from conformance.verdicts.order import LADDER
from conformance.verdicts.record import Context

RECIPES, SEEDS = 200, 5

PLUGIN = """
import os
from conformance.adapters.numpy import NumpyAdapter, NumpySession

class Session(NumpySession):
    def gradients(self, *arguments):
        return {name: 1.001 * value for name, value in super().gradients(*arguments).items()}

class Wrong(NumpyAdapter):
    '''Every gradient a thousandth too large.'''
    def session(self, problem):
        return Session(problem)

class Dead(NumpyAdapter):
    def session(self, problem):
        os._exit(7)
"""


@pytest.fixture(scope="module")
def choices():
    return [random_choice(number) for number in range(RECIPES)]


@pytest.fixture(scope="module")
def recipes():
    return [random_recipe(number, 0) for number in range(RECIPES)]


def silent(worker, done, total):
    pass


def small(folder, recipes=3):
    return Soak(recipes, 2, {"numpy": resolve("numpy")}, folder)


def test_every_value_of_every_factor_has_its_turn(choices):
    for factor in FACTORS:
        assert {choice[factor] for choice in choices} == set(values_in(factor))
    assert all(map(allowed, choices))


def test_the_precisions_are_in_balance(choices):
    assert Counter(choice["dtype"] for choice in choices) == {"float64": RECIPES / 2, "float32": RECIPES / 2}


def test_a_recipe_holds_the_values_it_was_drawn_with(choices, recipes):
    for choice, recipe in zip(choices, recipes, strict=True):
        held = values_of(recipe)
        assert {factor: value for factor, value in choice.items() if value not in held[factor]} == {}, recipe.name


def test_every_recipe_can_be_prepared_and_is_small(recipes):
    for recipe in recipes:
        problem = prepare(recipe, recipe.dtypes[0])
        assert problem.steps <= 30
        assert len(problem.train_x) <= 30


def test_what_the_pairs_keep_fixed_is_drawn(recipes):
    assert {recipe.epochs for recipe in recipes} == {1, 2, 3}
    assert {recipe.dataset.name for recipe in recipes} == set(soaking.DATA)
    assert {units for recipe in recipes for units in recipe.model.hidden_units} == set(range(2, 9))
    adams = [r for r in recipes if r.optimizer.name == "adam" and r.reduction == "mean"]
    rates = {r.optimizer.keywords["learning_rate"] for r in adams}
    assert 0.01 / 3 < min(rates) < 0.01 < max(rates) < 0.03
    assert len(rates) == len(adams)
    assert {(r.fit, r.frozen_biases) for r in recipes if r.epochs == 1} == {
        ("once", False),
        ("once", True),
        ("twice", False),
    }
    left = {r.dataset.examples % r.batch_size for r in recipes if r.batch_size}
    assert {0, 1} < left
    drawn = {
        (component.name, number)
        for recipe in recipes
        for component in recipe.regularizers
        for keyword, number in component.keywords.items()
        if keyword in ("strength", "limit", "scale", "keep_probability")
    }
    assert min(Counter(name for name, _ in drawn).values()) > 10


def test_the_same_number_gives_the_same_recipe_and_another_number_another(recipes):
    assert [random_recipe(number, 0) for number in range(20)] == recipes[:20]
    assert len({recipe.hash for recipe in recipes}) == RECIPES


def test_the_seeds_of_a_recipe_differ_in_their_seed_only(recipes):
    def unseeded(recipe):
        values = recipe.model_dump(exclude={"name", "seed"})
        del values["dataset"]["seed"]
        return values

    for number in (0, 77, 199):
        seeded = [random_recipe(number, place) for place in range(SEEDS)]
        assert len({recipe.seed for recipe in seeded}) == SEEDS
        assert all(recipe.dataset.seed == recipe.seed for recipe in seeded)
        assert all(unseeded(recipe) == unseeded(recipes[number]) for recipe in seeded)


def test_the_portions_are_all_recipes_with_all_seeds(tmp_path):
    portions = Soak(45, 3, {}, tmp_path).portions
    assert [len(portion.tasks) for portion in portions] == [60, 60, 15]
    names = [recipe.name for portion in portions for _, recipe in portion.recipes]
    assert sorted(names) == sorted(f"soak-{number:03}-{place}" for number in range(45) for place in range(3))
    assert len({portion.folder for portion in portions}) == 3
    assert portions[0].recipes[::2] == [r for r in portions[0].recipes if int(r[1].name.split("-")[1]) % 2 == 0]


def test_there_is_data_for_every_task_and_none_that_must_be_fetched():
    assert {DATASETS[name].task for name in soaking.DATA} == {info.task for info in DATASETS.values()}
    assert all(DATASETS[name].kind != "files" for name in soaking.DATA)


@pytest.fixture
def carried_out(monkeypatch):
    """The folders of the runs that a soak carries out, each a portion of one recipe; nothing is trained in them."""
    folders = []

    def carry_out(order, progress):
        folders.append(order.folder)
        store = Store(order.folder, create=True)
        if len(folders) == 2:
            raise KeyboardInterrupt
        for suite, recipe, dtype in order.tasks:
            context = Context(order.folder.name, suite, recipe, "numpy", "", order.device, dtype)
            passed = context.without_comparison("forward", Verdict.PASS, "")
            store.enter(Done(recipe.name, dtype, "numpy", "forward"), [passed])
            progress("numpy", 1, len(order.tasks))

    monkeypatch.setattr(soaking, "RECIPES_A_PORTION", 1)
    monkeypatch.setattr(soaking, "carry_out", carry_out)
    return folders


def test_what_was_finished_is_kept_and_what_was_broken_off_is_begun_anew(tmp_path, carried_out):
    soak = small(tmp_path / "soak")
    first, second, third = (portion.folder for portion in soak.portions)
    with pytest.raises(KeyboardInterrupt):
        work_through(soak, silent)
    assert carried_out == [first, second]
    assert (tally(soak).recipes, tally(soak).total.records) == (1, 2)

    (second / "left behind").touch()
    told = []
    work_through(soak, lambda *progress: told.append(progress))
    assert carried_out == [first, second, second, third]
    assert not (second / "left behind").exists()
    assert told == [("numpy", done, 6) for done in (3, 3, 5, 5)]
    assert (tally(soak).recipes, tally(soak).total.records) == (3, 6)

    work_through(soak, silent)
    assert len(carried_out) == 4


@pytest.mark.slow
def test_a_portion_that_was_broken_off_goes_on_with_what_it_lacks(tmp_path, monkeypatch):
    def break_off(worker, done, total):
        if done:
            raise KeyboardInterrupt

    def never(*arguments):
        raise AssertionError("begun anew")

    soak = Soak(1, 2, {"numpy": resolve("numpy")}, tmp_path / "soak")
    with pytest.raises(KeyboardInterrupt):
        work_through(soak, break_off)
    assert tally(soak).recipes == 0
    store = Store(soak.portions[0].folder)
    before = store.select("SELECT rowid, * FROM records ORDER BY rowid")
    assert before
    monkeypatch.setattr(soaking, "carry_out", never)
    work_through(soak, silent)
    assert store.select("SELECT rowid, * FROM records ORDER BY rowid")[: len(before)] == before
    assert tally(soak).recipes == 1
    assert tally(soak).total.false_alarms == 0


def test_the_folder_of_another_soak_is_refused(tmp_path, carried_out, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        work_through(small(tmp_path / "soak"), silent)
    with pytest.raises(BadInput, match="holds a soak with other recipes: must be removed"):
        work_through(small(tmp_path / "soak", recipes=4), silent)
    monkeypatch.setattr("conformance.runs.environment.source_digest", lambda: "another")
    with pytest.raises(BadInput, match="holds a soak with other source: must be removed"):
        work_through(small(tmp_path / "soak"), silent)
    assert len(carried_out) == 2


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("soak")
    (folder / "plugin.py").write_text(PLUGIN, encoding="utf-8")
    return folder


def conformance(place, *arguments):
    environment = os.environ | {"PYTHONPATH": str(place), "COLUMNS": "200"}
    command = [sys.executable, "-m", "conformance.cli", "soak", "--seeds", "1", *arguments]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=240)


def test_the_reference_gives_no_false_alarm_and_the_counts_are_shown(place):
    arguments = ("--recipes", "1", "--implementation", "numpy")
    result = conformance(place, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["check", "dtype", "records", "pass", "inconclusive", "share", "false", "alarms"]
    rows = {(check, dtype): numbers for check, dtype, *numbers in map(str.split, lines[1 : 2 * len(LADDER) + 2])}
    assert set(rows) == {(check, dtype) for check in LADDER for dtype in FACTORS["dtype"]} | {("all", "all")}
    for records, passed, inconclusive, share, alarms in rows.values():
        assert int(records) == int(passed) + int(inconclusive)
        assert alarms == "0"
        assert share == f"{int(inconclusive) / max(int(records), 1):.2%}"
    assert re.fullmatch(
        r"1 of 1 recipes x 1 seeds x 1 implementations in \d+ minutes: \d+ records, \d+ inconclusive, 0 false alarms",
        lines[-1],
    )
    database = place / "reports" / "soak" / "recipes-000-000" / "run.sqlite"
    written = database.read_bytes()
    assert conformance(place, *arguments).stdout == result.stdout
    assert database.read_bytes() == written


@pytest.mark.slow
def test_an_injected_fault_is_a_false_alarm_that_is_named(place):
    result = conformance(place, "--recipes", "1", "--implementation", "plugin:Wrong", "--output", "wrong")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "plugin:Wrong soak-000-0 float64: gradients, gradient, dW1" in result.stdout
    assert "fail, error 0.001, allowance" in result.stdout
    assert " 0 false alarms" not in result.stdout


@pytest.mark.slow
def test_a_portion_that_loses_a_worker_is_not_finished(place):
    arguments = ("--recipes", "1", "--implementation", "plugin:Dead", "--output", "dead")
    result = conformance(place, *arguments)
    assert result.returncode == 3
    assert "0 of 1 recipes" in result.stdout
    assert "worker plugin:Dead, recipe soak-000-0, float64: exit status 7" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipes", "0"], "should be greater than or equal to 1"),
        (["--implementation", "theano"], "implementation='theano' is not allowed: must be one of numpy"),
        (["--output", "."], "must be a new or an empty folder, or a soak's"),
    ],
)
def test_bad_usage_ends_with_exit_status_two(place, arguments, message):
    result = conformance(place, *arguments)
    assert result.returncode == 2
    assert message in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr
