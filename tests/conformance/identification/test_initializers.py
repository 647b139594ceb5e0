"""Initializers of the frameworks: which formulation they are is told by chance alone, with no margin of its own."""

import sys
from pathlib import Path

import numpy as np
import pytest

from conformance.identification import initializers
from conformance.identification.answer import Named
from conformance.identification.initializers import identify
from conformance.recipes.factors import values_in
from reference_numpy.initializers import INITIALIZERS

sys.path.insert(0, str(Path(__file__).parent))

from in_process import InProcess

pytest.importorskip("torch")

TORCH = {
    "kaiming_normal_": "he_normal()",
    "kaiming_uniform_": "he_uniform()",
    "xavier_uniform_": "xavier_uniform()",
    "xavier_normal_": 'xavier_normal(fan="fan_average")',
    "orthogonal_": "orthogonal()",
    "zeros_": "zeros()",
}
KERAS = {
    "HeNormal": "he_normal(truncated=True)",
    "HeUniform": "he_uniform()",
    "LecunNormal": "lecun_normal(truncated=True)",
    "GlorotUniform": "xavier_uniform()",
    "RandomNormal": "scaled_normal(scale=0.05)",
    "Orthogonal": "orthogonal()",
    "Zeros": "zeros()",
}


def told(target):
    answer = identify(InProcess(target, "initializer"))
    return answer.found and answer.found.written("initializer")


@pytest.mark.parametrize(("name", "expected"), TORCH.items())
def test_one_of_pytorch_is_known(name, expected):
    assert told(f"torch.nn.init:{name}") == expected


def test_what_no_formulation_draws_is_none_known():
    assert told("torch.nn.init:trunc_normal_") is None


@pytest.mark.slow
@pytest.mark.parametrize(("name", "expected"), [*KERAS.items(), ("GlorotNormal", None), ("RandomUniform", None)])
def test_one_of_keras_is_known(name, expected):
    pytest.importorskip("keras")
    assert told(f"keras.initializers:{name}") == expected


def drawn(values, *, inputs_first):
    """What the reference's initializer draws, for a target of shapes ``(n_in, n_out)`` if ``inputs_first``."""
    given = values["initializer"]
    name, keywords = (given, {}) if isinstance(given, str) else (given["name"], {**given})
    keywords.pop("name", None)
    generator = np.random.default_rng(3)
    shapes = (initializers.TALL, initializers.WIDE) if inputs_first else (initializers.WIDE, initializers.TALL)
    arrays = [np.stack([INITIALIZERS[name](generator, shape, **keywords) for _ in range(4)]) for shape in shapes]
    return Named(name, keywords), initializers.Drawn(*(array.ravel() for array in arrays))


@pytest.mark.parametrize("inputs_first", [False, True])
@pytest.mark.parametrize("label", values_in("initializer"))
def test_every_formulation_with_a_scale_of_its_own_is_within_chance_and_no_other_is_but_its_like(label, inputs_first):
    named, seen = drawn(values_in("initializer")[label], inputs_first=inputs_first)
    if named.name in initializers.OTHERWISE:
        assert all(candidate.excess > 1 for candidate in initializers._candidates(seen))
        return
    found = {c.named.written("initializer") for c in initializers._candidates(seen) if c.excess <= 1}
    alike = {"lecun_normal()": "xavier_normal()", 'xavier_uniform(fan="fan_in")': "lecun_uniform()"}
    alike |= {other: one for one, other in alike.items()}
    own = named.written("initializer")
    assert found == {own, alike.get(own, own)}
