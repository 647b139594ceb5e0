"""``conformance pick``: of given measurements and of runs; what is told, refused and escaped, and the exit status."""

import json
import math
import re
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import conformance
from conformance.adapters.probing import Probe
from conformance.adapters.registry import OWN
from conformance.cli import app
from conformance.cli.display import untold
from conformance.picking import pick as picking
from conformance.picking import timing
from conformance.picking.asking import ask
from conformance.picking.timing import Effort, Timing, Timings
from conformance.picking.worker import trainings
from conformance.runs.outcome import Incomplete

HOSTILE = "my.package:Model<b>"


def command(*arguments):
    return CliRunner().invoke(app, ["pick", *map(str, arguments)])


def timings(import_seconds, first, seconds):
    return Timings((Timing("1.2.3", import_seconds, 64, first, tuple(seconds), 100.0),))


MEASURED = {
    "numpy": timings(0.1, 0.02, [0.015, 0.016, 0.017]),
    "torch": timings(2.0, 0.2, [0.15, 0.16, 0.17]),
    "jax": timings(1.0, 0.8, [0.003, 0.004, 0.005]),
}
PROBES = {
    "numpy": Probe("1", ["cpu"], None),
    "torch": Probe("1", ["cpu"], None),
    "tf": Probe(None, [], "not installed: pip install '.[tf]'"),
    "jax": Probe("1", ["cpu", "gpu"], None),
}


@pytest.fixture
def measured(monkeypatch):
    """Nothing is measured: what would be is given, and may be changed. On a gpu jax alone is timed."""
    found = {"probes": dict(PROBES), "timings": dict(MEASURED), "margins": {}, "incomplete": "", "names": ()}
    margins = {"records": 10, "passed": 10, "failed": 0, "error_per_allowance": 0.25, "nearest_record": "update: W1"}

    def held(asked, names, output, **options):
        found["names"] = tuple(names)
        return {name: margins | found["margins"].get(name, {}) for name in names}, found["incomplete"]

    monkeypatch.setattr(picking, "probe_all", lambda targets: {name: found["probes"][name] for name in targets})
    monkeypatch.setattr(picking, "time_all", lambda asked, names, *rest: {n: found["timings"][n] for n in names})
    monkeypatch.setattr(picking, "_margins", held)
    monkeypatch.setattr(picking, "busy", lambda: "")
    return found


def test_the_command_tells_the_table_a_recommendation_for_each_goal_and_the_code(measured):
    result = command("--model", "shallow_network", "--optimizer", "lion")
    assert result.exit_code == 0
    told = [" ".join(line.split()) for line in result.stdout.splitlines()]
    first = "shallow_network (32,) by lion on moons, 256 examples in batches of 32, 64 steps, float32 on cpu"
    assert told[0] == first
    assert "steps per second 4,000 400 - 16,000" in told
    assert "largest error 25 % 25 % - 25 %" in told
    assert "tf is not measured: not installed: pip install '.[tf]'" in told
    assert any(line.startswith("fastest once it runs jax 16,000 steps per second; numpy is next") for line in told)
    assert any(line.startswith("fastest to start numpy") for line in told)
    assert {line.partition(",")[0] for line in told} >= {"jax (fastest once it runs", "numpy (fastest to start"}
    assert "from impl_jax.optimizers import lion" in told


def test_the_json_has_null_for_what_is_not_known(measured):
    result = command("--json")
    found = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(name))
    rows = {row["implementation"]: row for row in found["implementations"]}
    assert list(rows) == list(OWN)
    assert rows["tf"]["problem"] == "not installed: pip install '.[tf]'"
    assert (rows["tf"]["steps_per_second"], rows["tf"]["records"]) == (None, None)
    assert rows["numpy"]["steps_per_second"] == 4000
    assert {row["goal"] for row in found["recommendations"]} >= {"smallest installation", "runs on a gpu"}
    assert set(found["code"]) <= {"numpy", "torch", "jax"}


def test_from_python_it_is_a_frame(measured):
    found = conformance.pick("deep_network", "adam", implementations=["torch", "numpy"])
    assert list(found.table["implementation"]) == ["torch", "numpy"]
    assert found.table["steps_per_second"].tolist() == [400.0, 4000.0]
    assert found.table["spread"].tolist() == ["388 - 413", "3,879 - 4,129"]
    assert list(found.recommendations.columns) == ["goal", "implementation", "value", "reason"]
    assert "<table" in found._repr_html_()


def test_a_device_that_one_has_alone_leaves_the_others_as_rows_that_say_why(measured):
    found = conformance.pick(device="gpu")
    assert found.measured == ["jax"]
    assert found.problems["numpy"] == "device gpu is not there: it finds cpu"
    assert measured["names"] == ("jax",)
    assert command("--device", "gpu").exit_code == 0


