"""The optimizers of the frameworks against what the dialects, not ``identify``, say of them."""

import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from conformance.identification.optimizers import differences, identify
from conformance.identification.page import MODULES, OTHERS, page, targets
from conformance.recipes.dialects import dialect, dialects

sys.path.insert(0, str(Path(__file__).parent))

from in_process import InProcess

keras = pytest.importorskip("keras")
optax = pytest.importorskip("optax")
torch = pytest.importorskip("torch")

SAMPLE = [
    ("torch", "Adam(amsgrad=True)"),
    ("torch", "SGD(momentum=0.9, dampening=0.9, weight_decay=0.1)"),
    ("torch", "RMSprop"),
    ("torch", "LBFGS(max_iter=1)"),
    ("torch", "NAdam"),
    ("keras", "Adam"),
    ("optax", "lion"),
]

# A chain of optax is no call with arguments by name, and so no target.
CALLS = [(d.framework, d.builtin) for d in dialects() if not d.builtin.startswith("chain(")]

ROUNDED = {
    "keras.Adam": ("learning_rate", "the betas in 1 - beta^t"),
    "torch.NAdam": ("numbers made of the hyperparameters",),
}

DIGITS = re.compile(r"\| (\d+), (\d+) \|")


def says_the_dialect(framework, builtin):
    """The answer for a built-in is its dialect, or cannot be told from it."""
    answer = identify(InProcess(f"{MODULES[framework]}:{builtin}", "optimizer"))
    expected = dialect(framework, builtin)
    found = [one for one in (answer.found, *answer.same) if one is not None and one.name == expected.optimizer]
    assert any(not differences(one, expected) for one in found), str(answer)
    return answer


@pytest.fixture(autouse=True)
def in_float64():
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize(("framework", "builtin"), SAMPLE)
def test_a_built_in_is_its_dialect(framework, builtin):
    answer = says_the_dialect(framework, builtin)
    assert f"{framework}.{builtin}" in answer.builtins
    assert answer.rounded == ROUNDED.get(f"{framework}.{builtin}", ())
    assert answer.digits["float64"] > (7 if "numbers made of the hyperparameters" in answer.rounded else 12)


def test_an_optimizer_that_takes_no_dense_gradients_is_none_known():
    answer = identify(InProcess("torch.optim:SparseAdam"))
    assert not answer.known
    assert "does not support dense gradients" in answer.reason


@pytest.mark.slow
@pytest.mark.parametrize(("framework", "builtin"), CALLS)
def test_every_dialect_is_found(framework, builtin):
    says_the_dialect(framework, builtin)


# What optax says of its own that are to go; where warnings are no errors, as in the command, they are asked as others.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Specifying a key:UserWarning")
@pytest.mark.slow
@pytest.mark.parametrize(("framework", "name"), [(f, name) for f, names in OTHERS.items() for name in names])
def test_an_optimizer_that_the_catalogue_has_not_is_none_known(framework, name):
    answer = identify(InProcess(f"{MODULES[framework]}:{name}", "optimizer"))
    assert not answer.known, str(answer)


def test_the_page_has_every_optimizer_of_the_frameworks():
    in_torch = {n for n, c in vars(torch.optim).items() if isinstance(c, type) and issubclass(c, torch.optim.Optimizer)}
    in_keras = {
        name
        for name, made in vars(keras.optimizers).items()
        if isinstance(made, type) and issubclass(made, keras.optimizers.Optimizer) and made.__name__ == name
    }
    asked = {f: {target.partition(":")[2].partition("(")[0] for target in targets(f)} for f in MODULES}
    assert in_torch - {"Optimizer"} == asked["torch"]
    of_others = {"LossScaleOptimizer", "MultiOptimizer"}  # made of other optimizers
    assert in_keras - {"Optimizer"} - of_others == asked["keras"]
    in_optax = {
        n for n, made in vars(optax).items() if inspect.isfunction(made) and made.__module__ == "optax._src.alias"
    }
    assert in_optax | {"nadam", "nadamw"} == asked["optax"]  # those two are no functions of their own


@pytest.mark.slow
def test_the_page_is_what_is_answered_now():
    """All words are; the digits are to one, since how a machine takes sums moves the last."""
    committed = (Path(__file__).parents[3] / "docs" / "identified.md").read_text(encoding="utf-8")
    now = page() + "\n"
    assert DIGITS.sub("| digits |", committed) == DIGITS.sub("| digits |", now)
    ours, theirs = (np.array(DIGITS.findall(text), int) for text in (committed, now))
    assert np.abs(ours - theirs).max() <= 1
