"""What the commands that run nothing print: tables whole, names as they are, JSON with types, and soon."""

import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from conformance.adapters.installation import install_command
from conformance.adapters.probing import probe, probe_all
from conformance.cli import listing, tables
from conformance.faults.mutants import MUTANTS
from conformance.recipes.recipe import Recipe
from conformance.recipes.suites import suite
from conformance.results import sight
from conformance.verdicts.known_ceilings import Entry, ship

ROOT = Path(__file__).parents[3]


def conformance(*arguments, **options):
    command = [sys.executable, "-m", "conformance", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def test_the_tables_are_the_ones_that_are_made_now():
    made = json.loads(tables.text())
    assert list(made) == list(listing.TABLES) == list(tables.TABLES)
    assert listing.made() == made, "run the command at the head of conformance/cli/tables.py"


@pytest.mark.parametrize("what", listing.TABLES)
def test_a_table_in_a_pipe_has_every_cell_whole_on_one_line_a_row(what):
    result = conformance("list", what, env=os.environ | {"COLUMNS": "40", "FORCE_COLOR": "1"})
    assert (result.returncode, result.stderr) == (0, "")
    cells = listing.as_cells(what, listing.made()[what])
    lines = result.stdout.splitlines()
    assert len(lines) == 1 + len(cells)
    assert "\x1b" not in result.stdout
    for line, row in zip(lines[1:], cells, strict=True):
        assert all(cell in line for cell in row.values())


def test_of_built_ins_a_table_says_whether_there_is_a_recipe_and_json_which():
    rows = [{"subject": "a.B(c=1)", "recipe": "a-b-c-1"}, {"subject": "a.C", "recipe": ""}]
    assert [row["recipe"] for row in listing.as_cells("subjects", rows)] == ["yes", "no"]
    assert rows[0]["recipe"] == "a-b-c-1"


def test_json_has_numbers_lists_and_nothing_as_what_they_are():
    recipes = json.loads(conformance("list", "recipes", "--json").stdout)
    assert [row["name"] for row in recipes if "quick" in row["suites"]] == [r.name for r in suite("quick")]
    assert {len(row["suites"]) for row in recipes} == {1, 2, 3}
    assert all(type(row[column]) is int for row in recipes for column in ("epochs", "steps", "parameters"))
    momentum = next(row for row in listing.made()["optimizers"] if row["name"] == "momentum")
    assert momentum["keywords"]["nesterov"] is False
    assert momentum["keywords"]["learning_rate"] == 0.01
    assert next(row for row in listing.made()["optimizers"] if row["name"] == "adam")["keywords"]["amsgrad"] is None
    assert listing.made()["coverage"][0]["covered"] < listing.made()["coverage"][0]["allowed"]


def test_of_each_recipe_is_told_which_faults_it_sees_and_which_it_alone_sees():
    recipes = [
        {"name": "one", "hash": "a", "suites": ["quick", "default", "full"]},
        {"name": "two", "hash": "b", "suites": ["default", "full"]},
        {"name": "pair", "hash": "c", "suites": ["full"]},
    ]
    seen = {"a": ["x: 1", "x: 2"], "b": ["x: 2"], "c": ["x: 3"]}
    rows = listing.faults(recipes, seen, ["x: 1", "x: 2", "x: 3"])
    assert [tuple(row.values()) for row in rows] == [
        ("one", 2, 1, ["x: 1"]),
        ("two", 1, 0, []),
        ("(all together)", 2, None, []),
        ("(none)", 1, None, ["x: 3"]),
    ]
    rows = listing.faults(recipes, {"a": ["x: 1"]}, ["x: 1", "x: 2"])
    assert [row["faults"] for row in rows] == [1, None, None, None]


def test_the_faults_that_are_listed_are_the_known_ones_of_the_default_suite_in_its_order(monkeypatch, tmp_path):
    assert sight.known_faults() == sorted(mutant.name for mutant in MUTANTS)
    rows = json.loads(conformance("list", "faults", "--json").stdout)
    assert [row["recipe"] for row in rows[:-2]] == [recipe.name for recipe in suite("default")]
    first, second = suite("default")[:2]
    entries = {
        f"{first.hash}.float64": Entry.of("1" * 16, {}, ["a: b"]),
        f"{first.hash}.float32": Entry.of("1" * 16, {}, ["a: c"]),
        f"{second.hash}.float64": Entry.of("1" * 16, {}),
    }
    ship(tmp_path / "ceilings.json.gz", entries)
    monkeypatch.setattr(sight.resources, "files", lambda package: tmp_path)
    assert sight.seen_faults() == {first.hash: ["a: b", "a: c"]}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list", "optimizers"], ["list", "recipes"], ["list", "coverage"], ["list", "faults"]]
)
def test_a_table_is_printed_without_what_makes_it(arguments):
    code = (
        "import sys; from conformance.cli import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit: pass\n"
        "loaded = {'numpy', 'reference_numpy', 'pandas', 'rich', 'conformance.recipes.recipe'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_table_is_printed_soon():
    """Processor time, the least of five; it is a fifth of a second where little else runs."""
    spent = []
    for _ in range(5):
        before = os.times()
        assert conformance("list", "coverage").returncode == 0
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(spent) < 0.5


@pytest.mark.parametrize("name", ["digits-layer-norm-augmented", "pair-000"])
def test_show_writes_a_recipe_that_is_the_same_when_it_is_read(name, tmp_path):
    shown = conformance("show", name)
    recipe = Recipe.model_validate(tomllib.loads(shown.stdout))
    assert f"# content hash {recipe.hash}; in the suites " in shown.stdout
    (tmp_path / "again.toml").write_text(shown.stdout, encoding="utf-8")
    assert conformance("show", tmp_path / "again.toml").stdout == shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "optimiser"], "did you mean 'optimizers'?"),
        (["list", "[bold]:smile:[/bold]"], "WHAT='[bold]:smile:[/bold]' is not allowed"),
        (["show", "digits-batch-nor"], "did you mean 'digits-batch-norm'"),
        (["show", "[red]x[/red].toml"], "[red]x[/red].toml: cannot be read"),
        (["show", ":smile:"], "recipe=':smile:' is not known"),
        (["show", os.fsdecode(b"a\xff.toml")], r"a\udcff.toml: cannot be read"),
        (["show", "a\x1b[31m.toml"], r"a\x1b[31m.toml: cannot be read"),
        (["run", "--recipe", "flower-shallow-tan"], "did you mean 'flower-shallow-tanh'"),
        (["run", "--recipe", f"{'long ' * 60}.toml"], "long long"),
        (["run", "--[bold]x"], "No such option: --[bold]x"),
    ],
)
def test_a_refusal_says_a_name_as_it_is_in_one_line(arguments, message, tmp_path):
    result = conformance(*arguments, cwd=tmp_path, env=os.environ | {"COLUMNS": "40", "PYTHONPATH": str(ROOT)})
    assert result.returncode == 2
    assert any(message in line for line in result.stderr.splitlines())
    assert "Traceback" not in result.stderr


