"""Subjects: the frameworks' own built-ins, each with the recipe that it must train as where it has its defaults.

A subject is named by the call that makes it, ``torch.optim.SGD(momentum=0.9)``. Its recipe is a small training in which
one component is the subject's formulation; all subjects of a framework are the parts of one implementation, such as
``builtins.torch``, which does the recipes of its own subjects only.

>>> subject("keras.optimizers.Adam").formulation, subject("keras.optimizers.Adam").implementation
("adam(epsilon=1e-07, epsilon_position='before_correction', correction_precision='float32')", 'builtins.tf')
"""

import ast
import hashlib
import re
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from conformance.data.wording import listed, nearest, shown
from conformance.recipes import subject_layers
from conformance.recipes.catalogue_page import Builtin, builtins
from conformance.recipes.dialects import Dialect, dialects
from conformance.recipes.layer_dialects import MODULES as MODULES_OF_LAYERS
from conformance.recipes.layer_dialects import LayerDialect, layer_dialects
from conformance.recipes.subject_recipes import changes, is_trained

ALIASES = Path(__file__).with_name("subject_aliases.toml")
# The implementations that subjects are parts of, with the framework that each needs, as the harness calls it.
IMPLEMENTATIONS = {"builtins.torch": "torch", "builtins.tf": "tf", "builtins.jax": "jax"}
MODULES = {"torch": "torch.optim", "keras": "keras.optimizers", "optax": "optax"}  # of optimizers
SUITE, SUITE_OF_LAYERS = "builtins", "builtin-layers"  # of their recipes; those of layers take longest
RATE = 0.01  # of an optimizer that has no learning rate by itself
LONGEST = 80  # characters of a recipe's name

# A hundred pairs of arrays would be told of one by one.
_SHORTER = {"LBFGS(max_iter=1)": ("LBFGS(max_iter=1, history_size=4)", {"history": 4})}
_OF = {"torch": "builtins.torch", "keras": "builtins.tf", "tf": "builtins.tf"}  # by the first part of a name
_TRAINING: dict[str, Any] = {
    "dataset": {"name": "moons", "scaling": "none", "examples": 24, "test_examples": 12},
    "model": {"name": "deep_network", "hidden_units": [4], "activation": "tanh"},
    "loss": "binary_cross_entropy",
    "initializer": "xavier_normal",
    "optimizer": {"name": "gradient_descent", "learning_rate": 0.1},
    "batch_size": 8,
    "epochs": 2,
}


class Subject(NamedTuple):
    """A built-in: the call that makes it, its kind, and the component with its keywords that it must be.

    ``changes`` are the fields of the recipe in which that component stands; ``note`` says where else it differs.
    """

    name: str
    kind: str
    component: str
    keywords: dict[str, Any]
    changes: dict[str, Any]
    note: str = ""

    @property
    def implementation(self) -> str:
        """Of which it is a part."""
        return _OF.get(self.name.partition(".")[0], "builtins.jax")

    @property
    def formulation(self) -> str:
        """The component as a call."""
        given = ", ".join(f"{keyword}={value!r}" for keyword, value in self.keywords.items())
        return f"{self.component}({given})" if given else self.component

    @property
    def recipe_name(self) -> str:
        """Its name in the letters that names of recipes have.

        >>> subject("torch.optim.SGD(momentum=0.9)").recipe_name
        'torch-optim-sgd-momentum-0-9'
        """
        name = re.sub("[^a-z0-9]+", "-", self.name.lower()).strip("-")
        if len(name) <= LONGEST:
            return name
        return f"{name[: LONGEST - 7]}-{hashlib.sha256(self.name.encode()).hexdigest()[:6]}"

    @property
    def told(self) -> dict[str, str]:
        """What a run keeps of it."""
        return {
            "subject": self.name, "kind": self.kind, "formulation": self.formulation,
            "implementation": self.implementation, "note": self.note,
        }  # fmt: skip

    @property
    def recipe(self) -> dict[str, Any]:
        """What the recipe holds that it must train as."""
        own = {"name": self.recipe_name, "description": f"What {self.name} must be: {self.formulation}."}
        return own | _TRAINING | self.changes


class Call(NamedTuple):
    """A subject's call: the dotted function, its arguments without a name and those with one."""

    function: str
    positional: tuple[Any, ...]
    named: dict[str, Any]


def call_of(name: str) -> Call:
    """The call that a subject's name is, with literal arguments.

    >>> call_of("torch.optim.SGD(momentum=0.9)")
    Call(function='torch.optim.SGD', positional=(), named={'momentum': 0.9})
    """
    node = ast.parse(name, mode="eval").body
    if not isinstance(node, ast.Call):
        return Call(name, (), {})
    named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    return Call(ast.unparse(node.func), tuple(map(ast.literal_eval, node.args)), named)


