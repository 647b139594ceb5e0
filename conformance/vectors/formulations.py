"""The formulations that have vectors, each with what it may be mistaken for: known faults and other formulations."""

import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from conformance.data.wording import nearest, shown
from conformance.faults.injection import Edits, injected_module
from conformance.faults.mutant import Mutant
from conformance.faults.mutants import MUTANTS
from conformance.problems.tensors import Tensors
from conformance.recipes import components
from conformance.recipes.catalogue_page import Description, description
from conformance.recipes.components import POSITIONAL_KEYWORDS, keyword_defaults
from conformance.recipes.dialects import dialects
from conformance.recipes.factors import values_in
from conformance.vectors.kinds import KINDS, Inputs, Kind
from reference_numpy import normalization, regularizers

_WEIGHTED = {"example_weights": "drawn", "weight_denominator": "weights"}

# What no value of a factor says: a derivative that is a choice, and what is two values of a recipe at once.
FURTHER: Mapping[str, Mapping[str, dict[str, Any]]] = {
    "optimizer": {
        "rmsprop, centred, bias-corrected": {
            "name": "rmsprop", "learning_rate": 0.01, "centered": True, "bias_correction": True, "epsilon": 1e-4,
        },
        "rmsprop, momentum, rate inside, decoupled weight decay": {
            "name": "rmsprop", "learning_rate": 0.003, "momentum": 0.8, "learning_rate_position": "inside",
            "weight_decay": 0.3, "decoupled_weight_decay": True,
        },
    },
    "activation": {"relu, 1 at 0": {"name": "relu", "derivative_at_zero": 1}},
    "loss": {
        "binary, label smoothing": {"name": "binary_cross_entropy", "label_smoothing": 0.1},
        "categorical, label smoothing": {"name": "categorical_cross_entropy", "label_smoothing": 0.1},
        "binary, class and example weights": {"name": "binary_cross_entropy", **_WEIGHTED, "class_weights": (0.5, 2.0)},
        "categorical, class and example weights": {
            "name": "categorical_cross_entropy", **_WEIGHTED, "class_weights": (0.5, 1.0, 2.0, 0.7),
        },
        "binary, probabilities, class and example weights": {
            "name": "binary_cross_entropy_from_probabilities", **_WEIGHTED, "class_weights": (0.5, 2.0),
        },
        "categorical, probabilities, class and example weights": {
            "name": "categorical_cross_entropy_from_probabilities", **_WEIGHTED, "class_weights": (0.5, 1.0, 2.0, 0.7),
        },
    },
    "normalization": {"standardization": {"name": "standardization"}},
    "penalty": {
        "elastic net, course": {"name": "elastic_net", "strength": 0.3, "l1_ratio": 0.3},
        "elastic net, half": {"name": "elastic_net", "strength": 0.02, "l1_ratio": 0.3, "convention": "half"},
    },
}  # fmt: skip

# The factors in which a component of each kind stands.
_FACTORS = ("optimizer", "activation", "loss", "normalization", "schedule", "penalty", "limit", "noise", "stopping")
_LOSS_FIELDS = {"reduction": "mean", "example_weights": "none"}  # of a recipe, beside the loss's own keywords
_REGULARIZERS = {
    **dict.fromkeys(regularizers.PENALTIES, "penalty"),
    **dict.fromkeys(regularizers.CLIPPINGS, "clipping"),
    **dict.fromkeys(regularizers.CONSTRAINTS, "constraint"),
    **dict.fromkeys(regularizers.AUGMENTATIONS, "augmentation"),
    "inverted_dropout": "dropout",
    "early_stopping": "early_stopping",
}


