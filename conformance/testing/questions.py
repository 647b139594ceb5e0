"""The checks of a subject as tests of pytest: each recipe is run when the first of its checks is asked for."""

import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from conformance.recipes.components import choose_all
from conformance.recipes.recipe import Recipe
from conformance.recipes.suites import names
from conformance.results.known import Difference, stale
from conformance.runs.inside import MakeAdapter
from conformance.runs.order import in_precisions
from conformance.runs.plan import DEVICES
from conformance.testing.carried import Chosen, one_by_one, recipes_of
from conformance.testing.checked import KNOWN, NOT_OFFERED, PASS, Answer, Checked
from conformance.testing.checking import check, name_of, recipes_by_default
from conformance.verdicts.order import LADDER

Subject = str | MakeAdapter


class NotConforming(AssertionError):
    """Raised by a check that fails; its text is all that there is to say."""


class Checks:
    """The checks of one subject, of which each recipe is run once, when it is first asked for.

    Raises ValueError or BadInput for what is not allowed, or where nothing says what the subject should be.
    """

    def __init__(
        self,
        subject: Subject,
        recipes: Chosen | None,
        *,
        dtypes: Sequence[str] | None = None,
        device: str = "cpu",
        known: Sequence[Difference] = (),
        folder: Path | None = None,
    ) -> None:
        self.subject, self.name, self.device, self.known = subject, name_of(subject), device, known
        choose_all("device", [device], DEVICES)
        asked = [] if recipes is None else one_by_one(recipes)
        found = recipes_by_default(subject, device) if recipes is None else recipes_of(asked)
        self.recipes = in_precisions(found, dtypes)
        names(self.recipes)
        self._sources = {recipe.name: each for recipe, each in zip(self.recipes, asked, strict=False)}
        self._folder = folder
        self._runs: dict[str, Checked | Exception] = {}

    def questions(self) -> "Iterator[Question | StillDiffers]":
        """Every check of every recipe in every precision, and whether what is known to differ still does."""
        for recipe in self.recipes:
            for dtype in recipe.dtypes:
                yield from (Question(self, recipe, dtype, check) for check in LADDER)
        if any(difference.may_be_of(self.name) for difference in self.known):
            yield StillDiffers(self)

    def run(self, recipe: Recipe) -> Checked:
        """What came of a recipe. Raises what checking it raised, each time."""
        if recipe.name not in self._runs:
            try:
                self._runs[recipe.name] = self._checked(recipe)
            except Exception as error:
                self._runs[recipe.name] = error
        found = self._runs[recipe.name]
        if isinstance(found, Exception):
            raise found
        return found

    def command_again(self, recipe: Recipe, dtype: str) -> str:
        """What does a check once more, and shows it: a command, or Python where no command can name what is checked."""
        source = self._sources.get(recipe.name)
        if not isinstance(self.subject, str) or isinstance(source, Recipe):
            what = recipe.name if source is None or isinstance(source, Recipe) else str(source)
            return f"conformance.check({self.name}, {what!r}, dtypes=[{dtype!r}])"
        named = [] if source is None else ["--recipe", str(source)]
        return shlex.join(["conformance", "check", self.subject, *named, "--dtype", dtype])

    def _checked(self, recipe: Recipe) -> Checked:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        output = Path(tempfile.mkdtemp(prefix="conformance-", dir=self._folder))
        found = check(self.subject, recipe, device=self.device, output=output, known_differences=self.known)
        if found.ok:  # nobody will want to look at it, and what the checks came to has been read by now
            shutil.rmtree(output, ignore_errors=True)
        return found


class Question:
    """One check of one recipe in one precision, put to a subject by calling it."""

    def __init__(self, checks: Checks, recipe: Recipe, dtype: str, check: str) -> None:
        self._checks, self._recipe, self._dtype, self._check = checks, recipe, dtype, check
        self.id = f"{recipe.name}-{dtype}-{check}"

    def __call__(self, subject: Subject) -> None:
        """Pass, skip what is not offered, or expect what is known to fail; else raise NotConforming."""
        _require_own(subject, self._checks)
        checked = self._checks.run(self._recipe)
        place = (self._recipe.name, self._dtype, self._check)
        answer = next((each for each in checked.answers if each[:3] == place), None)
        if answer is None or answer.result == NOT_OFFERED:
            pytest.skip(f"not offered: {answer.what}" if answer else "the recipe has nothing of it to show")
        if answer.result == KNOWN:
            pytest.xfail(answer.what)
        if answer.result != PASS:
            raise NotConforming(self._told(checked, answer))

    def _told(self, checked: Checked, answer: Answer) -> str:
        lines = [f"{answer.recipe}, {answer.dtype}, check {answer.check}: {answer.result}", f"  {answer.what}"]
        return "\n".join([*lines, *checked.why, f"again: {self._checks.command_again(self._recipe, self._dtype)}",
                          f"report: {checked.report}"])  # fmt: skip


class StillDiffers:
    """The question whether what is known to differ still does, put to a subject by calling it."""

    id = "known-differences"

    def __init__(self, checks: Checks) -> None:
        self._checks = checks

    def __call__(self, subject: Subject) -> None:
        """Raise NotConforming with those rows of which nothing differs any more."""
        _require_own(subject, self._checks)
        found = [self._checks.run(recipe) for recipe in self._checks.recipes]
        made = [place for checked in found for place in checked.made]
        failing = [record for checked in found for record in checked.failing]
        rows = stale(self._checks.known, self._checks.name, made, failing)
        if rows:
            raise NotConforming("\n".join(f"{row} no longer differs: its row must go" for row in rows))


def _require_own(subject: Subject, checks: Checks) -> None:
    if subject is not checks.subject and subject != checks.subject:
        raise TypeError(f"this check is of {checks.name}: must not be called with another subject")
