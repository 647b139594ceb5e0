"""Two biases of a recurrent layer, and what a framework keeps of them.

A recipe may have two, ``b`` and ``b_h``, as PyTorch has. Where nothing stands between what they are added to, only
their sum counts, and a framework with one bias keeps that. It does not tell which was which: back, all is ``b``. In a
GRU whose reset gate is applied after the product, ``b_h`` of its candidate ``n`` is multiplied by the gate, and does
not add up with ``b``: Flax's linen keeps it beside the sums, NNX keeps none, and where it is not 0 there is no
counterpart.
"""

from typing import NamedTuple

import numpy as np

from conformance.problems.tensors import Array, Tensors
from conformance.wrappers.layouts import LayerLayout
from conformance.wrappers.recipe_layers import RecipeLayer, Shape

OF_CANDIDATE = "b_h[n]"


class Kept(NamedTuple):
    """What a framework keeps of a recipe's layer: parameters by name and shape; whether ``b_h`` is added to ``b``."""

    parameters: dict[str, Shape]
    is_added: bool


def kept_of(layer: RecipeLayer, layout: LayerLayout) -> Kept:
    """What a framework's layer keeps of a recipe's."""
    own = dict(layer.parameters)
    if "b_h" not in own or "b_h" in layout.parameters:
        return Kept(own, False)
    shape = own.pop("b_h")
    if OF_CANDIDATE in layout.parameters:
        own[OF_CANDIDATE] = (shape[0] // len(layout.gates),)
    return Kept(own, True)


def added(layer: RecipeLayer, kept: Kept, tensors: Tensors) -> Tensors:
    """A layer's tensors as they are kept."""
    if not kept.is_added:
        return tensors
    own, second = dict(tensors), tensors["b_h"].copy()
    del own["b_h"]
    if _is_gated(layer):
        block = _of_candidate(layer, second)
        own |= {OF_CANDIDATE: block.copy()} if OF_CANDIDATE in kept.parameters else {}
        block[:] = 0
    own["b"] = np.where(second == 0, own["b"], own["b"] + second)
    return own


def is_lost(layer: RecipeLayer, kept: Kept, tensors: Tensors) -> bool:
    """Whether a second bias does not add up with the first, is not 0, and is not kept."""
    gone = kept.is_added and _is_gated(layer) and OF_CANDIDATE not in kept.parameters
    return gone and bool(_of_candidate(layer, tensors["b_h"]).any())


def parted(layer: RecipeLayer, kept: Kept, tensors: Tensors) -> Tensors:
    """A layer's tensors of those that are kept: all of a sum is the first bias."""
    if not kept.is_added:
        return tensors
    own = dict(tensors)
    own["b_h"] = np.zeros_like(own["b"])
    if OF_CANDIDATE in kept.parameters:
        _of_candidate(layer, own["b_h"])[:] = own.pop(OF_CANDIDATE)
    return own


def _is_gated(layer: RecipeLayer) -> bool:
    """Whether the second bias of a layer's candidate is multiplied by its reset gate."""
    return layer.name == "gru" and layer.keywords["reset"] == "after"


def _of_candidate(layer: RecipeLayer, bias: Array) -> Array:
    """The part of a bias that is its candidate's, a view."""
    gates = str(layer.keywords["gates"])
    return np.split(bias, len(gates))[gates.index("n")]
