"""How large each data set is, told without loading it. A test holds the numbers against the data sets themselves."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Extent(NamedTuple):
    """Training and test examples, numbers in an example, and classes (labels; 0 for numbers to predict).

    ``drawn_as_asked``: the examples are a default, and as many are drawn as a recipe asks for.
    """

    examples: int
    test_examples: int
    features: int
    classes: int
    drawn_as_asked: bool = False


# What lies in files is known only when they are read.
EXTENTS: Mapping[str, Extent] = MappingProxyType(
    {
        "breast_cancer": Extent(456, 113, 30, 2),
        "digits": Extent(1438, 359, 64, 10),
        "diabetes": Extent(354, 88, 10, 0),
        "flower": Extent(400, 200, 2, 2),
        "moons": Extent(400, 200, 2, 2),
        "xor": Extent(400, 200, 2, 2),
        "attributes": Extent(200, 100, 2, 3),
        "housing": Extent(300, 100, 2, 0),
        "hand_signs": Extent(540, 120, 12288, 6, drawn_as_asked=True),
    }
)
