"""What ``conformance identify`` says of the frameworks' own optimizers and layers.

``python -m conformance.identification.page`` prints ``docs/identified.md``. The optimizers are those that the dialects
name and all others that the frameworks have, the layers those of ``layer_dialects.toml``.
"""

from collections.abc import Iterator

from conformance.data.wording import cut
from conformance.identification import layer_table, layers, optimizers
from conformance.identification.answer import Answer
from conformance.identification.process import Questioned
from conformance.identification.target import parse
from conformance.recipes import layer_dialects
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

`conformance identify TARGET` asks an optimizer, a layer, a loss, an activation, a normalisation, a schedule or an
initializer which formulation it is: it runs it in a process of its own, on inputs that tell formulations apart, and
holds what it makes against the catalogue's. Below is what it answers of the optimizers of PyTorch, Keras and optax, and
of the layers of PyTorch, Keras and Flax, each with its own defaults unless said; optax's are given a learning rate,
which is no part of the answer. "Digits" are those to which a target agrees in float64 and in float32, the last of
which goes with how a machine takes sums; a target that rounds its hyperparameters to float32 has fewer, unless it is
known which. "None known" means that the catalogue has no such formulation.

A layer is made with small sizes where it needs some, is given inputs and random numbers in its arrays, and agrees only
if its outputs, all gradients and its running averages do. The answer names the layer of `reference_numpy.layers` with
its keywords, sizes left out, which of its arrays is which parameter, and how these start, as far as draws tell it.

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
    of_layers = (layer_section(framework) for framework in layer_dialects.MODULES)
    return "\n".join([INTRODUCTION, *(section(framework) for framework in MODULES), *of_layers])


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


def layer_answers(framework: str) -> Iterator[Answer]:
    """The answers for a framework's layers, all from one process."""
    first, *others = [one.target for one in layer_table.table() if one.framework == framework]
    with Questioned(first, "layer") as asked:
        yield layers.identify(asked)
        for target in others:
            asked.turn_to(target, "layer")
            yield layers.identify(asked)


def layer_section(framework: str) -> str:
    """The table of a framework's layers."""
    rows = ["| target | layer | digits | arrays | starts | data |", "|---|---|---|---|---|---|"]
    module = layer_dialects.MODULES[framework]
    return "\n".join([f"## {module}\n", *rows, *map(layer_row, layer_answers(framework)), ""])


def layer_row(answer: Answer) -> str:
    """A line of it."""
    call = answer.target.partition(":")[2]
    if answer.found is None:
        return f"| `{call}` | none known | | | | |"
    digits = ", ".join(f"{value:.0f}" for value in answer.digits.values())
    arrays = "; ".join(f"`{path}`: {words}" for path, words in answer.arrays.items())
    alike = {words: [path for path, own in answer.starts.items() if own == words] for words in answer.starts.values()}
    starts = "; ".join(f"{', '.join(f'`{path}`' for path in paths)}: {words}" for words, paths in alike.items())
    data = "; ".join((*answer.notes, *(f"rounded to float32: {what}" for what in answer.rounded)))
    return f"| `{call}` | `{answer.found.written('layer')}` | {digits} | {arrays} | {starts} | {data} |"


if __name__ == "__main__":
    print(page())
