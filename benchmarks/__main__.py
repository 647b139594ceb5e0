"""The command ``python -m benchmarks``: run, profile, publish, check, verify.

Ends with status 0 where all is well, 1 where something is slower or differs, 2 for what was asked wrongly, 3 where a
process failed.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import checking
from benchmarks.frames import Measured, is_wide, write_frame
from benchmarks.measuring import WORKLOADS, Plan, measure, measure_profile
from benchmarks.page import page, profile_table
from benchmarks.plot import ratios
from benchmarks.processes import FRAMEWORKS, ON_DEVICE, WorkerError, findings
from benchmarks.tasks import AGREEMENT
from conformance.recipes.components import choose, choose_all
from conformance.reports.plots import save

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "reports" / "benchmarks"
DIFFERS, BAD_INPUT, FAILED = 1, 2, 3

app = typer.Typer(add_completion=False, help=__doc__)

Frameworks = Annotated[str, typer.Option("--framework", help="Of numpy, torch, tensorflow, jax; several with commas.")]
Workloads = Annotated[str, typer.Option("--workload", help="Several with commas.")]
Device = Annotated[str, typer.Option(help="cpu, or gpu (not with numpy).")]
Quick = Annotated[bool, typer.Option("--quick", help="A few rounds of a few workloads, to see that all works.")]
Folder = Annotated[Path, typer.Option("--output", help="The folder of the frames.")]


@app.command()
def run(
    framework: Frameworks = "", workload: Workloads = "", device: Device = "cpu", quick: Quick = False,
    output: Folder = RESULTS,
) -> None:  # fmt: skip
    """Measure, and write the frames, the page and its figure into a folder."""
    with refusals():
        measured = measure(_plan(framework, workload, device, quick), _say)
        measured.write(output)
        _write_page(measured, output / "benchmarks.md", output / "figures" / "benchmarks.svg")
    _say(f"{int(is_wide(measured.times).sum())} of {len(measured.times)} ratios have wide quartiles")
    print(output / "benchmarks.md")


@app.command()
def profile(framework: Frameworks = "", workload: Workloads = "", device: Device = "cpu") -> None:
    """Print what the time of a step goes into, in `fit` and in the best by hand, of dense workloads."""
    with refusals():
        found = measure_profile(_plan(framework, workload, device, quick=False), _say)
    print("\n".join(profile_table(found)))


@app.command()
def publish(output: Folder = RESULTS) -> None:
    """Make the page of the docs and the table that `check` reads from the frames of a whole run on the CPU."""
    with refusals():
        measured = Measured.read(output)
        checking.read_table(Plan(), output / "times.csv")
        _write_page(measured, ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "figures" / "benchmarks.svg")
        write_frame(measured.times, checking.TABLE)


@app.command()
def check(
    framework: Frameworks = "", workload: Workloads = "", device: Device = "cpu",
    table: Annotated[Path, typer.Option(help="What it is compared with.")] = checking.TABLE,
) -> None:  # fmt: skip
    """Measure the ratios anew, and name those that are worse than the table's by more than the spread."""
    with refusals():
        plan = _plan(framework, workload, device, quick=False)
        before = checking.read_table(plan, table)
        worse = checking.check(plan, before, _say)
    for line in worse:
        print(f"SLOWER: {line}")
    print(f"{len(worse)} of {len(before)} ratios are worse than the table's by more than the spread")
    if worse:
        raise typer.Exit(DIFFERS)


@app.command()
def verify(framework: Frameworks = "") -> None:
    """Hold every contender's parameters to `fit`'s after three steps in float64."""
    largest = 0.0
    with refusals():
        for name in _several("framework", framework, FRAMEWORKS):
            for found in findings("verify", framework=name):
                largest = max(largest, found["deviation"])
                agrees = "" if found["deviation"] <= AGREEMENT else "  DIFFERS"
                print(f"{name:<12}{found['workload']:<18}{found['contender']:<14}{found['deviation']:.1e}{agrees}")
    if largest > AGREEMENT:
        raise typer.Exit(DIFFERS)


@contextmanager
def refusals() -> Iterator[None]:
    """A refusal is one line and status 2, a failure one line and status 3."""
    try:
        yield
    except (ValueError, FileNotFoundError) as refusal:
        _say(str(refusal))
        raise typer.Exit(BAD_INPUT) from None
    except WorkerError as failure:
        _say(str(failure))
        raise typer.Exit(FAILED) from None


def _plan(framework: str, workload: str, device: str, quick: bool) -> Plan:
    frameworks = _several("framework", framework, ON_DEVICE[choose("device", device, tuple(ON_DEVICE))])
    made: Callable[..., Plan] = Plan.quick if quick else Plan
    chosen = {"workloads": _several("workload", workload, WORKLOADS)} if workload else {}
    return made(frameworks=frameworks, device=device, **chosen)


def _several(option: str, given: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(choose_all(option, given.split(","), allowed)) if given else allowed


def _write_page(measured: Measured, file: Path, figure: Path) -> None:
    figure.parent.mkdir(parents=True, exist_ok=True)
    save(ratios(measured.times), figure)
    file.write_text(page(measured), encoding="utf-8")


def _say(text: str) -> None:
    print(f"benchmarks: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    app()
