"""Shared fixtures. Neither the course's image files nor a browser come with the project: tests without skip loudly."""

import gc
import importlib
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.adapters.collecting import collect_rarely
from conformance.checks.observation import Key, Observation
from conformance.verdicts.compare import NOT_FAILING, Expectation, compare, measure_noise
from conformance.verdicts.rerounding import AnotherLibrary, subtracted
from reference_numpy.arithmetic import rounded_otherwise

ABSENT = "COURSE DATA ABSENT"
COURSE_FILES = ("train_signs.h5", "test_signs.h5", "train_catvnoncat.h5", "test_catvnoncat.h5")
NO_BROWSER = "NO BROWSER"
NO_NODE = "NO NODE"
INSTALL_NODE = "install Node.js"
INSTALL_A_BROWSER = "install Chromium, for example by `apt-get install chromium`"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def no_cache_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What runs keep for the next one is kept for these tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def graphs_as_written() -> Iterator[None]:
    """TensorFlow's graph optimizer, which rewrites the sums of one graph and not of another, leaves them alone."""
    if importlib.util.find_spec("tensorflow") is None:
        yield
        return
    options = importlib.import_module("tensorflow").config.optimizer
    rewriting = ("arithmetic_optimization", "constant_folding")
    before = {name: options.get_experimental_options().get(name, True) for name in rewriting}
    options.set_experimental_options(dict.fromkeys(rewriting, False))
    yield
    options.set_experimental_options(before)


@pytest.fixture(scope="session")
def course_data() -> Path:
    """The folder of the course's HDF5 files: CONFORMANCE_DATA, or ../shared/data next to the repository."""
    folder = Path(os.environ.get("CONFORMANCE_DATA") or BESIDE_THE_REPOSITORY)
    missing = [name for name in COURSE_FILES if not (folder / name).is_file()]
    if missing:
        pytest.skip(
            f"{ABSENT}: {folder} lacks {', '.join(missing)}; set CONFORMANCE_DATA to the folder that holds them"
        )
    return folder


@pytest.fixture(scope="session")
def browser_path() -> str:
    """The program of a Chromium that is installed."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"{NO_BROWSER}: none of {', '.join(BROWSERS)} is on PATH; {INSTALL_A_BROWSER}")
    return found


@pytest.fixture(scope="session")
def node_path() -> str:
    """The program of a Node.js that is installed."""
    found = shutil.which("node")
    if found is None:
        pytest.skip(f"{NO_NODE}: node is not on PATH; {INSTALL_NODE}")
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in the last lines how many tests did not run, for want of what: a skip alone goes unseen."""
    remedies = ((ABSENT, "set CONFORMANCE_DATA"), (NO_BROWSER, INSTALL_A_BROWSER), (NO_NODE, INSTALL_NODE))
    for lacking, remedy in remedies:
        skipped = [report for report in terminalreporter.stats.get("skipped", []) if lacking in str(report.longrepr)]
        if skipped:
            line = f"{lacking}: {len(skipped)} tests were skipped; {remedy}"
            terminalreporter.write_line(line, yellow=True, bold=True)


@pytest.fixture(scope="session")
def agrees() -> Callable[..., None]:
    """Hold what a function of a package returns against the reference's, by the harness's own rule.

    ``agrees(observed, reference, *arguments, dtype="float32", **keywords)``: the oracle is ``reference`` in float64 on
    the arguments as ``dtype`` has them; the noise floor is the largest error of runs in ``dtype`` whose arguments are
    moved by half a unit in the last place. What a library takes as ``1 + ...`` (GELU's distribution function, ELU's
    exponential) moves by units of 1/2 beside, which is what it is left with by a difference; of other ``kinds`` of
    functions, if named, each value moves by one unit in its last place, as in the harness. Of a function that sums over
    an axis, ``summed_over``, every second run has that in another order: 0, the examples of arrays that are no vectors,
    or -1, the units. Both may return an array, a number, or tuples, lists and dicts of them.
    """
    return assert_agrees


RUNS = 12  # six left 1 of 3,000 examples of a normalisation beyond what was allowed; twelve none


def assert_agrees(
    observed: Any,
    reference: Callable[..., Any],
    *arguments: Any,
    dtype: str = "float32",
    kinds: tuple[str, ...] = ("one plus",),
    summed_over: int | None = None,
    **keywords: Any,
) -> None:
    """See the fixture ``agrees``."""
    working = np.dtype(dtype)
    generator = np.random.default_rng(0)
    given = _mapped(arguments, lambda array: array.astype(working))
    oracle = _named(reference(*_mapped(given, lambda array: array.astype(np.float64)), **keywords))
    unit = float(np.finfo(working).eps) / 2

    def moved(array: Any) -> Any:
        return (array * (1 + unit * generator.uniform(-1, 1, array.shape))).astype(working)

    def by_another_library(kind: str, value: Any) -> Any:
        return AnotherLibrary(generator.uniform(1e5, 1e6))(kind, value) if kind in kinds else value

    runs = []
    for run in range(RUNS):
        with rounded_otherwise(value=by_another_library, one_minus_power=subtracted if run % 2 else None):
            order = generator.permutation(given[0].shape[summed_over]) if summed_over is not None and run % 2 else None
            found = reference(*_reordered(_mapped(given, moved), order, summed_over), **keywords)
            runs.append(_named(_reordered(found, None if order is None else np.argsort(order), summed_over)))
    expectations = []
    for name, value in oracle.items():
        expected = Observation(Key("value", 0, name), value)
        noise = [measure_noise(Observation(expected.key, run[name].astype(working)), expected) for run in runs]
        expectations.append(Expectation(expected, np.max(noise, axis=0), {}, unit, working))
    found = [Observation(Key("value", 0, name), value) for name, value in _named(observed).items()]
    wrong = [
        f"{comparison.cause} (error {comparison.error:.3g}, allowed {comparison.allowance:.3g})"
        for comparison in compare(found, expectations)
        if comparison.verdict not in NOT_FAILING
    ]
    assert not wrong, "; ".join(wrong)


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """``value`` with every array of real numbers in it changed."""
    if isinstance(value, dict):
        return {name: _mapped(item, change) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        items = [_mapped(item, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return change(value) if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating) else value


def _reordered(value: Any, order: Any, axis: int | None) -> Any:
    """``value`` with the members along an axis in another order, of every array that has them."""
    if order is None:
        return value
    return _mapped(value, lambda array: array if axis == 0 and array.ndim < 2 else array.take(order, axis))


def _named(value: Any, name: str = "value") -> dict[str, Any]:
    """The arrays in ``value`` by the place where they stand."""
    if isinstance(value, dict):
        parts = {f"{name}[{key!r}]": item for key, item in value.items()}
    elif isinstance(value, (tuple, list)):
        parts = {f"{name}[{place}]": item for place, item in enumerate(value)}
    else:
        return {name: np.asarray(value)}
    return {path: array for part, item in parts.items() for path, array in _named(item, part).items()}


def pytest_collection_finish() -> None:
    """Leave what was imported alone: looking through all of four frameworks for garbage takes its time."""
    gc.collect()
    collect_rarely()
