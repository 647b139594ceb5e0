"""The catalogue as a page: ``python -m conformance.recipes.catalogue_page`` prints ``docs/catalogue.md``.

What a component is comes from its docstring and signature in the reference; which built-ins of the frameworks it
equals comes from ``builtins.toml``, for the optimizers from ``dialects.toml`` and for the layers from
``layer_dialects.toml``. Tests hold all three to the built-ins.
"""

import inspect
import re
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from conformance.recipes.catalogue import KINDS, written_keywords
from conformance.recipes.dialects import equal_builtins
from conformance.recipes.layer_dialects import MODULES, LayerDialect, equal_layers
from conformance.recipes.layers import HELD, defaults_of
from reference_numpy import activations, normalization, regularizers
from reference_numpy.layers import LAYERS

FILE = Path(__file__).with_name("builtins.toml")

# The second half of a component that is two functions, or what is computed in its place where it would round away.
COMPANIONS: dict[str, Callable[..., Any]] = {
    "softmax": activations.log_softmax,
    "batch_norm": normalization.running_average,
    "inverted_dropout": regularizers.dropout_mask,
}

FRAMEWORKS = {"torch": "PyTorch", "tensorflow": "TensorFlow", "jax": "JAX"}

INTRODUCTION = """\
# The catalogue

Every component that a recipe can name, except the data sets: what it computes, its keywords with their defaults, where
it comes from, and which built-ins of PyTorch, TensorFlow with Keras, and JAX with optax and Flax it equals, with the
keywords that make it so. For a framework that a table leaves out, no built-in is listed. "To float32" means that the
built-in rounds a number of its own to float32, for float64 arrays too. Everything is taken from the docstrings and
signatures of `reference_numpy`, from `dialects.toml`, `layer_dialects.toml` and `builtins.toml` of
`conformance/recipes`, and the tests hold every equality to the built-in itself. Made by

```
python -m conformance.recipes.catalogue_page > docs/catalogue.md
```
"""


LAYERS_PREFACE = """\
What a network is made of, in a recipe `model.layers`. Each built-in is the dialect of its name there,
`{ dialect = "keras.GRU", units = 5 }`, written with its framework, `torch`, `keras` or `flax`; sizes must be said, and
keywords beside it stand in place of its own. What `equals` says was measured, in outputs, all gradients and running
averages, as were the starts: `conformance identify torch.nn:GRU` measures it again, and
[identified](identified.md) has the digits.
"""

PREFACES = {
    "losses": """\
Compared as costs: what a built-in returns for each output is added up over the outputs, and what it returns for each
example is averaged. A built-in's sum over the examples (`reduction="sum"`) is the `reduction` of `fit` and of a recipe.
""",
    "models": """\
Only a single layer is ready made; in every framework a network of several is a stack of them.
""",
    "normalizations": """\
Compared in training, in the running averages that this leaves, and in inference.
""",
    "optimizers": """\
The built-ins with their own defaults, as `conformance/recipes/dialects.toml` has them. Those of optax ask for a
learning rate. An entry with a `weight_decay` or `dampening` shows what the keyword is; `decoupled_weight_decay=True` in
an entry without a decay says of which kind Keras's own would be. Biases decay as weights do, unless they are left out.

On the CPU the fused optimizers of PyTorch 2.13 (`torch.optim.SGD(fused=True)`, `Adam`, `AdamW`) pair the wrong elements
of weight, gradient and state, without a word, where the strides of a gradient differ from those of its weight: for a
transposed or expanded gradient, or one with gaps. `impl_torch.optimizers`, which returns them for their speed, gives
such a gradient its weight's layout before the step. In `tests/impl_torch/test_torch_decay_and_layout.py`,
`test_pytorch_s_fused_kernels_alone_are_still_wrong_so_that_the_guard_is_still_needed` shows the fault and
`test_a_step_does_not_depend_on_the_layout_of_the_gradient` the guard.
""",
    "schedules": """\
Compared at a rate of 0.1 to begin with, `alpha_0`, where a built-in takes it.
""",
}


