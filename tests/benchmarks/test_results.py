"""What becomes of times: frames, the page and its figure, and whether something is slower."""

import os
import platform
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmarks import __main__ as command
from benchmarks import checking, machine, page, processes, profiling
from benchmarks.frames import CELL, FRAMES, Measured, is_wide, times_frame
from benchmarks.measuring import WORKLOADS, Plan
from benchmarks.plot import ratios
from benchmarks.processes import FRAMEWORKS, WorkerError, findings
from benchmarks.workloads import DENSE, LAYERED
from tests.benchmarks.measurements import measured, rounds

ROOT = Path(__file__).parents[2]
PLAN = Plan(frameworks=("numpy",), workloads=("digits",))


def table(**seconds):
    return times_frame(rounds(**seconds))


def test_a_ratio_is_the_median_of_those_of_each_round():
    found = table(fit=[2e-6, 4e-6, 6e-6], best=[1e-6, 2e-6, 2e-6]).set_index("contender")
    assert found.loc["best", "rounds"] == 6
    assert found.loc["best", "microseconds"] == 2
    assert list(found.loc["best", ["ratio", "ratio_lower", "ratio_upper"]]) == [2.0, 2.0, 2.5]
    assert list(found.loc["best", ["interval_lower", "interval_upper"]]) == [2.0, 3.0]
    assert list(found.loc["fit", ["ratio", "ratio_lower", "ratio_upper"]]) == [1.0, 1.0, 1.0]


def test_frames_are_read_as_they_were_written(tmp_path):
    made = measured(fit=[2e-6, 4e-6], best=[1e-6, 2e-6])
    made.write(tmp_path)
    read = Measured.read(tmp_path)
    for name in FRAMES:
        pd.testing.assert_frame_equal(getattr(read, name), getattr(made, name), check_dtype=False)
    assert read.machine == made.machine


def test_the_page_has_every_ratio_and_marks_those_that_are_wide():
    text = page.page(measured(fit=[2e-6, 2e-6, 8e-6, 9e-6], best=[1e-6] * 4, scikit=[2e-6, 2e-6, 8e-6, 9e-6]))
    assert "| digits | 5 (2 to 8.25) | ~5 (2 to 9) | 1 (1 to 1) |" in text
    assert "The quartiles of 1 of 3 ratios are more than 20% apart" in text
    assert "| numpy | digits | best | 2 | 0 | `numpy.matmul` 1 |" in text
    assert "| numpy | digits | best |" not in page.page(measured(fit=[1.05e-6] * 4, best=[1e-6] * 4))
    assert "| numpy | fit |  | 0.5 (0.5 to 0.5) | 2 (2 to 2) | 120 (120 to 120) |" in text
    assert "| numpy | import numpy | 0.1 (0.1 to 0.1) |  |  | 30 (30 to 30) |" in text
    assert not is_wide(table(fit=[2.0], best=[1.0])).any()


def test_the_figure_has_a_panel_for_each_framework(tmp_path):
    figure = ratios(table(fit=[2e-6, 4e-6], best=[1e-6, 2e-6]))
    assert [axes.get_title("left") for axes in figure.axes] == ["numpy"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["digits"]


def test_the_machine_is_described_without_its_name():
    described = machine.describe("cpu")
    assert described["packages"]["numpy"]
    assert platform.node() not in str(described.values())
    assert described["cores"] == os.cpu_count()


def test_what_is_published_fits_together():
    """The page of the docs has the numbers of the table that is checked, and the table is complete."""
    published = pd.read_csv(checking.TABLE)
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for workloads in (DENSE, LAYERED):
        assert "\n".join(page.tables(published, workloads)) in text
    assert (ROOT / "docs" / "figures" / "benchmarks.svg").exists()
    assert {*published["framework"]} == {*FRAMEWORKS}
    assert checking.read_table(Plan())[CELL].equals(published[CELL])
    assert not published[CELL].duplicated().any()


class Rounds:
    """Measurements one after the other, and the plans that they were asked for with."""

    def __init__(self, *frames):
        self.frames, self.plans = list(frames), []

    def __call__(self, plan, say):
        self.plans.append(plan)
        return self.frames.pop(0)


FAST, SLOW = {"fit": [2.0, 2.1], "best": [1.0, 1.0]}, {"fit": [3.0, 3.1], "best": [1.0, 1.0]}


def test_as_fast_as_before_is_no_finding():
    assert checking.check(PLAN, table(**FAST), print, Rounds(rounds(**FAST))) == []


def test_faster_is_no_finding():
    assert checking.check(PLAN, table(**SLOW), print, Rounds(rounds(**FAST))) == []


def test_what_is_slower_twice_is_named(capsys):
    measure = Rounds(rounds(**SLOW), rounds(**SLOW))
    (found,) = checking.check(PLAN, table(**FAST), print, measure)
    assert found == "numpy, digits, fit / best (cpu): 3.05 (3.02 to 3.08), was 2.05 (2.02 to 2.08)"
    assert measure.plans == [PLAN, PLAN]


def test_what_is_slower_once_is_no_finding():
    assert checking.check(PLAN, table(**FAST), lambda text: None, Rounds(rounds(**SLOW), rounds(**FAST))) == []


def test_a_worse_ratio_within_the_spread_is_no_finding():
    wide = {"fit": [2.0, 4.0], "best": [1.0, 1.0]}
    assert checking.slower(table(**wide), table(**SLOW)).empty


def test_a_contender_that_is_no_more_is_said():
    with pytest.raises(ValueError, match=r"the table has numpy, digits, fit / best \(cpu\), which is not measured"):
        checking.slower(table(**FAST), table(fit=[1.0]))


@pytest.fixture
def file(tmp_path):
    """A table of NumPy's digits."""
    table(**FAST).to_csv(tmp_path / "table.csv", index=False)
    return str(tmp_path / "table.csv")


def asked(*arguments):
    return CliRunner().invoke(command.app, arguments)


@pytest.mark.parametrize(
    ("seconds", "status", "said"), [(FAST, 0, "0 of 2 ratios"), (SLOW, 1, "SLOWER: numpy, digits")]
)
def test_the_check_ends_with_1_where_something_is_slower(file, monkeypatch, seconds, status, said):
    monkeypatch.setattr(checking.check, "__defaults__", (Rounds(rounds(**seconds), rounds(**seconds)),))
    ended = asked("check", "--framework", "numpy", "--workload", "digits", "--table", file)
    assert (ended.exit_code, said in ended.output) == (status, True), ended.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "--framework", "pytorch"), "framework='pytorch' is not allowed: must be among numpy, torch"),
        (("run", "--workload", "digit"), "did you mean 'digits'?"),
        (("run", "--device", "tpu"), "device='tpu' is not allowed: must be one of 'cpu', 'gpu'"),
        (("check", "--framework", "jax", "--table", "{file}"), "has no times of jax on cpu for logistic"),
        (("run", "--device", "gpu", "--framework", "numpy"), "framework='numpy' is not allowed: must be among torch"),
        (("publish", "--output", "nowhere"), "No such file or directory: 'nowhere/rounds.csv'"),
    ],
)
def test_what_is_asked_wrongly_is_one_line_and_status_2(file, arguments, said):
    ended = asked(*(argument.format(file=file) for argument in arguments))
    assert (ended.exit_code, said in ended.output) == (2, True), ended.output


