"""What ``conformance identify`` says of the frameworks' own optimizers: ``python -m conformance.identification.page``.

It prints ``docs/identified.md``. The targets are those that the dialects name and all others that the frameworks have.
"""

from collections.abc import Iterator

from conformance.data.wording import cut
from conformance.identification import optimizers
from conformance.identification.answer import Answer
from conformance.identification.process import Questioned
from conformance.identification.target import parse
from conformance.recipes.dialects import dialects

MODULES = {"torch": "torch.optim", "keras": "keras.optimizers", "optax": "optax"}

# The optimizers that no dialect is of.
OTHERS = {
    "torch": ("ASGD", "Adafactor", "LBFGS", "Muon", "Rprop", "SparseAdam"),
    "keras": ("Adafactor", "Ftrl", "Lamb", "Muon", "ScheduleFreeAdamW"),
    "optax": (
        "adafactor", "adamaxw", "adan", "fromage", "lamb", "lars", "lbfgs", "nadamw", "noisy_sgd", "novograd",
        "optimistic_adam", "optimistic_adam_v2", "optimistic_gradient_descent", "polyak_sgd", "rprop", "sign_sgd",
        "signum", "sm3", "yogi",
    ),
}  # fmt: skip

INTRODUCTION = """\
# Identified

`conformance identify TARGET` asks an optimizer, a loss, an activation, a normalisation, a schedule or an initializer
which formulation it is: it runs it in a process of its own, on inputs that tell formulations apart, and holds what it
makes against the catalogue's. Below is what it answers of the optimizers of PyTorch, Keras and optax, each with its own
defaults unless said; optax's are given a learning rate, which is no part of the answer. "Digits" are those to which a
target agrees in float64 and in float32; a target that rounds its hyperparameters to float32 has fewer, unless it is
known which. "None known" means that the catalogue has no such formulation.

A class, an object, a factory or a plain function of one's own is named in the same way, also from the current folder:
`conformance identify mine:my_optimizer`. Arguments are literals and given by name. From Python,
`conformance.identify("torch.optim:SGD(momentum=0.9)")` returns the same as an object.

This page is made by

```
python -m conformance.identification.page > docs/identified.md
```
"""
LONGEST = 160  # characters of a reason


def targets(framework: str) -> list[str]:
    """What is asked of a framework: the dialects that are a call with arguments by name, then the others."""
    named = [dialect.builtin for dialect in dialects() if dialect.framework == framework]
    found = []
    for builtin in (*named, *OTHERS[framework]):
        target = f"{MODULES[framework]}:{builtin}"
        try:
            parse(target)
        except ValueError:  # a chain of several
            continue
        found.append(target)
    return found


def answers(framework: str) -> Iterator[Answer]:
    """The answers, all from one process."""
    first, *others = targets(framework)
    with Questioned(first, "optimizer") as asked:
        yield optimizers.identify(asked)
        for target in others:
            asked.turn_to(target, "optimizer")
            yield optimizers.identify(asked)


def page() -> str:
    """The whole page in Markdown."""
    return "\n".join([INTRODUCTION, *(section(framework) for framework in MODULES)])


def section(framework: str) -> str:
    """A framework's table."""
    rows = ["| target | formulation | digits | rounded to float32 |", "|---|---|---|---|"]
    return "\n".join([f"## {MODULES[framework]}\n", *rows, *map(row, answers(framework)), ""])


def row(answer: Answer) -> str:
    """A line of a table."""
    if answer.found is None:
        reason = cut(" ".join(answer.reason.split()), LONGEST).replace("`", "'").replace("|", "/")
        why = f": `{reason}`" if reason else ""
        return f"| `{answer.target.partition(':')[2]}` | none known{why} | | |"
    digits = ", ".join(f"{value:.0f}" for value in answer.digits.values())
    written = answer.found.written(answer.kind)
    return f"| `{answer.target.partition(':')[2]}` | `{written}` | {digits} | {', '.join(answer.rounded)} |"


if __name__ == "__main__":
    print(page())
