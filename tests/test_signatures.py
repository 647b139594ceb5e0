"""The four packages are one text in four languages: same names, same order, same keywords, same defaults."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = (
    "activations", "initializers", "losses", "normalization", "regularizers", "layers", "convolution", "recurrent",
    "attention", "network", "models", "optimizers", "schedules", "training",
)  # fmt: skip
PACKAGES = ("impl_torch", "impl_tf", "impl_jax")

# NumPy alone has hand-written derivatives, buffers to write into, and the course's loops.
NUMPY_ONLY = re.compile(r"_backward$|_gradient$|^logistic_regression_(loops|example_loop)$")
NUMPY_KEYWORDS = {"out"}
NUMPY_TABLES = {"BACKWARD", "GRADIENTS"}
# What goes on around training works on labels and numbers of any framework, so it is there once; and the reference says
# in one place what the harness may have rounded otherwise.
NUMPY_FILES = {"metrics", "diagnosis", "search", "gradient_checking", "vectorization", "arithmetic"}
OWN_FILES = {"reference_numpy": NUMPY_FILES, "impl_tf": {"keras_optimizer"}, "impl_torch": {"graphs"}}


def public_functions(module):
    """The functions a module defines for its users, in the order of its text."""
    allowed = getattr(module, "TORCH_ONLY", ())
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(inspect.unwrap(value) if callable(value) else value)
        and getattr(value, "__module__", None) == module.__name__
        and not name.startswith("_")
        and name not in allowed
    }


def keywords(function):
    """Keyword-only arguments with their defaults, in order, and ``learning_rate`` or ``strength`` wherever they are."""
    return [
        (name, parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if (parameter.kind is parameter.KEYWORD_ONLY or name in ("learning_rate", "strength", "layer_sizes"))
        and name not in NUMPY_KEYWORDS
    ]


def differences(reference, other):
    """What keeps two modules from being the same text, in sentences."""
    expected = {n: f for n, f in public_functions(reference).items() if not NUMPY_ONLY.search(n)}
    found = public_functions(other)
    problems = []
    if list(expected) != list(found):
        problems.append(f"{other.__name__} has functions {list(found)}, the reference {list(expected)}")
    for name in expected.keys() & found.keys():
        if keywords(expected[name]) != keywords(found[name]):
            mine, theirs = keywords(found[name]), keywords(expected[name])
            problems.append(f"{other.__name__}.{name} has keywords {mine}, the reference {theirs}")
    for name, table in vars(reference).items():
        if name.isupper() and isinstance(table, dict) and name not in NUMPY_TABLES:
            mirrored = getattr(other, name, {})
            if list(mirrored) != list(table):
                problems.append(f"{other.__name__}.{name} has {list(mirrored)}, the reference {list(table)}")
    for name in ("Gradients", "History"):
        if hasattr(reference, name) and getattr(other, name)._fields != getattr(reference, name)._fields:
            problems.append(f"{other.__name__}.{name} has other fields than the reference")
    return problems


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_mirror_the_reference(package, file):
    reference = importlib.import_module(f"reference_numpy.{file}")
    assert differences(reference, importlib.import_module(f"{package}.{file}")) == []


@pytest.mark.parametrize("package", ["reference_numpy", *PACKAGES])
def test_a_package_has_these_files_what_they_share_and_no_other(package):
    expected = {"__init__", "_common", "_layer", *FILES, *OWN_FILES.get(package, set())}
    assert {path.stem for path in (ROOT / package).glob("*.py")} == expected


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_no_formula_reads_the_same_in_every_package(package):
    mine, reference = (ROOT / name / "_common.py" for name in (package, "reference_numpy"))
    assert mine.read_bytes() == reference.read_bytes()


MOST_PARAMETERS = 11  # of a training and of a step of it, positional ones too


@pytest.mark.parametrize("package", ["reference_numpy", *PACKAGES])
def test_what_trains_has_fewer_than_a_dozen_parameters(package):
    found = public_functions(importlib.import_module(f"{package}.training"))
    assert {"loss_and_gradients", "start", "train_step", "fit"} <= found.keys()
    most = {name: list(inspect.signature(function).parameters) for name, function in found.items()}
    assert {name: given for name, given in most.items() if len(given) > MOST_PARAMETERS} == {}


def _renamed(module):
    module.adagrad = module.__dict__.pop("adam")


def _other_default(module):
    inspect.unwrap(module.adam).__kwdefaults__["epsilon"] = 1e-7


def _other_keyword(module):
    source = inspect.getsource(module.gradient_descent).replace(
        "weight_decay: float = 0.0", "weight_decay: float = 0.0, extra: int = 1"
    )
    exec(source, vars(module))


def _table_without_a_row(module):
    del module.OPTIMIZERS["adam"]


@pytest.mark.parametrize("change", [_renamed, _other_default, _other_keyword, _table_without_a_row])
def test_a_broken_mirror_is_found(change):
    reference = importlib.import_module("reference_numpy.optimizers")
    spec = importlib.util.find_spec("impl_jax.optimizers")
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    assert differences(reference, copy) == []
    change(copy)
    assert differences(reference, copy) != []
