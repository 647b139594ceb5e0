"""Penalties and clippings translated: each framework says them in another place, and with another factor.

A penalty is ``l1 sum |W| + l2 sum W^2``. Keras adds it to the cost, with no half. PyTorch and optax have no penalty in
the cost, but the gradient of an L2, ``weight_decay * w = 2 l2 w``, as the optimizer's: the same path of the parameters,
of the weights alone if biases are left out. Clippings are lines before the step, or arguments of the optimizer. Every
form here is run in the tests, against the reference.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from conformance.data.wording import nearest, shown
from conformance.faults.injection import PACKAGES
from conformance.identification.answer import Named
from conformance.identification.regularizers import penalty
from conformance.translation.calls import parsed
from conformance.translation.translated import EXACT, FRAMEWORKS, OURS, REFUSED, Translation

TESTED = "the formula, in this project's tests: the form, with other numbers"
COURSE = "strength/(2m) depends on the size m of the batch, which no built-in is told"
OF_THE_OPTIMIZER = "the gradient alone, as the optimizer's: the cost that is shown is without it, and a decoupled decay"
OF_THE_OPTIMIZER += " (AdamW) is another"
IN_SINGLE = "Keras rounds the factor to float32"
DIVIDES = "it divides by the norm plus 1e-6"


class Source(NamedTuple):
    """A built-in: the arguments that it takes, with their defaults (None: needed), and what it is with them."""

    arguments: Mapping[str, float | None]
    make: Callable[..., Named]


def _clipping(name: str, argument: str) -> Source:
    return Source({argument: None}, lambda **given: Named(name, {"limit": given[argument]}))


SOURCES = {
    "keras.regularizers.L1": Source({"l1": 0.01}, penalty),
    "keras.regularizers.L2": Source({"l2": 0.01}, penalty),
    "keras.regularizers.L1L2": Source({"l1": 0.0, "l2": 0.0}, penalty),
    "optax.add_decayed_weights": Source({"weight_decay": 0.0}, lambda weight_decay: penalty(l2=weight_decay / 2)),
    "torch.nn.utils.clip_grad_value_": _clipping("clip_by_value", "clip_value"),
    "torch.nn.utils.clip_grad_norm_": _clipping("clip_by_global_norm", "max_norm"),
    "tf.clip_by_norm": _clipping("clip_by_norm", "clip_norm"),
    "tf.clip_by_global_norm": _clipping("clip_by_global_norm", "clip_norm"),
    "optax.clip": _clipping("clip_by_value", "max_delta"),
    "optax.clip_by_global_norm": _clipping("clip_by_global_norm", "max_norm"),
}
APPROXIMATE = ("torch.nn.utils.clip_grad_norm_",)  # which are the formulation but for what DIVIDES says

# By the framework, the code of a penalty with the factors l1 and l2, and of a clipping with a limit.
_L2 = {
    "torch": """\
import torch

weights = [w for w in model.parameters() if w.ndim > 1]
biases = [b for b in model.parameters() if b.ndim == 1]
groups = [{{"params": weights, "weight_decay": {decay!r}}}, {{"params": biases}}]
optimizer = torch.optim.SGD(groups, lr=lr)""",
    "tf": "import keras\n\nregularizer = keras.regularizers.L2({l2!r})  # kernel_regularizer of each layer",
    "jax": """\
import jax
import optax

weights = lambda parameters: jax.tree.map(lambda w: w.ndim > 1, parameters)
optimizer = optax.chain(optax.add_decayed_weights({decay!r}, mask=weights), optax.sgd(learning_rate))""",
}
_OTHERS = {
    ("l1", "tf"): "import keras\n\nregularizer = keras.regularizers.L1({l1!r})  # kernel_regularizer of each layer",
    ("elastic_net", "tf"): "import keras\n\nregularizer = keras.regularizers.L1L2(l1={l1!r}, l2={l2!r})",
    ("clip_by_value", "torch"): "import torch\n\ntorch.nn.utils.clip_grad_value_(model.parameters(), {limit!r})",
    ("clip_by_value", "tf"): "import keras\n\noptimizer = keras.optimizers.SGD(learning_rate, clipvalue={limit!r})",
    (
        "clip_by_value",
        "jax",
    ): "import optax\n\noptimizer = optax.chain(optax.clip({limit!r}), optax.sgd(learning_rate))",
    ("clip_by_norm", "tf"): "import keras\n\noptimizer = keras.optimizers.SGD(learning_rate, clipnorm={limit!r})",
    ("clip_by_global_norm", "tf"): (
        "import keras\n\noptimizer = keras.optimizers.SGD(learning_rate, global_clipnorm={limit!r})"
    ),
    ("clip_by_global_norm", "jax"): (
        "import optax\n\noptimizer = optax.chain(optax.clip_by_global_norm({limit!r}), optax.sgd(learning_rate))"
    ),
}
CODE = {("l2", framework): code for framework, code in _L2.items()} | _OTHERS
# The built-in that comes near where none is the same.
NEAR = {("clip_by_global_norm", "torch"): "torch.nn.utils.clip_grad_norm_(model.parameters(), {limit!r})"}


def is_regularizer(name: str) -> bool:
    """Whether a name is a penalty or a clipping that is translated here: of a framework, by the end of its name.

    >>> is_regularizer("keras.L2(0.01)"), is_regularizer("keras.Adam")
    (True, False)
    """
    return _known(name) is not None


def _known(name: str) -> str | None:
    dotted = name.strip().partition("(")[0].replace(":", ".", 1)
    framework, _, own = dotted.partition(".")
    ends = [known for known in SOURCES if known.startswith(f"{framework}.") and known.endswith(f".{own}")]
    return ends[0] if own and ends else None


def translate(name: str, settings: Mapping[str, Any], to: str) -> Translation:
    """A framework's penalty or clipping, translated. Raises ValueError for arguments that it does not take."""
    known = _known(name)
    assert known is not None
    positional, named = parsed(name)
    source = SOURCES[known]
    given = dict(zip(source.arguments, positional, strict=False)) | named | dict(settings)
    if len(positional) > len(source.arguments):
        raise ValueError(f"name={shown(name)} is not allowed: {known} has {len(source.arguments)} arguments here")
    for argument, value in given.items():
        _require(known, argument, value)
    lacking = [argument for argument, default in source.arguments.items() if default is None and argument not in given]
    if lacking:
        raise ValueError(f"{lacking[0]} of {known} is missing: it has no default")
    found = source.make(**{k: v for k, v in source.arguments.items() if v is not None} | given)
    written = f"{known}({', '.join(f'{argument}={value!r}' for argument, value in given.items())})"
    if known in APPROXIMATE:
        return _refused(written, found, to)
    return of_formulation(found, to, written)