class Builtin(NamedTuple):
    """One built-in beside one component.

    ``call`` makes the built-in of ``framework``. The component with ``keywords`` equals it to ``precision``, or
    ``differs`` says why none do. A schedule may be equal only ``until`` an epoch or step. ``function`` is the
    component's companion where it is that which equals the built-in, else "".
    """

    kind: str
    component: str
    framework: str
    call: str
    keywords: dict[str, Any]
    differs: str
    precision: str
    until: int | None
    note: str
    function: str


DEFAULTS: dict[str, Any] = {
    "keywords": {},
    "differs": "",
    "precision": "float64",
    "until": None,
    "note": "",
    "function": "",
}


class Description(NamedTuple):
    """A docstring in Markdown, and the sentence on its source; "" where it has none."""

    text: str
    source: str


@cache
def builtins() -> tuple[Builtin, ...]:
    """Every row of ``builtins.toml``, in its order.

    Raises ValueError for a kind, component, framework or field that is not known, with those that are.

    >>> builtins()[0].component, builtins()[0].call
    ('identity', 'torch.nn.Identity')
    """
    return tuple(read_builtins(tomllib.loads(FILE.read_text(encoding="utf-8"))))


def read_builtins(tables: dict[str, Any]) -> Iterator[Builtin]:
    """The rows of tables nested as in ``builtins.toml``. Raises ValueError as :func:`builtins`.

    >>> next(read_builtins({"losses": {"hinge": {}}}))
    Traceback (most recent call last):
    ...
    ValueError: component='hinge' is not allowed: must be one of 'binary_cross_entropy', 'categorical_cross_entropy', \
'binary_cross_entropy_from_probabilities', 'categorical_cross_entropy_from_probabilities', 'mean_squared_error'
    """
    for kind, components in tables.items():
        _check_known("kind", kind, [name for name in KINDS if name != "optimizers"])
        for component, frameworks in components.items():
            _check_known("component", component, list(KINDS[kind]))
            for framework, calls in frameworks.items():
                _check_known("framework", framework, list(FRAMEWORKS))
                for call, row in calls.items():
                    for field in row:
                        _check_known("field", field, list(DEFAULTS))
                    yield Builtin(kind, component, framework, call, **(DEFAULTS | row))


def page() -> str:
    """The whole page in Markdown."""
    sections = [INTRODUCTION]
    for kind, table in KINDS.items():
        sections.append(f"## {kind.capitalize()}\n")
        if kind in PREFACES:
            sections.append(PREFACES[kind])
        sections += [section(kind, name) for name in table]
    sections += ["## Layers\n", LAYERS_PREFACE, *map(layer_section, LAYERS)]
    return "\n".join(sections)


def section(kind: str, name: str) -> str:
    """What the page says of one component.

    >>> print(section("losses", "mean_squared_error").splitlines()[0])
    ### `mean_squared_error`
    """
    functions = [KINDS[kind][name], *([COMPANIONS[name]] if name in COMPANIONS else [])]
    described = [description(inspect.getdoc(function) or "") for function in functions]
    sources = dict.fromkeys(found.source for found in described if found.source)
    parts = [f"### `{name}`", *(found.text for found in described), _keyword_line(functions)]
    if sources:
        parts.append("Source: " + " ".join(sources))
    rows = _optimizer_rows(name) if kind == "optimizers" else _builtin_rows(kind, name)
    parts.append(_table(rows) if rows else "No framework's built-in is listed.")
    return "\n\n".join(parts) + "\n"


def layer_section(name: str) -> str:
    """What the page says of one layer.

    >>> print(layer_section("layer_norm").splitlines()[-1])
    | JAX | `flax.nnx.LayerNorm` | `layer_norm(epsilon=1e-06)` |  |
    """
    described = description(inspect.getdoc(LAYERS[name]) or "")
    keywords = ([HELD[name]] if name in HELD else []) + [
        keyword if default is inspect.Parameter.empty else f"{keyword}={default!r}"
        for keyword, default in defaults_of(name).items()
    ]
    parts = [f"### Layer `{name}`", described.text, _listed(keywords)]
    if described.source:
        parts.append(f"Source: {described.source}")
    rows = [_layer_row(dialect) for dialect in equal_layers(name)]
    parts.append(_table(rows) if rows else "No framework's built-in is listed.")
    return "\n\n".join(parts) + "\n"