def test_a_part_of_the_benchmarks_is_not_published(tmp_path):
    measured(**FAST).write(tmp_path)
    ended = asked("publish", "--output", str(tmp_path))
    assert ended.exit_code == 2
    assert "times.csv has no times of numpy on cpu for logistic, shallow, deep, signs, wide, lenet" in ended.output


def test_a_process_that_fails_is_one_line_and_status_3(monkeypatch):
    def fails(plan, say):
        raise WorkerError("times: MemoryError")

    monkeypatch.setattr(command, "measure", fails)
    ended = asked("run")
    assert (ended.exit_code, ended.output) == (3, "benchmarks: times: MemoryError\n")


def test_a_process_tells_what_importing_takes():
    (found,) = findings("imports", modules=["json", "decimal"])
    assert found["import"] > 0
    assert 1 < found["peak memory"] < 1000


def test_a_profile_is_printed(monkeypatch):
    made = measured(fit=[2e-6], best=[1e-6]).profile
    monkeypatch.setattr(command, "measure_profile", lambda plan, say: made[made["workload"].isin(plan.workloads)])
    ended = asked("profile", "--framework", "numpy", "--workload", "digits")
    assert (ended.exit_code, ended.output.count("`numpy.matmul` 1")) == (0, 2)
    assert asked("profile", "--workload", "digit").exit_code == 2


def test_what_a_call_takes_and_what_a_step_does_are_told_apart():
    clock = iter(range(10**6))  # a tick for each run
    assert profiling.name_of("<built-in method numpy.matmul>") == "numpy.matmul"
    assert profiling.name_of(test_a_process_tells_what_importing_takes.__code__).startswith("test_a_process")

    class Waiting:
        """Ten ticks a call, and one for each epoch of one step."""

        def __init__(self, workload):
            self.workload = workload

        def run(self):
            for _ in range(10 + self.workload.epochs):
                next(clock)

    def ticks(works, **_):
        return {name: [taken(work) for _ in range(3)] for name, work in works.items()}

    def taken(work):
        before = next(clock)
        work()
        return next(clock) - before - 1

    one_step = replace(DENSE[0], epochs=5)
    found = dict(profiling.parts(Waiting, one_step, interleave=ticks))
    assert (found[profiling.CALL], found[profiling.STEPS]) == (10 / 5, 1.0)
    assert any(name.endswith("Waiting.run") for name in found)


def test_a_process_that_fails_says_why():
    with pytest.raises(WorkerError, match=r"imports .*: ModuleNotFoundError: No module named 'nothing'"):
        findings("imports", modules=["nothing"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_quick_run_makes_frames_a_page_and_a_figure(tmp_path):
    ended = asked("run", "--quick", "--output", str(tmp_path))
    assert ended.exit_code == 0, ended.output
    made = Measured.read(tmp_path)
    assert {*made.times["framework"]} == {*FRAMEWORKS}
    assert {*made.cold["framework"]} == {*FRAMEWORKS}
    assert {*made.times["workload"]} <= {*WORKLOADS}
    assert {path.name for path in tmp_path.rglob("*.*")} >= {"benchmarks.md", "benchmarks.svg", "times.csv"}


def test_packages_are_named_for_every_framework():
    assert {*processes.IMPORTS} == {*FRAMEWORKS} == {*processes.TRAINERS}
