"""How large each data set is, told without loading it. A test holds the numbers against the data sets themselves."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Extent(NamedTuple):
    """Training and test examples, numbers in an example, and classes (labels; 0 for numbers to predict).

    ``drawn_as_asked``: the examples are a default, and as many are drawn as a recipe asks for. ``vocabulary``: where
    an example is of tokens, each is below it. ``targets``: numbers in the target of an example.
    """

    examples: int
    test_examples: int
    features: int
    classes: int
    drawn_as_asked: bool = False
    vocabulary: int | None = None
    targets: int = 1


# What lies in files is known only when they are read.
EXTENTS: Mapping[str, Extent] = MappingProxyType(
    {
        "breast_cancer": Extent(456, 113, 30, 2),
        "digits": Extent(1438, 359, 64, 10),
        "diabetes": Extent(354, 88, 10, 0),
        "words": Extent(540, 135, 12, 3, vocabulary=27),
        "flower": Extent(400, 200, 2, 2),
        "moons": Extent(400, 200, 2, 2),
        "xor": Extent(400, 200, 2, 2),
        "attributes": Extent(200, 100, 2, 3, targets=3),
        "housing": Extent(300, 100, 2, 0),
        "brackets": Extent(1200, 300, 12, 2, vocabulary=5),
        "hand_signs": Extent(540, 120, 12288, 6, drawn_as_asked=True),
    }
)