def _layer_row(dialect: LayerDialect) -> tuple[str, str, str, str]:
    frameworks = {"torch": "PyTorch", "keras": "TensorFlow", "flax": "JAX"}
    equals = _call(dialect.layer, dialect.differences)
    if dialect.inside:
        equals += f" of {_call(dialect.inside['name'], dialect.differences_inside)}"
    return frameworks[dialect.framework], f"`{MODULES[dialect.framework]}.{dialect.builtin}`", equals, dialect.note


def description(docstring: str) -> Description:
    """A docstring in Markdown, literal blocks fenced, without its examples and what it says of returns and errors.

    >>> description("The mean ``m``. Raises ValueError if empty. Source: Gauss 1809, eq. 2.\\n\\n>>> 1\\n1")
    Description(text='The mean `m`.', source='Gauss 1809, eq. 2.')
    """
    source, parts = "", []
    for block in docstring.split("\n\n"):
        if block.startswith(">>>"):
            continue
        if block.startswith("    "):
            parts.append("```text\n" + inspect.cleandoc(block) + "\n```")
            continue
        sentences = []
        for sentence in _sentences(" ".join(block.split())):
            if sentence.startswith("Source: "):
                source = _inline(sentence.removeprefix("Source: "))
            elif not sentence.startswith(("Raises ValueError", "Returns ")):
                sentences.append(_inline(sentence))
        text = re.sub(r"::$", ":", " ".join(sentences))
        if text not in ("", ":"):
            parts.append(text)
    return Description("\n\n".join(parts), source)


def _sentences(paragraph: str) -> list[str]:
    """Split after a full stop before a capital, a bracket or a literal: ``2013, eq. 38`` stays whole."""
    return re.split(r"(?<=\.) (?=[A-Z(`])|(?<=\.\)) (?=[A-Z(`])", paragraph)


def _inline(text: str) -> str:
    """Literals and references to functions of a docstring as Markdown's code."""
    return re.sub(r":(?:func|class|meth):`([^`]+)`", r"`\1`", text.replace("``", "`"))


def _keyword_line(functions: list[Callable[..., Any]]) -> str:
    return _listed(written_keywords(*functions))


def _listed(keywords: list[str]) -> str:
    return "Keywords: " + (", ".join(f"`{written}`" for written in keywords) or "none") + "."


def _builtin_rows(kind: str, name: str) -> list[tuple[str, str, str, str]]:
    return [
        (
            FRAMEWORKS[row.framework],
            f"`{row.call}`",
            _equals(row),
            row.differs or row.note,
        )
        for row in builtins()
        if (row.kind, row.component) == (kind, name)
    ]


def _equals(row: Builtin) -> str:
    if row.differs:
        return "differs"
    precision = " to float32" if row.precision == "float32" else ""
    return (
        _call(row.function or row.component, row.keywords)
        + precision
        + ("" if row.until is None else f" until {row.until}")
    )


def _optimizer_rows(name: str) -> list[tuple[str, str, str, str]]:
    modules = {"torch": "torch.optim", "keras": "keras.optimizers", "optax": "optax"}
    frameworks = {"torch": "PyTorch", "keras": "TensorFlow", "optax": "JAX"}
    return [
        (frameworks[d.framework], f"`{modules[d.framework]}.{d.builtin}`", _call(name, d.differences), d.note.strip())
        for d in equal_builtins(name)
    ]


def _call(name: str, keywords: dict[str, Any]) -> str:
    """The component as it is called.

    >>> _call("leaky_relu", {"slope": 0.2})
    '`leaky_relu(slope=0.2)`'
    """
    given = ", ".join(f"{keyword}={value!r}" for keyword, value in keywords.items())
    return f"`{name}({given})`" if given else f"`{name}`"


def _table(rows: list[tuple[str, str, str, str]]) -> str:
    lines = [("framework", "built-in", "equals", "to be known"), ("---",) * 4, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _check_known(field: str, value: str, known: list[str]) -> None:
    if value not in known:
        raise ValueError(f"{field}={value!r} is not allowed: must be one of {', '.join(map(repr, known))}")


if __name__ == "__main__":
    print(page(), end="")