def test_where_nothing_can_be_measured_the_table_is_shown_and_the_status_is_3(measured):
    result = command("--device", "tpu")
    assert result.exit_code == 3
    assert "numpy is not measured: device tpu is not there: it finds cpu" in result.stdout
    assert result.stderr.endswith("none of the implementations can be had on this device\n")


def test_a_failed_comparison_is_told_and_not_recommended_and_the_status_is_1(measured):
    measured["margins"]["jax"] = {"failed": 2, "passed": 8}
    result = command()
    assert result.exit_code == 1
    assert "jax failed a comparison with the oracle: not recommended" in result.stdout
    assert "impl_jax" not in result.stdout


def test_what_did_not_come_to_its_end_has_status_3(measured):
    measured["timings"]["torch"] = Timings(problem="no answer within 600 s", crashed=True)
    result = command()
    assert result.exit_code == 3
    assert "torch is not measured: no answer within 600 s" in result.stdout
    assert "INCOMPLETE: torch: no answer within 600 s" in result.stderr
    assert measured["names"] == ("numpy", "jax")
    measured["timings"], measured["incomplete"] = dict(MEASURED), "jax lacks 1 of 1 trainings"
    assert command().exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "depnetwork"], "did you mean 'deep_network'"),
        (["--optimizer", "keras.Adm"], "did you mean 'keras.Adam'"),
        (["--implementation", "tensorflow"], "implementation='tensorflow' is not allowed: did you mean 'tf'?"),
        (["--device", "cuda"], "device='cuda' is not allowed: must be among cpu, gpu, tpu"),
        (["--dtype", "float16"], "dtype='float16' is not allowed"),
        (["--recipe", "nothing.toml"], "nothing.toml"),
        (["--recipe", "moons-twice", "--optimizer", "adam"], "exclude each other"),
        (["--run", "nowhere"], "nowhere"),
        (["--run", "nowhere", "--quick"], "run excludes quick and output"),
        (["--html", "no/folder/page.html"], "must be a file that can be written"),
    ],
)
def test_what_is_not_allowed_is_refused_in_a_line(arguments, words, measured, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = command(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_of_a_run_what_it_has_is_told_and_nothing_is_measured(timed_run, synthetic):
    """In the trainings that are timed of all: two of three."""
    found = conformance.pick(run=timed_run)
    assert list(found.table["implementation"]) == list(synthetic["IMPLEMENTATIONS"])
    assert found.dtype == "float32"
    assert found.table["steps_per_second"].round().tolist() == [100, 200, 300, 400]
    assert found.table["first_step_seconds"].round(3).tolist() == [2.01, 2.505, 2.67, 2.752]
    assert found.table["steps"].tolist() == [200] * 4
    assert math.isnan(found.table["import_seconds"][0])
    assert found.table["import_seconds"].tolist()[1:] == [2.0] * 3
    assert found.table["passed"].tolist() == found.table["records"].tolist()
    records = found.table["records"].sum()
    assert records == (conformance.load_run(timed_run).records["dtype"] == "float32").sum()
    assert "fastest to start" in {each.goal for each in found.recommended if not each.implementation}


def test_of_a_run_a_recipe_or_a_precision_can_be_chosen(timed_run):
    run = conformance.load_run(timed_run)
    name = list(run.recipes)[-1]
    found = conformance.pick(run=timed_run, recipe=name, dtype="float64", implementations=["jax"])
    records = run.records.query("recipe == @name and dtype == 'float64' and implementation == 'jax'")
    assert found.table["records"].tolist() == [len(records)]
    assert found.table["error_per_allowance"].tolist() == [records["error_per_allowance"].max()]
    assert found.table["failed"].tolist() == [0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--recipe", "a-very"], "recipe='a-very' is not allowed: must be one of 'a-very-long-"),
        (["--model", "netwrk"], "model='netwrk' is not allowed: must be one of "),
        (["--implementation", "jx"], "implementation='jx' is not allowed: .*did you mean 'jax'"),
        (["--device", "gpu"], "device='gpu' is not allowed: must be one of 'cpu'"),
    ],
)
def test_what_a_run_has_not_is_refused(given, words, timed_run):
    result = command("--run", timed_run, *given)
    assert result.exit_code == 2
    assert re.search(words, result.stderr)


def test_the_page_needs_no_other_file_and_escapes_what_a_run_named(timed_run, tmp_path):
    file = tmp_path / "page.html"
    assert command("--run", timed_run, "--html", file).exit_code == 0
    text = file.read_text(encoding="utf-8")
    assert "my.package:Model&lt;b&gt;" in text
    assert HOSTILE not in text
    assert not any(sign in text for sign in ("<script", "http://", "https://", "src=", "href="))
    assert "Model&lt;b&gt;" in conformance.pick(run=timed_run)._repr_html_()


def test_the_page_has_the_table_the_recommendations_and_the_code(measured, tmp_path):
    file = tmp_path / "page.html"
    assert command("--html", file).exit_code == 0
    text = file.read_text(encoding="utf-8")
    assert text.count("<pre ") == 2
    assert "from impl_jax.training import fit" in text
    assert "<strong>tf</strong> is not measured: not installed: pip install &#39;.[tf]&#39;" in text


def test_medians_are_over_all_processes_and_the_first_two_trainings_are_not_among_them():
    both = Timings((*timings(1.0, 0.5, [0.1, 0.2]).found, *timings(3.0, 0.9, [0.3]).found))
    values = both.values
    assert (values["import_seconds"], values["first_training_seconds"], values["trainings"]) == (2.0, 0.7, 3)
    assert values["steps_per_second"] == 64 / 0.2
    assert values["first_step_seconds"] == pytest.approx(0.7 - 63 * 0.2 / 64)


def test_a_process_trains_once_to_warm_up_and_at_least_once_more(monkeypatch):
    session = SimpleNamespace(calls=[])

    def train(session, problem):
        session.calls.append(SimpleNamespace(seconds=0.5, steps=8))

    monkeypatch.setattr("conformance.checks.free_running.train", train)
    assert trainings(session, "problem", seconds=0.0, most=9) == [(0.5, 8)] * 3
    assert trainings(session, "problem", seconds=60.0, most=9) == [(0.5, 8)] * 11
    monkeypatch.setattr("time.perf_counter", iter(range(100)).__next__)  # a second for each look at the clock
    assert len(trainings(session, "problem", seconds=3.0, most=99)) == 2 + 5


def test_one_that_is_lost_is_not_asked_again_and_the_others_are_in_turn(monkeypatch):
    asked = []

    def answer(name, *rest):
        asked.append(name)
        return Timings(problem="gone", crashed=True) if name == "tf" else MEASURED["numpy"].found[0]

    monkeypatch.setattr(timing, "_ask", answer)
    found = timing.time_all(ask(), ["numpy", "tf", "jax"], Effort(2, 0.1), untold)
    assert asked == ["numpy", "tf", "jax", "numpy", "jax"]
    assert (len(found["jax"].found), found["tf"].problem, found["tf"].values) == (2, "gone", {})


def test_a_comparison_that_could_not_be_made_is_told(monkeypatch):
    def hold(*arguments, **keywords):
        raise Incomplete("the disk is full")

    monkeypatch.setattr("conformance.picking.runs.hold", hold)
    assert picking._margins(ask(), ["numpy"], None, quick=True, progress=untold) == ({}, "the disk is full")


def test_a_busy_machine_is_told(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (3.0, 0.0, 0.0))
    assert picking.busy().startswith("This machine is busy (3.0 processes wanted one of 2 processors before)")
    monkeypatch.setattr("os.getloadavg", lambda: (0.9, 0.0, 0.0))
    assert picking.busy() == ""


@pytest.mark.slow
def test_a_process_that_ends_or_says_nothing_is_told(monkeypatch):
    slow = ask(recipe="digits-softmax-adam-dropout-l2", implementations=["numpy"])
    found = timing.time_all(slow, ["numpy"], Effort(1, 0.1, timeout=0.01), untold)["numpy"]
    assert (found.problem, found.crashed) == ("no answer within 0.01 s", True)
    monkeypatch.setitem(timing.PACKAGES, "numpy", "no_such_package")
    found = timing.time_all(slow, ["numpy"], Effort(1, 0.1), untold)["numpy"]
    assert "no_such_package cannot be imported: ModuleNotFoundError" in found.problem


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_all_four_are_measured_and_one_is_recommended_for_each_goal(tmp_path):
    result = command("--quick", "--json", "--output", tmp_path / "run")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    rows = {row["implementation"]: row for row in found["implementations"]}
    assert list(rows) == list(OWN)
    for row in rows.values():
        assert row["problem"] == ""
        assert row["passed"] == row["records"] > 50
        assert 0 < row["error_per_allowance"] <= 1
        assert row["steps_per_second_low"] <= row["steps_per_second"] <= row["steps_per_second_high"]
        assert 0.01 < row["import_seconds"] < 120
        assert row["steps"] == 64
        assert "cpu" in row["devices"]
    assert rows["numpy"]["peak_mib"] == min(row["peak_mib"] for row in rows.values())
    assert rows["jax"]["first_step_seconds"] > rows["numpy"]["first_step_seconds"]
    best = {each["goal"]: each["implementation"] for each in found["recommendations"]}
    assert best["smallest installation"] == best["fastest to start"] == best["least memory"] == "numpy"
    again = command("--run", tmp_path / "run", "--json")
    kept = {row["implementation"]: row for row in json.loads(again.stdout)["implementations"]}
    assert {name: row["error_per_allowance"] for name, row in kept.items()} == {
        name: row["error_per_allowance"] for name, row in rows.items()
    }