@cache
def subjects() -> dict[str, Subject]:
    """Every subject by name, in the order of the tables."""
    found = [*map(_of_optimizer, dialects()), *(_of_a_row(row) for row in builtins() if is_trained(row))]
    own = {each.name: each for each in found}
    own = {each.name: each for each in map(_of_layer, layer_dialects())} | own  # a normalisation is one already
    aliases = tomllib.loads(ALIASES.read_text(encoding="utf-8"))
    return own | {name: own[other]._replace(name=name) for name, other in aliases.items()}


def subject(name: str) -> Subject:
    """The subject of a name. Raises ValueError for an unknown one, with the nearest."""
    return choose([name])[0]


def choose(patterns: Iterable[str]) -> list[Subject]:
    """The subjects of these names or patterns, each once, in the order of the tables.

    Raises ValueError, naming the pattern, where one matches nothing.

    >>> [found.name for found in choose(["torch.optim.R*"])][:2]
    ['torch.optim.RMSprop', 'torch.optim.RMSprop(momentum=0.9)']
    """
    chosen: set[str] = set()
    for pattern in patterns:
        found = [pattern] if pattern in subjects() else [name for name in subjects() if fnmatchcase(name, pattern)]
        if not found:
            raise ValueError(_unknown(pattern))
        chosen.update(found)
    return [found for name, found in subjects().items() if name in chosen]


def _unknown(pattern: str) -> str:
    """Why a name or a pattern that matches nothing is refused, with what may be meant.

    >>> _unknown("flax.nnx.Linear(bias=False)")
    "subject='flax.nnx.Linear(bias=False)' is not allowed: of this function there is 'flax.nnx.Linear'"
    """
    if not pattern:
        return "subject='' is not allowed: must be the name of a built-in or a pattern"
    function, opening, _ = pattern.partition("(")
    calls = [name for name in subjects() if name.partition("(")[0] == function]
    if opening and calls:
        return f"subject={shown(pattern)} is not allowed: of this function there is {listed(calls)}"
    return (
        f"subject={shown(pattern)} matches none of the {len(subjects())} built-ins that have a recipe"
        f" (`conformance list subjects` shows them, and what has none){nearest(pattern, subjects())}"
    )


def separated(text: str) -> list[str]:
    """The names or patterns in a text, separated by commas that stand outside of brackets.

    >>> separated("keras.*,torch.optim.SGD(momentum=0.9, nesterov=True)")
    ['keras.*', 'torch.optim.SGD(momentum=0.9, nesterov=True)']
    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


@cache
def by_recipe() -> dict[str, Subject]:
    """The subjects by the names of their recipes."""
    return {found.recipe_name: found for found in subjects().values()}


def does(implementation: str, recipe: str) -> bool:
    """Whether an implementation does the recipe of a name: one of built-ins does those of its own subjects only.

    >>> does("builtins.tf", "torch-optim-adam"), does("torch", "torch-optim-adam")
    (False, True)
    """
    if implementation not in IMPLEMENTATIONS:
        return True
    found = by_recipe().get(recipe)
    return found is not None and found.implementation == implementation


def _of_a_row(row: Builtin) -> Subject:
    """The subject of a row of ``builtins.toml``; numbers that it rounds to float32 are float32's."""
    own = {name: _in_float32(value) if row.precision == "float32" else value for name, value in row.keywords.items()}
    return Subject(row.call, row.kind, row.component, own, changes(row, own), row.differs)


def _of_layer(dialect: LayerDialect) -> Subject:
    name = f"{MODULES_OF_LAYERS[dialect.framework]}.{dialect.builtin}"
    own = dialect.differences | subject_layers.inside(dialect)
    return Subject(name, "layers", dialect.layer, own, subject_layers.changes(dialect))


def _in_float32(value: Any) -> Any:
    return float(np.float32(value)) if isinstance(value, float) else value


def _of_optimizer(dialect: Dialect) -> Subject:
    call, keywords = _SHORTER.get(dialect.builtin, (dialect.builtin, {}))
    dialect = dialect._replace(keywords=dialect.keywords | keywords)
    chosen = {"name": dialect.optimizer, "learning_rate": RATE, **dialect.keywords}
    own = {name: value for name, value in dialect.differences.items() if name != "learning_rate"}
    whole = {"batch_size": None, "epochs": 6} if dialect.optimizer == "lbfgs" else {}  # which takes no batches
    name = f"{MODULES[dialect.framework]}.{call}"
    return Subject(name, "optimizers", dialect.optimizer, own, {"optimizer": chosen, **whole})
