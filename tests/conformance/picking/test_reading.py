"""Lines to read: code alone, what is named by what is used, and of tables what is chosen."""

import ast

import pytest

from conformance.adapters.registry import OWN
from conformance.picking import reading
from conformance.picking.asking import ask
from conformance.picking.reading import code_lines, lines_of_package, lines_used

SOURCE = '''"""A module,
of two lines."""

# a comment
@decorated
def one(x):
    """Its docstring."""

    return [
        x,  # counts
    ]
'''
OTHERS = {
    "models": "from . import activations\nfrom ._common import check as _check\n\n\ndef net(kind: Never):\n"
    "    _check(kind)\n    return activations.TABLE[kind]\n\n\nclass Never:\n    pass\n",
    "activations": "TABLE = {\n    f.__name__: f\n    for f in (tanh, relu)\n}\n\n\ndef tanh(x):\n    return x\n\n\n"
    "def relu(x):\n    a = x\n    b = a\n    return b\n",
    "_common": "def check(x):\n    return x\n\n\ndef unused(x):\n    return x\n",
}


def test_blank_lines_comments_and_docstrings_are_no_code():
    assert code_lines(SOURCE) == {5, 6, 9, 10, 11}
    assert list(reading._span(ast.parse(SOURCE).body[1])) == [*range(5, 12)]


@pytest.mark.parametrize(
    ("chosen", "reached"),
    [
        ({"tanh"}, {("models", "net"), ("_common", "check"), ("activations", "TABLE"), ("activations", "tanh")}),
        (set(), {("models", "net"), ("_common", "check"), ("activations", "TABLE")}),
    ],
)
def test_what_is_named_is_followed_and_of_a_table_what_is_chosen(chosen, reached):
    """Not what only an annotation names, nor what nobody does."""
    sources = {name: reading._source(text) for name, text in OTHERS.items()}
    assert reading._reached(sources, [("models", "net")], chosen) == reached


@pytest.mark.parametrize("implementation", OWN)
def test_a_training_uses_part_of_a_package_and_a_network_of_layers_more(implementation):
    dense = lines_used(implementation, [ask(model="deep_network").recipe])
    network = lines_used(implementation, [ask(model="network").recipe])
    both = lines_used(implementation, [ask(model=name).recipe for name in ("deep_network", "network")])
    assert 300 < dense < network < both < lines_of_package(implementation)


def test_another_optimizer_is_other_code():
    lines = {name: lines_used("numpy", [ask(optimizer=name).recipe]) for name in ("gradient_descent", "lbfgs")}
    assert lines["gradient_descent"] < lines["lbfgs"]