def _require(known: str, argument: str, value: Any) -> None:
    allowed = SOURCES[known].arguments
    if argument not in allowed:
        names = ", ".join(map(repr, allowed))
        raise ValueError(
            f"{shown(argument)} is no argument of {known} here: must be one of {names}{nearest(argument, allowed)}"
        )
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{argument}={shown(value)} of {known} is not allowed: must be a number >= 0")


def of_formulation(wanted: Named, to: str, name: str = "") -> Translation:
    """A penalty or a clipping of this project, translated: by a built-in's form if there is one, else by its own."""
    kind, written = kind_of(wanted), wanted.written("regularizer")
    name = name or written
    form, numbers = CODE.get((wanted.name, to)), _numbers(wanted)
    if form is None or numbers is None:
        near = NEAR.get((wanted.name, to), "")
        return Translation(
            name, kind, to, OURS, _own_code(kind, wanted, to), formulation=written, component=wanted.name,
            keywords=wanted.keywords, against="the keywords alone: this project's tests hold it to the reference",
            nearest=near and near.format(**numbers or {}), apart=near and _apart(wanted),
            notes=_why(wanted, to, numbers),
        )  # fmt: skip
    notes = [OF_THE_OPTIMIZER] if wanted.name == "l2" and to in ("torch", "jax") else []
    notes += [IN_SINGLE] if kind == "penalty" and to == "tf" else []
    notes += ["it is an argument of every optimizer"] if kind == "clipping" and to == "tf" else []
    return Translation(
        name, kind, to, EXACT, form.format(**numbers), formulation=written, against=TESTED, notes=tuple(notes)
    )


def kind_of(wanted: Named) -> str:
    """``clipping`` or ``penalty``."""
    return "clipping" if wanted.name.startswith("clip_") else "penalty"


def _numbers(wanted: Named) -> dict[str, float] | None:
    """The numbers of a form; None where no constant is the same."""
    if "limit" in wanted.keywords:
        return {"limit": wanted.keywords["limit"]}
    if wanted.keywords.get("convention", "course") == "course":
        return None
    factor = wanted.keywords["strength"] * (0.5 if wanted.keywords["convention"] == "half" else 1.0)
    ratio = {"l1": 1.0, "l2": 0.0}.get(wanted.name, wanted.keywords.get("l1_ratio", 0.5))
    l1, l2 = (float(f"{part:.15g}") for part in (factor * ratio, factor * (1 - ratio)))
    return {"l1": l1, "l2": l2, "decay": float(f"{2 * l2:.15g}")}


def _own_code(kind: str, wanted: Named, to: str) -> str:
    inside = ", ".join(
        f"{value!r}" if keyword in ("strength", "limit") else f"{keyword}={value!r}"
        for keyword, value in wanted.keywords.items()
    )
    return f"from {PACKAGES[to]}.regularizers import {wanted.name}\n\n{kind} = {wanted.name}({inside})"


def _why(wanted: Named, to: str, numbers: Mapping[str, float] | None) -> tuple[str, ...]:
    if to == "numpy":
        return ()
    if numbers is None:
        return (COURSE,)
    return (f"{FRAMEWORKS[to]} has no {wanted.name} that is the same",)


def _apart(wanted: Named) -> str:
    limit = wanted.keywords["limit"]
    return f"{DIVIDES}: where it clips, {1e-6 / limit:.1e} of a gradient away at most" if limit else DIVIDES


def _refused(name: str, near: Named, to: str) -> Translation:
    reason = f"the catalogue has no such formulation: {DIVIDES}"
    return Translation(
        name, kind_of(near), to, REFUSED, reason=reason, nearest=near.written("regularizer"), apart=_apart(near)
    )
