"""Layers of PyTorch, Keras and Flax with the same numbers are the same weights, however each framework lays them."""

from itertools import permutations

import pytest

from conformance.exchange.weights import diff
from tests.conformance.exchange.ported_layers import LAYERS, Ported


@pytest.fixture(scope="module", params=LAYERS)
def ported(request):
    """A layer as three frameworks keep it."""
    for framework in ("torch", "keras", "flax"):
        pytest.importorskip(framework)
    return LAYERS[request.param]()


@pytest.mark.slow
@pytest.mark.parametrize(("one", "other"), list(permutations(Ported._fields, 2)))
def test_a_layer_of_one_framework_is_that_of_another_and_one_changed_number_is_seen(ported, one, other):
    ours, theirs = getattr(ported, one), getattr(ported, other)
    found = diff(ours, theirs)
    assert found.same_but_rearranged, found
    name = max(theirs, key=lambda each: theirs[each].size)
    changed = theirs[name].copy()
    changed.flat[changed.size // 2] += 1
    assert not diff(ours, {**theirs, name: changed}).same_but_rearranged
