"""Ceilings that are looked up: what is shipped is what would be measured, and nothing stale or damaged is believed."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import conformance
import reference_numpy
from conformance.audit import ceilings as making
from conformance.faults import mutants
from conformance.faults.injection import Edit
from conformance.faults.mutant import Mutant
from conformance.recipes.coverage import recipe_with
from conformance.recipes.recipe import Recipe
from conformance.recipes.suites import _SEEN_ELSEWHERE, suite
from conformance.verdicts import ceilings, known_ceilings
from conformance.verdicts.ceilings import Bound
from conformance.verdicts.known_ceilings import SHIPPED, Entry, digest, name_of, ship, shipped

RECIPE = recipe_with({"optimizer": "gradient descent"}, "descent")
OTHER = RECIPE.model_copy(update={"seed": 1})
SAMPLE = (("breast-cancer-logistic", "float64"), ("xor-shallow-mse-rmsprop", "float32"))
ADVICE = "`make ceilings` makes them anew"

PLACE = "optimizers.py: gradient_descent"
STEP = "w -= alpha * g\n"
FAULT = Mutant("gradient descent: longer steps", (Edit(PLACE, STEP, "w -= 1.001 * alpha * g\n"),),
               where={}, checks=("update", "free_running"))  # fmt: skip
OF_ADAM = FAULT._replace(name="adam: longer steps", of=("adam",))

BOUNDS = {
    "update": {("parameter", "W1"): Bound("a fault", 1000, 1.25e-7, True)},
    "loss": {
        ("loss", "cost"): Bound("another", 0, np.inf, False),
        ("loss", "data loss"): Bound("a fault", 8, 0.5, True),
    },
}

# Faults divide by zero and overflow; as in the harness's own processes, that is no error of the harness.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.fixture(scope="module")
def situation():
    return making.situation(RECIPE, "float64")


@pytest.fixture
def know(monkeypatch):
    """Lets the harness know these mutants and no others."""

    def known(*faults):
        monkeypatch.setattr(mutants, "MUTANTS", faults)
        monkeypatch.setattr(ceilings, "MUTANTS", faults)

    known(FAULT)
    return known


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty folder for what is kept, and nothing shipped."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(known_ceilings, "SHIPPED", tmp_path / "nothing shipped")
    return tmp_path / "cache"


@pytest.fixture
def measured(monkeypatch):
    """Counts how often ceilings were measured."""
    calls, measure = [], ceilings.measure

    def counted(*arguments):
        calls.append(arguments)
        return measure(*arguments)

    monkeypatch.setattr(ceilings, "measure", counted)
    return calls


# What is shipped


def stale(recipes):
    entries = shipped(SHIPPED)
    tasks = [(recipe, dtype) for recipe in recipes for dtype in recipe.dtypes]
    return [
        f"{recipe.name}, {dtype}"
        for recipe, dtype in tasks
        if name_of(recipe, dtype) not in entries or entries[name_of(recipe, dtype)].digest != digest(recipe, dtype)
    ]


def test_the_ceilings_of_the_default_suite_are_shipped_and_not_stale():
    assert stale(suite("default")) == [], ADVICE


def test_what_each_recipe_of_the_default_suite_sees_is_shipped():
    seeing = {name.partition(".")[0] for name, entry in shipped(SHIPPED).items() if entry.seen}
    unknown = [recipe.name for recipe in suite("default") if recipe.hash not in seeing]
    assert unknown == [], ADVICE


def test_the_default_suite_sees_all_that_the_recipes_show_which_it_leaves_to_the_full_one():
    seen = {}
    for name, entry in shipped(SHIPPED).items():
        seen.setdefault(name.partition(".")[0], set()).update(entry.seen)
    by_default = set().union(*(seen[recipe.hash] for recipe in suite("default")))
    left_out = [Recipe.model_validate(values) for values in _SEEN_ELSEWHERE]
    assert {recipe.name for recipe in left_out} < {recipe.name for recipe in suite("full")}
    assert all(seen[recipe.hash] and seen[recipe.hash] <= by_default for recipe in left_out)


@pytest.mark.slow
def test_the_ceilings_of_the_full_suite_are_shipped_and_not_stale():
    assert stale(suite("full")) == [], ADVICE


@pytest.mark.parametrize(("name", "dtype"), SAMPLE)
def test_what_is_shipped_is_what_is_measured(name, dtype):
    (recipe,) = (recipe for recipe in suite("default") if recipe.name == name)
    entry = shipped(SHIPPED).get(name_of(recipe, dtype))
    assert entry is not None, ADVICE
    case, expectations = making.situation(recipe, dtype)
    measured = ceilings.measure(case, expectations)
    ratios = [flat(ceilings.above(expectations, bounds)) for bounds in (entry.bounds, measured)]
    differing = [
        place
        for place in difference(entry.bounds, measured)
        if not (place in ratios[0] and place in ratios[1] and shows_as_much(ratios[0][place], ratios[1][place]))
    ]
    assert len(differing) <= 0.05 * sum(map(len, entry.bounds.values())), f"{ADVICE}: {differing[:5]}"


def flat(found):
    return {(check, *place): value for check, row in found.items() for place, value in row.items()}


def difference(one, other):
    """The places whose bounds differ. Where two faults are equally near, rounding may make one or the other nearer."""
    one, other = flat(one), flat(other)
    places = sorted(one.keys() | other.keys())
    return [place for place in places if not (place in one and place in other and alike(one[place], other[place]))]


def shows_as_much(one, other):
    """Whether it is the same fault, as clear by a factor of two: another processor rounds the allowances otherwise, and
    so may another step be the one where a fault shows most, or another tensor the one that shows it most.
    """
    return one.fault == other.fault and one.ratio == pytest.approx(other.ratio, rel=0.5)


def alike(one, other):
    return one._replace(error=0.0) == other._replace(error=0.0) and one.error == pytest.approx(other.error, rel=1e-4)


def test_a_bound_that_says_something_else_is_seen_to_differ():
    (place, bound), *_ = BOUNDS["update"].items()
    for other in (bound._replace(fault="another"), bound._replace(step=10), bound._replace(error=1.26e-7)):
        assert difference(BOUNDS, BOUNDS | {"update": {place: other}}) == [("update", *place)]
    assert len(difference(BOUNDS, {"update": BOUNDS["update"]})) == 2
    assert difference(BOUNDS, BOUNDS) == []


def test_a_shipped_entry_gives_what_would_be_measured(situation, know, cache, measured, monkeypatch, tmp_path):
    expected = ceilings.above(situation[1], ceilings.measure(*situation))
    assert expected["update"]
    file = tmp_path / "shipped.gz"
    ship(file, dict([making.made((RECIPE, "float64"))]))
    monkeypatch.setattr(known_ceilings, "SHIPPED", file)
    measured.clear()
    assert known_ceilings.find(*situation) == expected
    assert not measured
    assert not cache.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.model_copy(update={"digest": "0" * 16}),
        lambda entry: Entry.of(entry.digest, BOUNDS),  # of tensors that the case has not
        lambda entry: Entry.of(entry.digest, {"another check": BOUNDS["update"]}),
    ],
    ids=["stale", "of another case", "of another check"],
)
def test_a_stale_or_foreign_shipped_entry_is_not_believed(
    situation, know, cache, measured, monkeypatch, tmp_path, change
):
    name, entry = making.made((RECIPE, "float64"))
    file = tmp_path / "shipped.gz"
    ship(file, {name: change(entry)})
    monkeypatch.setattr(known_ceilings, "SHIPPED", file)
    measured.clear()
    assert known_ceilings.find(*situation) == ceilings.above(situation[1], entry.bounds)
    assert len(measured) == 1


def test_entries_survive_shipping(tmp_path):
    entries = {"b.float64": Entry.of("1" * 16, BOUNDS), "a.float32": Entry.of("2" * 16, {"update": {}})}
    ship(tmp_path / "one", entries)
    found = shipped(tmp_path / "one")
    assert found == entries
    assert found["b.float64"].bounds == BOUNDS
    assert found["a.float32"].bounds == {}


def test_the_same_entries_are_shipped_in_the_same_bytes(tmp_path):
    turned = {check: dict(reversed(found.items())) for check, found in reversed(BOUNDS.items())}
    entries = [{"b": Entry.of("1" * 16, bounds), "a": Entry.of("2" * 16, bounds)} for bounds in (BOUNDS, turned)]
    ship(tmp_path / "one", entries[0])
    ship(tmp_path / "other", dict(reversed(entries[1].items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


@pytest.mark.parametrize(
    "data",
    [b"", b"no archive", gzip.compress(b"{}")[:-3], gzip.compress(b"{"), gzip.compress(b'{"a": 1}'),
     gzip.compress(json.dumps({"a": {"digest": "", "rows": {"loss": [["", "", "", 1, -1.0, True]]}}}).encode())],
    ids=["empty", "no archive", "cut off", "no JSON", "no entry", "a negative bound"],  # gzip writes the time: no name
)  # fmt: skip
def test_a_damaged_shipped_file_holds_nothing(tmp_path, data):
    (tmp_path / "file").write_bytes(data)
    assert shipped(tmp_path / "file") == {}
    assert shipped(tmp_path / "no file") == {}


# What is kept


def test_what_was_measured_is_kept_for_the_next_run(situation, know, cache, measured):
    first = known_ceilings.find(*situation)
    assert first["update"]
    (file,) = (path for path in cache.rglob("*") if path.is_file())
    stamp = digest(RECIPE, "float64")
    folder = cache / "framework-conformance" / "ceilings" / stamp
    assert file == folder / f"{RECIPE.hash}.float64.json"
    assert known_ceilings.find(*situation) == first
    assert len(measured) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "\x00" * 100,
        lambda text: text.replace(":1000," if ":1000," in text else ",1000,", ',"1000",'),
        lambda text: text.replace(",1000,", ",999,"),  # no step of the case
        lambda text: text.replace('"digest":"', '"digest":"0'),
        lambda text: text.replace('"update"', '"another check"'),
    ],
)
def test_a_damaged_or_foreign_file_is_made_anew(situation, know, cache, measured, damage):
    first = known_ceilings.find(*situation)
    (file,) = (path for path in cache.rglob("*") if path.is_file())
    sound = file.read_text(encoding="utf-8")
    assert damage(sound) != sound
    file.write_text(damage(sound), encoding="utf-8")
    assert known_ceilings.find(*situation) == first
    assert len(measured) == 2
    assert file.read_text(encoding="utf-8") == sound


def test_what_is_kept_of_another_recipe_or_of_other_data_is_not_believed(situation, know, cache, measured):
    case, expectations = situation
    known_ceilings.find(*situation)
    (file,) = (path for path in cache.rglob("*") if path.is_file())
    shutil.copy(file, file.with_name(f"{OTHER.hash}.float64.json"))
    assert digest(OTHER, "float64") == digest(RECIPE, "float64")
    known_ceilings.find(replace(case, problem=replace(case.problem, recipe=OTHER)), expectations)
    assert len(measured) == 2
    data = case.problem.raw_train_x.copy()
    data[0, 0] += 1
    known_ceilings.find(replace(case, problem=replace(case.problem, raw_train_x=data)), expectations)
    assert len(measured) == 3


def test_where_nothing_can_be_kept_ceilings_are_measured(situation, know, cache, measured, monkeypatch):
    cache.write_text("a file where a folder would have to be")
    expected = known_ceilings.find(*situation)
    assert expected["update"]
    assert known_ceilings.find(*situation) == expected
    monkeypatch.setenv("XDG_CACHE_HOME", "not absolute, so not to be used")
    monkeypatch.setattr(Path, "home", classmethod(lambda cls: (_ for _ in ()).throw(RuntimeError("no home"))))
    assert known_ceilings.find(*situation) == expected
    assert len(measured) == 3


def test_without_a_named_folder_the_home_s_is_used(situation, know, cache, monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", classmethod(lambda cls: tmp_path / "home"))
    known_ceilings.find(*situation)
    assert list((tmp_path / "home" / ".cache" / "framework-conformance" / "ceilings").rglob("*.json"))


# The digest


def test_another_fault_is_another_digest_if_it_concerns_the_recipe(know):
    def of(*faults):
        know(*faults)
        return digest(RECIPE, "float64")

    first = of(FAULT)
    assert of(FAULT, OF_ADAM) == first
    assert of(FAULT, FAULT._replace(name="in float32", dtypes=("float32",))) == first
    assert of(FAULT._replace(where={"activation": "tanh"}, settings={"epochs": 3})) == first
    others = [
        (), (FAULT, FAULT._replace(name="another")), (FAULT._replace(name="renamed"),),
        (FAULT._replace(edits=(Edit(PLACE, STEP, "w -= 1.002 * alpha * g\n"),)),),
        (FAULT._replace(edits=(Edit("optimizers.py: momentum", STEP, "w -= 1.001 * alpha * g\n"),)),),
        (FAULT._replace(checks=("update",)),),
    ]  # fmt: skip
    assert len({first, *(of(*faults) for faults in others)}) == 1 + len(others)


@pytest.fixture
def sources(tmp_path):
    folders = []
    for package in (reference_numpy, conformance):
        original = Path(package.__file__).parent
        folders.append(tmp_path / original.name)
        shutil.copytree(original, folders[-1], ignore=shutil.ignore_patterns("__pycache__"))
    return folders


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("reference_numpy/_common.py", "if not 0 <= _number", "if not 0 < _number", False),
        ("reference_numpy/schedules.py", '"""', '"""Another word. ', True),
        ("reference_numpy/schedules.py", "\ndef ", "\n# a remark\n\ndef ", True),
        ("conformance/checks/loss.py", "problem.batch(batch)", "problem.batch(0)", False),
        ("conformance/problems/problem.py", "return epoch, slice", "return 0, slice", False),
        ("conformance/verdicts/ceilings.py", "STEPS = 100", "STEPS = 50", False),
        ("conformance/verdicts/floors.py", "NEIGHBOURS = 10", "NEIGHBOURS = 9", True),
        ("conformance/reports/summary.py", "import", "import sys; import", True),
    ],
)
def test_another_statement_is_another_digest_but_another_remark_is_not(sources, file, old, new, same):
    before = known_ceilings.code_digest(*sources)
    path = sources[0].parent / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    known_ceilings.code_digest.cache_clear()
    assert (known_ceilings.code_digest(*sources) == before) == same


# Making them


def test_only_what_is_lacking_or_stale_is_made_and_what_no_suite_has_is_left_out(know, cache, tmp_path):
    file, asked = tmp_path / "shipped.gz", []

    def work(make, tasks):
        asked.append([name_of(*task) for task in tasks])
        return map(make, tasks)

    recipe, other = (r.model_copy(update={"dtypes": ("float64",)}) for r in (RECIPE, OTHER))
    names = [name_of(r, "float64") for r in (recipe, other)]
    lines = list(making.remake(file, [recipe], [recipe, other], work))
    assert "1 are to be made" in lines[0]
    assert "1 entries" in lines[-1]
    first = shipped(file)
    assert list(first) == names[:1]
    list(making.remake(file, [recipe, other, other], [recipe, other], work))
    assert shipped(file).keys() == set(names)
    assert shipped(file)[names[0]] == first[names[0]]
    list(making.remake(file, [other], [other], work))
    assert list(shipped(file)) == names[1:]
    know(FAULT, FAULT._replace(name="another"))
    list(making.remake(file, [other], [other], work))
    assert asked == [names[:1], names[1:], [], names[1:]]


def test_what_was_finished_before_it_was_broken_off_is_kept(know, cache, tmp_path):
    def broken_off(make, tasks):
        yield make(tasks[0])
        raise KeyboardInterrupt

    file = tmp_path / "shipped.gz"
    with pytest.raises(KeyboardInterrupt):
        list(making.remake(file, [RECIPE], [RECIPE], broken_off))
    assert list(shipped(file)) == [name_of(RECIPE, RECIPE.dtypes[0])]


PARENT = """
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from conformance.audit.ceilings import end_with_the_parent

if __name__ == "__main__":
    with ProcessPoolExecutor(1, get_context("spawn"), end_with_the_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


@pytest.mark.slow
def test_a_process_that_measures_ends_with_the_one_that_was_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT, encoding="utf-8")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()
    for _ in range(300):
        if not is_running(child):
            return
        time.sleep(0.1)
    pytest.fail("it goes on after 30 seconds")


def is_running(process):
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").split()[2] != "Z"
    except OSError:
        return False
