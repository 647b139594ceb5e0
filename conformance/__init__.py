"""The harness: runs one recipe in several implementations and says, tensor by tensor, whether they are the same.

The names below are the public Python API. Each is loaded when it is first used, so importing this package costs
nothing.

>>> import conformance
>>> recipe = conformance.Recipe(
...     name="small",
...     loss="binary_cross_entropy",
...     dataset={"name": "xor", "examples": 20, "test_examples": 8},
...     model={"name": "logistic_regression"},
...     optimizer={"name": "adam"},
... )
>>> recipe.optimizer.keywords["beta1"]
0.9
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.api import run
    from conformance.converting.convert import Converted, convert
    from conformance.ejecting.eject import eject
    from conformance.equivalence.compare import compare_dialects
    from conformance.equivalence.compared import DialectsComparison
    from conformance.exchange.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
    from conformance.exchange.pair import PairResult, WeightsComparison, diff, pair, record
    from conformance.identification.identify import identify
    from conformance.picking.pick import pick
    from conformance.picking.picked import Picked
    from conformance.recipes.files import load_recipe
    from conformance.recipes.recipe import Recipe
    from conformance.reports.plots import plot
    from conformance.results.comparison import Comparison, compare
    from conformance.results.history import History, history
    from conformance.results.run import Run, load_run
    from conformance.testing.checked import Checked
    from conformance.testing.checking import check
    from conformance.translation.translate import translate
    from conformance.wrappers.arrays import wrap_arrays
    from conformance.wrappers.jax import wrap_jax
    from conformance.wrappers.keras import wrap_keras
    from conformance.wrappers.torch import wrap_torch

    __version__: str

__all__ = [
    "Checked",
    "Checkpoint",
    "Comparison",
    "Converted",
    "DialectsComparison",
    "History",
    "PairResult",
    "Picked",
    "Recipe",
    "Run",
    "WeightsComparison",
    "__version__",
    "check",
    "compare",
    "compare_dialects",
    "convert",
    "diff",
    "eject",
    "history",
    "identify",
    "load_checkpoint",
    "load_recipe",
    "load_run",
    "pair",
    "pick",
    "plot",
    "record",
    "run",
    "save_checkpoint",
    "translate",
    "wrap_arrays",
    "wrap_jax",
    "wrap_keras",
    "wrap_torch",
]

_HOMES = {
    "Checkpoint": "exchange.checkpoints",
    "load_checkpoint": "exchange.checkpoints",
    "save_checkpoint": "exchange.checkpoints",
    "Converted": "converting.convert",
    "convert": "converting.convert",
    "Checked": "testing.checked",
    "check": "testing.checking",
    "Comparison": "results.comparison",
    "History": "results.history",
    "Recipe": "recipes.recipe",
    "compare": "results.comparison",
    "DialectsComparison": "equivalence.compared",
    "compare_dialects": "equivalence.compare",
    "diff": "exchange.pair",
    "eject": "ejecting.eject",
    "history": "results.history",
    "identify": "identification.identify",
    "load_recipe": "recipes.files",
    "Run": "results.run",
    "load_run": "results.run",
    "PairResult": "exchange.pair",
    "WeightsComparison": "exchange.pair",
    "pair": "exchange.pair",
    "Picked": "picking.picked",
    "pick": "picking.pick",
    "plot": "reports.plots",
    "record": "exchange.pair",
    "run": "api",
    "translate": "translation.translate",
    "wrap_arrays": "wrappers.arrays",
    "wrap_jax": "wrappers.jax",
    "wrap_keras": "wrappers.keras",
    "wrap_torch": "wrappers.torch",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("conformance.adapters.installation").project_version()
    if name not in _HOMES:
        raise AttributeError(f"module 'conformance' has no attribute {name!r}: must be one of {', '.join(__all__)}")
    return getattr(import_module(f"conformance.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
