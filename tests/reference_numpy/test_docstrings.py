"""Every public function of the reference says what it computes, and shows it."""

import importlib
import inspect
import pkgutil

import pytest

import reference_numpy

NAMES = [module.name for module in pkgutil.iter_modules(reference_numpy.__path__)]
MODULES = [importlib.import_module(f"reference_numpy.{name}") for name in NAMES if not name.startswith("_")]
FUNCTIONS = [
    function
    for module in MODULES
    for name, function in vars(module).items()
    if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_")
]


def test_there_are_functions_to_look_at():
    assert len(FUNCTIONS) > 100


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: f"{function.__module__}.{function.__name__}")
def test_a_function_has_a_purpose_and_an_example(function):
    purpose = inspect.getdoc(function).splitlines()[0]
    assert len(purpose) > 8
    assert ">>> " in function.__doc__