class Formulation(NamedTuple):
    """A component with every keyword; ``label`` is what this formulation of it is called."""

    kind: Kind
    component: str
    label: str
    keywords: dict[str, Any]

    @property
    def file(self) -> str:
        """The name of its file, ``optimizer/adam_epsilon_hat.json``."""
        return f"{self.kind.name}/{re.sub('[^a-z0-9]+', '_', self.label.lower())}.json"

    @property
    def described(self) -> Description:
        """Its equations in words, and where they are published."""
        found = [description(inspect.getdoc(function) or "") for function in _functions(self.kind, self.component)]
        return Description("\n\n".join(part.text for part in found), " ".join(part.source for part in found).strip())

    @property
    def builtins(self) -> list[str]:
        """The optimizers of the frameworks that are this one once they are given its numbers."""
        return [
            f"{each.framework}.{each.builtin}"
            for each in dialects()
            if each.optimizer == self.component
            and _choices(self.keywords) == _choices(_complete(self.kind, self.component, each.keywords))
        ]

    def answer(self, inputs: Inputs) -> Tensors:
        """What the reference answers, in the precision of the inputs."""
        return self.kind.evaluate(self.kind.module, self.component, self.keywords, inputs)


class Mistake(NamedTuple):
    """A known way to get a formulation wrong: a fault, or another formulation.

    ``dtypes``: the precisions in which it is one.
    """

    name: str
    kind: Kind
    component: str
    keywords: Mapping[str, Any]
    edits: Edits = ()
    dtypes: tuple[str, ...] = ("float64", "float32")

    def answer(self, inputs: Inputs) -> Tensors | None:
        """What is answered in this way; None where its own code cannot answer, as a fault may not."""
        module = _with_fault(self.kind.name, self.edits) if self.edits else self.kind.module
        try:
            with np.errstate(all="ignore"):
                return self.kind.evaluate(module, self.component, self.keywords, inputs)
        except Exception:  # whatever it is: code with a fault in it may raise anything
            return None


@cache
def _with_fault(kind: str, edits: Edits) -> ModuleType:
    return injected_module(KINDS[kind].module, *edits)


@cache
def formulations() -> tuple[Formulation, ...]:
    """Every formulation of every component but initializers and models, each once, in the order of the catalogue."""
    found: dict[Any, Formulation] = {}
    for formulation in _all():
        own = _without_rate(formulation.keywords) if formulation.kind.name == "optimizer" else formulation.keywords
        found.setdefault((formulation.kind.name, formulation.component, repr(sorted(own.items()))), formulation)
    order = list(KINDS)
    return tuple(sorted(found.values(), key=lambda each: order.index(each.kind.name)))


def named(file: str) -> Formulation:
    """The formulation of a file. Raises ValueError, with the nearest, for a name that no file has."""
    known = {formulation.file: formulation for formulation in formulations()}
    if file not in known:
        raise ValueError(f"file {shown(file)} is of no formulation{nearest(file, known)}")
    return known[file]


def _all() -> Iterator[Formulation]:
    for factor in _FACTORS:
        for label, values in values_in(factor).items():
            yield from (each for each in _of_value(factor, label, values) if not _is_of_a_precision(each))
    for kind, labelled in FURTHER.items():
        for label, given in labelled.items():
            yield _made(kind, given["name"], label, given)


def _is_of_a_precision(formulation: Formulation) -> bool:
    """Whether it says another thing in each precision, so that one oracle cannot answer for both."""
    return formulation.keywords.get("correction_precision") == "working"


def _of_value(factor: str, label: str, values: dict[str, Any]) -> Iterator[Formulation]:
    if "regularizers" in values:
        several = len(values["regularizers"]) > 1
        for given in values["regularizers"]:
            yield _made(_REGULARIZERS[given["name"]], given["name"], given["name"] if several else label, given)
    given = values.get(factor)
    if given is not None:
        given = {"name": given} if isinstance(given, str) else dict(given)
        given |= {field: values[field] for field in _LOSS_FIELDS if field in values}
        given.pop("unit", None)  # in which a schedule counts: a recipe's matter
        yield _made(factor, given["name"], label, given)