# --- implementations --------------------------------------------------------------------------------------------------

PLUGIN = """
import os, subprocess, sys, time
what = {what!r}
print("noise on standard output")
if what == "hangs":
    subprocess.Popen(["sleep", "100"])
    time.sleep(100)
if what == "dies":
    os.abort()
if what == "exits":
    sys.exit("no licence")
if what == "is not there":
    import no_such_framework

class Adapter:
    def __init__(self, device):
        if device != "cpu":
            raise RuntimeError(device)
        self.device = device
    versions = lambda self: {{"other": "1.2"}}
    settings = lambda self: {{}}
    session = lambda self, problem: None
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    def write(what):
        (tmp_path / "plugin_of_ours.py").write_text(PLUGIN.format(what=what))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
        return "plugin_of_ours:Adapter"

    return write


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        ("hangs", "no answer within 3 s"),
        ("dies", "exit status -6: "),
        ("exits", "exit status 1: no licence"),
        ("is not there", "cannot be loaded: No module named 'no_such_framework'"),
    ],
)
def test_a_broken_implementation_costs_itself_alone(plugin, what, problem):
    began = time.monotonic()
    found = probe("ours", plugin(what), seconds=3 if what == "hangs" else 60)
    assert problem in found.problem
    assert (found.version, found.devices) == (None, [])
    assert time.monotonic() - began < 60


def test_a_sound_implementation_says_its_version_and_its_devices(plugin):
    targets = {"ours": plugin("works"), "numpy": "conformance.adapters.numpy:NumpyAdapter"}
    found = probe_all(targets)
    assert found["ours"] == ("1.2", ["cpu"], None)
    assert found["numpy"].devices == ["cpu"]


def test_a_framework_that_is_not_installed_comes_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setattr("conformance.adapters.probing.find_spec", lambda name: None)
    assert probe("torch", "conformance.adapters.torch:TorchAdapter").problem == "not installed: pip install '.[torch]'"
    assert install_command("tf", tmp_path) == "pip install 'framework-conformance[tf]'"
