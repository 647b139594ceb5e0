"""Does the project work with other versions of the frameworks? ``python -m conformance.audit.matrix WHEEL [NAME ...]``.

``matrix.toml`` names the environments. Each becomes a virtual environment of its own below ``.matrix``, into which the
built wheel is installed with the versions named, and in which the quick suite runs. ``make matrix`` builds the wheel.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conformance.reports.summary import markdown
from conformance.results.frames import load_records
from conformance.results.store import Store, StoreError
from conformance.verdicts.compare import NOT_FAILING

FILE = Path(__file__).with_name("matrix.toml")
FOLDER = Path(".matrix")
COLUMNS = ["environment", "python", "implementation", "version", "records", "verdict"]
FINISHED = (0, 1, 3)  # exit statuses of a run that left records: all pass, not all pass, a worker lost


class NotMade(Exception):
    """An environment that could not be made, or a run in it that did not end; the message says why."""


@dataclass(frozen=True)
class Environment:
    """One row of ``matrix.toml``: a Python version as ``3.13``, implementations by name, pip's requirements."""

    name: str
    python: str
    implementations: tuple[str, ...]
    requirements: tuple[str, ...]
    large: bool = False


def environments() -> tuple[Environment, ...]:
    """Every environment, in the order of ``matrix.toml``.

    >>> [environment.name for environment in environments() if not environment.large]
    ['oldest', 'between', 'newest']
    """
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return tuple(
        Environment(name, table["python"], tuple(table["implementations"]), tuple(table["requirements"]),
                    table.get("large", False))
        for name, table in tables.items()
    )  # fmt: skip


def chosen(names: list[str]) -> list[Environment]:
    """The environments of these names; without names, all that are not large. Raises ValueError for an unknown one."""
    known = {environment.name: environment for environment in environments()}
    for name in names:
        if name not in known:
            raise ValueError(f"environment={name!r} is not allowed: must be one of {', '.join(map(repr, known))}")
    return [known[name] for name in names] if names else [one for one in known.values() if not one.large]


def interpreter(version: str) -> str:
    """A Python of this version: the one that runs, one on the path, one of pyenv's. Raises NotMade if there is none."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    found = [sys.executable] if here == version else []
    found += [path for path in [shutil.which(f"python{version}")] if path]
    found += map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))
    for path in found:
        if subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:  # a shim of pyenv's may lead nowhere
            return path
    raise NotMade(f"no Python {version} was found")


def try_out(environment: Environment, wheel: Path, folder: Path) -> pd.DataFrame:
    """Make the environment and run the quick suite in it: a row of ``COLUMNS`` for each implementation.

    Raises NotMade if the environment cannot be made or the run does not reach its end.
    """
    place = folder.absolute() / environment.name
    python, run = place / "bin" / "python", place / "run"
    extras = ",".join(["conformance", *(name for name in environment.implementations if name != "numpy")])
    _call([interpreter(environment.python), "-m", "venv", "--clear", str(place)], folder)
    _call([str(python), "-m", "pip", "install", "--quiet", f"{wheel.absolute()}[{extras}]", *environment.requirements],
          folder)  # fmt: skip
    ended = _call(
        [str(python), "-m", "conformance", "run", "--suite", "quick", "--output", str(run),
         "--implementation", ",".join(environment.implementations)], place, FINISHED,
    )  # fmt: skip
    try:
        records = load_records(Store(run))
    except StoreError as error:
        raise NotMade(f"exit status {ended.returncode}: {_last_line(ended)}") from error
    return _rows(environment, records)


def _rows(environment: Environment, records: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name in environment.implementations:
        found = records[records["implementation"] == name]
        release = found["framework_version"].iloc[0] if len(found) else ""
        rows.append([environment.name, environment.python, name, release, len(found), _verdict(found["verdict"])])
    return pd.DataFrame(rows, columns=COLUMNS)


def _verdict(verdicts: "pd.Series[str]") -> str:
    """``pass``, or the verdicts that are none, counted; ``no records`` where there are none."""
    if verdicts.empty:
        return "no records"
    counts = verdicts[~verdicts.isin(NOT_FAILING)].value_counts()
    return ", ".join(f"{verdict} {count}" for verdict, count in counts.items()) or "pass"


def _call(command: list[str], folder: Path, finished: tuple[int, ...] = (0,)) -> "subprocess.CompletedProcess[str]":
    """Run a command in a folder where none of this project's source can be imported; NotMade if it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if ended.returncode not in finished:
        raise NotMade(f"{' '.join(command[:4])} ...: exit status {ended.returncode}: {_last_line(ended)}")
    return ended


def _last_line(ended: "subprocess.CompletedProcess[str]") -> str:
    lines = (ended.stderr or ended.stdout).strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def tables(asked: list[Environment], wheel: Path, folder: Path) -> Iterator[pd.DataFrame]:
    """The rows of each environment, as it ends; one that could not be made has the reason for a verdict."""
    for environment in asked:
        print(f"{environment.name}: Python {environment.python}, {', '.join(environment.implementations)}", flush=True)
        try:
            yield try_out(environment, wheel, folder)
        except NotMade as error:
            rows = [[environment.name, environment.python, name, "", 0, f"not made: {error}"]
                    for name in environment.implementations]  # fmt: skip
            yield pd.DataFrame(rows, columns=COLUMNS)


def main(arguments: list[str]) -> int:
    """Try out the environments asked for, print the table; 0 if everything passes, 1 if not, 2 for bad usage."""
    if not arguments or not Path(arguments[0]).is_file():
        print("usage: python -m conformance.audit.matrix WHEEL [NAME ...]", file=sys.stderr)
        return 2
    try:
        asked = chosen(arguments[1:])
    except ValueError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    table = pd.concat(tables(asked, Path(arguments[0]), FOLDER), ignore_index=True)
    table.to_csv(FOLDER / "verdicts.csv", index=False)
    print(f"\n{markdown(table)}\n\ntable: {FOLDER / 'verdicts.csv'}")
    return 0 if (table["verdict"] == "pass").all() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