def _made(kind: str, component: str, label: str, given: Mapping[str, Any]) -> Formulation:
    own = {keyword: tuple(v) if isinstance(v, list) else v for keyword, v in given.items() if keyword != "name"}
    return Formulation(KINDS[kind], component, label, _complete(KINDS[kind], component, own))


def _complete(kind: Kind, component: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords with those that are left out."""
    if kind.name == "normalization":
        table = components.NORMALIZATIONS
        return keyword_defaults(table[component]) | dict(given) if component in table else {}
    positional = () if kind.name == "schedule" else POSITIONAL_KEYWORDS
    defaults = keyword_defaults(_functions(kind, component)[0], positional)
    return (_LOSS_FIELDS if kind.name == "loss" else {}) | defaults | dict(given)


def _functions(kind: Kind, component: str) -> list[Any]:
    """What the reference has for a component: its function, and where there are more, the others."""
    if component == "standardization":
        return [normalization.standardization_statistics, normalization.standardize]
    functions = [getattr(kind.module, component)]
    return [*functions, normalization.running_average] if component == "batch_norm" else functions


def _without_rate(keywords: Mapping[str, Any]) -> dict[str, Any]:
    return {keyword: value for keyword, value in keywords.items() if keyword != "learning_rate"}


def _choices(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords without their numbers, of which is told only whether they are 0."""
    return {keyword: value != 0 if isinstance(value, float) else value for keyword, value in keywords.items()}


def mistakes(formulation: Formulation) -> list[Mistake]:
    """What a formulation may be mistaken for: each known fault in its own code, each other setting of one keyword."""
    kind, component = formulation.kind, formulation.component
    faults = [
        Mistake(mutant.name, kind, component, formulation.keywords, edits, mutant.dtypes)
        for mutant in concerning(formulation)
        if (edits := tuple(edit for edit in mutant.edits if edit.file in kind.files))
    ]
    return [*_other_formulations(formulation), *faults]


def concerning(formulation: Formulation) -> list[Mutant]:
    """The known faults of a component, those of all components in its own code among them."""
    own = {function.__name__ for function in _functions(formulation.kind, formulation.component)}
    own |= {"Optimizer"} if formulation.kind.name == "optimizer" else set()

    def is_shared(mutant: Mutant) -> bool:
        places = [edit.at.split(": ") for edit in mutant.edits]
        return not mutant.of and any(
            file in formulation.kind.files and name.split(".")[0] in own for file, name in places
        )

    return [mutant for mutant in MUTANTS if formulation.component in mutant.of or is_shared(mutant)]


def _other_formulations(formulation: Formulation) -> Iterator[Mistake]:
    """One keyword otherwise, as some formulation of the component has it."""
    kind, component, own = formulation.kind, formulation.component, formulation.keywords
    for keyword, asked in own.items():
        if keyword in ("learning_rate", "example_weights"):
            continue
        for setting in settings(kind.name, component)[keyword]:
            if setting != asked and _allowed(kind, component, changed := own | {keyword: setting}):
                yield Mistake(f"{component}({keyword}={setting!r})", kind, component, changed)


@cache
def settings(kind: str, component: str) -> dict[str, list[Any]]:
    """The settings of each keyword of a component that some formulation or framework's optimizer of its name has."""
    found: dict[str, list[Any]] = {}
    sources = [each.keywords for each in formulations() if (each.kind.name, each.component) == (kind, component)]
    sources += [each.keywords for each in dialects() if kind == "optimizer" and each.optimizer == component]
    for keywords in sources:
        for keyword, setting in keywords.items():
            known = found.setdefault(keyword, [])
            if setting not in known:
                known.append(setting)
    return found


def _allowed(kind: Kind, component: str, keywords: Mapping[str, Any]) -> bool:
    """Whether the reference takes an optimizer's keywords; others are refused, if at all, where they are used."""
    if kind.name != "optimizer":
        return True
    try:
        kind.module.OPTIMIZERS[component](**keywords)
    except ValueError:
        return False
    return True
