"""What every built-in is in every other framework: ``python -m conformance.translation.page`` prints the page.

With the names of kinds, ``optimizer layer``, it prints their parts alone.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from conformance.identification.answer import plural
from conformance.recipes.catalogue_page import builtins
from conformance.recipes.components import choose_all
from conformance.recipes.dialects import dialects
from conformance.recipes.layer_dialects import layer_dialects
from conformance.recipes.spelling import forms, written
from conformance.translation.calls import KINDS
from conformance.translation.candidates import BUILTINS
from conformance.translation.layers import OF, is_layer
from conformance.translation.translate import translate
from conformance.translation.translated import CONDITIONS, EXACT, FRAMEWORKS, OURS, REFUSED, Translation
from conformance.translation.trial import Processes, Trial

HISTORY = 5  # pairs that L-BFGS keeps: JAX compiles the hundred of PyTorch's default for minutes
RATE = 0.01  # of optax's optimizers, which have none by themselves
_CATALOGUE = {"torch": "torch", "tf": "tensorflow", "jax": "jax"}  # whose rows of builtins.toml are a framework's

INTRODUCTION = """\
# Translated

What `conformance translate` answers for every built-in that the catalogue knows, in every other framework: `exact` by a
built-in, `ours` by this project's implementation, or `refused`. "Digits" are those to which the two agreed in float64
and in float32, each run, or asked what it is, before it was counted. Made by

```
python -m conformance.translation.page > docs/translated.md
```
"""
PREFACES = {
    "optimizer": """\
`in float32`: one of the two rounds numbers to float32 in float64 too; `per step`: the built-in's epsilon is set anew
at every step; `constant rate`: the same as long as the rate does not change. Run side by side for 200 steps on
gradients of all sizes, L-BFGS 10 on a cost. optax's optimizers are given a learning rate, L-BFGS a memory of 5. To
NumPy it is always `ours`.
""",
    "layer": "Sizes are left out. What is the same may start otherwise, and keep arrays and data in another order.\n",
}


class Row(NamedTuple):
    """A source of a framework in another one."""

    framework: str
    found: Translation

    @property
    def words(self) -> str:
        """How it is had."""
        return ", ".join([self.found.outcome, *self.found.conditions])


def optimizers(framework: str) -> Iterator[str]:
    """The calls of a framework's optimizers, with a rate where they have none."""
    for form in (form for form in forms(BUILTINS[framework]) if form.dialect in dialects()):
        rates = form.numbers["learning_rate"]
        given = {} if "learning_rate" in form.dialect.keywords else dict.fromkeys(rates, RATE)
        given |= dict.fromkeys(form.numbers.get("history", ()), HISTORY)
        call = form.call._replace(arguments=form.call.arguments | given)
        yield f"{call.framework}.{written(call)}"


def layers(framework: str) -> Iterator[str]:
    """The calls of a framework's layers that are asked as layers."""
    return (one.name for one in layer_dialects() if one.framework == OF[framework] and is_layer(one.name))


def functions(kind: str, framework: str) -> Iterator[str]:
    """The calls of a framework's built-ins of another kind that the catalogue lists."""
    own = (row for row in builtins() if KINDS.get(row.kind) == kind and row.framework == _CATALOGUE[framework])
    return iter(dict.fromkeys(row.call for row in own if not row.function))


def sources(kind: str, framework: str) -> list[str]:
    """The calls of a framework's built-ins of a kind."""
    made: dict[str, Callable[[str], Iterator[str]]] = {"optimizer": optimizers, "layer": layers}
    return list(made[kind](framework) if kind in made else functions(kind, framework))


ALL = ("optimizer", "layer", *KINDS.values())


def rows(kind: str, trial: Trial) -> Iterator[Row]:
    """Every source of a kind in every other framework."""
    for framework in BUILTINS:
        for name in sources(kind, framework):
            for to in FRAMEWORKS:
                if to != framework:
                    print(f"{name} -> {to}", file=sys.stderr)
                    yield Row(framework, _found(kind, name, to, trial))


def _found(kind: str, name: str, to: str, trial: Trial) -> Translation:
    try:
        return translate(name, to=to, trial=trial)
    except ValueError as error:  # of a function that cannot be asked as it is
        if kind in ("optimizer", "layer"):
            raise
        return Translation(name, kind, to, REFUSED, reason=str(error))


def part(kind: str, found: Sequence[Row]) -> str:
    """The tables of a kind in Markdown, and how many there are of each at the end."""
    lines = [f"## {plural(kind).capitalize()}", "", *([PREFACES[kind]] if kind in PREFACES else [])]
    for framework in BUILTINS:
        lines += table(framework, kind, found)
    return "\n".join([*lines, *counts(kind, found)])


def counts(kind: str, found: Sequence[Row]) -> Iterator[str]:
    """How many of each, for each pair of frameworks."""
    conditions = CONDITIONS if kind == "optimizer" else ()
    titles = ["from", "to", EXACT, *(f"of these {name}" for name in conditions), OURS, REFUSED]
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for framework in BUILTINS:
        for to in FRAMEWORKS:
            own = [row for row in found if (row.framework, row.found.to) == (framework, to)]
            if own:
                outcomes = Counter(row.found.outcome for row in own)
                how = [sum(name in row.found.conditions for row in own) for name in conditions]
                numbers = [outcomes[EXACT], *how, outcomes[OURS], outcomes[REFUSED]]
                yield f"| {FRAMEWORKS[framework]} | {FRAMEWORKS[to]} | {' | '.join(map(str, numbers))} |"
    yield ""


def table(framework: str, kind: str, found: Iterable[Row]) -> Iterator[str]:
    """A framework's calls, a line for each and each of the others."""
    yield f"### {plural(kind).capitalize()} of {FRAMEWORKS[framework]}\n"
    yield "| source | to | how | code | digits |"
    yield "|---|---|---|---|---|"
    for row in found:
        if row.framework == framework:
            made = [line for line in row.found.code.splitlines() if line.startswith(f"{kind} = ")]
            code = f"`{made[0].removeprefix(f'{kind} = ')}`" if made else ""
            digits = ", ".join(f"{value:.0f}" for value in row.found.digits.values())
            yield f"| `{row.found.name}` | {FRAMEWORKS[row.found.to]} | {row.words} | {code} | {digits} |"
    yield ""


def main(kinds: Sequence[str]) -> None:
    """Print the page, or the parts of some kinds."""
    chosen = choose_all("kind", kinds or ALL, ALL)
    if not kinds:
        print(INTRODUCTION)
    with Processes() as processes:
        for kind in chosen:
            print(part(kind, list(rows(kind, processes))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
