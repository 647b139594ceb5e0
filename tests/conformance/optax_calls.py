"""Optimizers of optax by the names that dialects have."""

import ast
import inspect

import pytest

optax = pytest.importorskip("optax")


def optax_builtin(builtin, rate):
    """The optax optimizer of a dialect's name; each function of a chain that asks for a rate is given it."""

    def made(node):
        called = isinstance(node, ast.Call)
        function = getattr(optax, (node.func if called else node).id)
        arguments = node.args if called else []
        if function is optax.chain:
            return optax.chain(*map(made, arguments))
        rates = [rate] if "learning_rate" in inspect.signature(function).parameters else []
        keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in (node.keywords if called else [])}
        return function(*rates, *map(ast.literal_eval, arguments), **keywords)

    return made(ast.parse(builtin, mode="eval").body)
