"""Shared fixtures. The course's image files are not part of the project: tests without them skip, and say so."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ABSENT = "COURSE DATA ABSENT"
COURSE_FILES = ("train_signs.h5", "test_signs.h5", "train_catvnoncat.h5", "test_catvnoncat.h5")
BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def no_cache_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What runs keep for the next one is kept for these tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in the last lines how many tests did not run for want of the course's files: a skip alone goes unseen."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if ABSENT in str(report.longrepr)]
    if skipped:
        line = f"{ABSENT}: {len(skipped)} tests were skipped; set CONFORMANCE_DATA"
        terminalreporter.write_line(line, yellow=True, bold=True)
