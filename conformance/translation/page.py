"""Every dialect in every framework: ``python -m conformance.translation.page`` prints ``docs/translated.md``."""

import sys
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from conformance.recipes.dialects import dialects
from conformance.recipes.spelling import forms, written
from conformance.translation.candidates import BUILTINS
from conformance.translation.translate import translate
from conformance.translation.translated import CONDITIONS, FRAMEWORKS, Translation
from conformance.translation.trial import Processes, Trial

HISTORY = 5  # pairs that L-BFGS keeps: JAX compiles the hundred of PyTorch's default for minutes
RATE = 0.01  # of optax's optimizers, which have none by themselves

INTRODUCTION = """\
# Translated

What `conformance translate` answers for every dialect of an optimizer in every other framework:
`exact` by a built-in, `in float32` where one of the two rounds numbers to float32 in float64 too, `per step` where the
built-in's epsilon is set anew at every step, `constant rate` where it is the same as long as the rate does not change;
`ours` by this project's implementation. Each was run against its source before it was counted: 200 steps on gradients
of all sizes, L-BFGS 10 on a cost. "Digits" are those to which the two agreed in float64 and in float32. To NumPy it is
always `ours`. optax's optimizers are given a learning rate, L-BFGS a memory of 5. Made by

```
python -m conformance.translation.page > docs/translated.md
```
"""


class Row(NamedTuple):
    """A source in one framework."""

    framework: str
    found: Translation

    @property
    def words(self) -> str:
        """How it is had."""
        return ", ".join([self.found.outcome, *self.found.conditions])


def sources(framework: str) -> list[str]:
    """The calls of a framework's built-ins, with a rate where they have none."""
    found = []
    for form in (form for form in forms(BUILTINS[framework]) if form.dialect in dialects()):
        rates = form.numbers["learning_rate"]
        given = {} if "learning_rate" in form.dialect.keywords else dict.fromkeys(rates, RATE)
        given |= dict.fromkeys(form.numbers.get("history", ()), HISTORY)
        call = form.call._replace(arguments=form.call.arguments | given)
        found.append(f"{call.framework}.{written(call)}")
    return found


def rows(trial: Trial) -> Iterator[Row]:
    """Every source in every other framework."""
    for framework in BUILTINS:
        for name in sources(framework):
            for to in FRAMEWORKS:
                if to != framework:
                    print(f"{name} -> {to}", file=sys.stderr)
                    yield Row(framework, translate(name, to=to, trial=trial))


def page(found: list[Row]) -> str:
    """The whole page in Markdown."""
    return "\n".join([INTRODUCTION, *counts(found), *(line for name in BUILTINS for line in table(name, found))])


def counts(found: list[Row]) -> Iterator[str]:
    """How many of each, for each pair of frameworks."""
    yield "| from | to | exact | of these in float32 | per step | constant rate | ours | refused |"
    yield "|---|---|---|---|---|---|---|---|"
    for framework in BUILTINS:
        for to in FRAMEWORKS:
            own = [row for row in found if (row.framework, row.found.to) == (framework, to)]
            if own:
                outcomes = Counter(row.found.outcome for row in own)
                how = [sum(name in row.found.conditions for row in own) for name in CONDITIONS]
                numbers = [outcomes["exact"], *how, outcomes["ours"], outcomes["refused"]]
                yield f"| {FRAMEWORKS[framework]} | {FRAMEWORKS[to]} | {' | '.join(map(str, numbers))} |"
    yield ""


def table(framework: str, found: list[Row]) -> Iterator[str]:
    """A framework's calls, a line for each and each of the others."""
    yield f"## From {FRAMEWORKS[framework]}\n"
    yield "| source | to | how | code | digits |"
    yield "|---|---|---|---|---|"
    for row in found:
        if row.framework == framework:
            made = [line for line in row.found.code.splitlines() if line.startswith("optimizer = ")]
            code = made[0].removeprefix("optimizer = ") if made else ""
            digits = ", ".join(f"{value:.0f}" for value in row.found.digits.values())
            call = row.found.name
            yield f"| `{call}` | {FRAMEWORKS[row.found.to]} | {row.words} | `{code}` | {digits} |"
    yield ""


if __name__ == "__main__":
    with Processes() as processes:
        print(page(list(rows(processes))))
