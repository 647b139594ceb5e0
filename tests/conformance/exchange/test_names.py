"""The grammar of names: what is written is read again, and what is no name is refused with the part at fault."""

import re

import numpy as np
import pytest

from conformance.exchange.names import TAPE, TRACE, flat, parts, tree_of

FILLED = {"NUMBER": "3", "SLOT": "velocity", "NAME": "W1", "SHAPE": "160x640", "SET": "test"}


@pytest.mark.parametrize("grammar", [TAPE, TRACE], ids=["tape", "trace"])
def test_every_name_of_the_grammar_is_read_as_it_was_written(grammar):
    names = ["/".join(FILLED.get(part, part) for part in pattern.split("/")) for pattern in grammar]
    tensors = {name: np.zeros(1) for name in names}
    assert flat(tree_of(tensors, grammar)).keys() == tensors.keys()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cost", "did you mean 'costs'"),
        ("step/first/gradient/W1", "'first' in .* must be a number"),
        ("step/1/gradinet/W1", "did you mean 'gradient'"),
        ("step/1/class/valid", "one of train, test"),
        ("step/1/gradient", "ends too early: must go on with one of NAME"),
        ("costs/1", "goes on too long: must end with 'costs'"),
        ("answer/draw/large", "a shape, as 160x640"),
        ("step/" + "1" * 600, "at most 500"),
    ],
)
def test_what_is_no_name_is_refused_with_what_is_allowed(name, message):
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
        parts(name)


def test_a_tensors_own_name_may_hold_the_separator():
    assert parts("step/1/gradient/dense/kernel") == ("step", "1", "gradient", "dense/kernel")
