"""The tests that ``pytest --conformance`` collects."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.runs.outcome import BadInput, Incomplete
from conformance.testing.checking import known_of
from conformance.testing.questions import Checks, NotConforming, Question, StillDiffers

NAME = "conformance"


class Collector(pytest.Collector):
    """What the tests of all subjects are below of."""

    def collect(self) -> list[pytest.Item]:
        """The tests. Raises UsageError."""
        return list(self._tests())

    def _tests(self) -> Iterator[pytest.Item]:
        asked, folder = self.config.getoption, _folder(self.config)
        try:
            known = known_of(asked("conformance_known_differences") or ())
            named = asked("conformance_dtype")
            dtypes = None if named is None else named.split(",")
            for subject in dict.fromkeys(asked("conformance")):
                checks = Checks(
                    subject, asked("conformance_recipe"), dtypes=dtypes, device=asked("conformance_device"),
                    known=known, folder=folder,
                )  # fmt: skip
                for question in checks.questions():
                    yield ConformanceTest.from_parent(
                        self, name=f"{subject}[{question.id}]", subject=subject, question=question
                    )
        except (ValueError, BadInput) as error:
            raise pytest.UsageError(f"--conformance: {error}") from error


class ConformanceTest(pytest.Item):
    """A test of one check."""

    def __init__(self, *, subject: str, question: Question | StillDiffers, **options: Any) -> None:
        super().__init__(**options)
        self._subject, self._question = subject, question

    def runtest(self) -> None:
        """Put the question."""
        self._question(self._subject)

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """What it says, without a trace where there is nothing to be traced."""
        if isinstance(excinfo.value, (NotConforming, BadInput, Incomplete)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where it is: in no file."""
        return self.path, None, f"{NAME} {self.name}"


def conformance_tests(session: pytest.Session) -> list[pytest.Item]:
    """The tests that the command line asks for. Raises UsageError."""
    collector: Collector = Collector.from_parent(session, name=NAME, nodeid=NAME, path=session.config.rootpath)
    return collector.collect()


def _folder(config: pytest.Config) -> Path | None:
    """Where runs are kept that fail: in pytest's cache, if it has one, emptied of those of the last time."""
    if not hasattr(config, "cache") or config.cache is None:
        return None
    folder: Path = config.cache.mkdir(NAME)
    if not hasattr(config, "workerinput"):  # which a worker of pytest-xdist has
        shutil.rmtree(folder, ignore_errors=True)
    return folder
