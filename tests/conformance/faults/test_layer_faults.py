"""The known faults of layers: each makes a difference where it says that it does, the same in all four packages."""

from functools import cache
from importlib import import_module

import numpy as np
import pytest

from conformance.faults.injection import PACKAGES, Edit
from conformance.faults.mutants import MUTANTS
from reference_numpy import layers as reference
from tests.conformance.faults import planted_layers
from tests.conformance.faults.planted_layers import Pose, distance
from tests.layer_situations import SITUATIONS, TIED

FAULTS = {mutant.name: mutant for mutant in MUTANTS if mutant.layers}
ALL = SITUATIONS | TIED

MOVED = 1e-4  # beside the largest number of a tensor: what a fault moves, or more
ROUNDING = 1e-11
STEP = 1e-6
SLOPE = 1e-6  # what rounding and curvature leave between a slope by differences and by the gradient

each = pytest.mark.parametrize("name", FAULTS)


@cache
def pose(situation):
    return Pose(ALL[situation])


@cache
def kinds(situation):
    return planted_layers.parts(ALL[situation])


@cache
def right(implementation, situation):
    """What the package gives as it is."""
    return planted_layers.RESULTS[implementation](import_module(f"{PACKAGES[implementation]}.layers"), pose(situation))


@cache
def faulty_layers(name, implementation):
    """The package's layers with a fault."""
    fault = FAULTS[name]
    return planted_layers.layers_with(
        implementation, fault.edits if implementation == "numpy" else fault.elsewhere[implementation]
    )


def wrong(name, implementation, situation):
    """What the package gives with a fault."""
    return planted_layers.RESULTS[implementation](faulty_layers(name, implementation), pose(situation))


def concerns(name, situation):
    return any(kind.holds(layer) for kind in FAULTS[name].layers for layer in kinds(situation))


@cache
def telling(name):
    """The first situation in which the reference gives something else with a fault, and what it then gives."""
    for situation in ALL:
        if concerns(name, situation):
            found = wrong(name, "numpy", situation)
            if distance(found, right("numpy", situation)) > MOVED:
                return situation, found
    raise AssertionError(f"{name}: no situation of tests/layer_situations.py shows it")


@each
def test_a_fault_moves_what_the_reference_gives(name):
    situation, found = telling(name)
    assert distance(found, right("numpy", situation)) > MOVED


@each
def test_a_fault_of_the_forward_pass_is_caught_by_the_check_of_it_and_one_of_the_gradients_alone_is_not(name):
    situation, found = telling(name)
    moved = moved_by(found, right("numpy", situation))
    forward = {result for result in moved if result.partition(" ")[0] in ("y", "average")}
    assert ("forward" in FAULTS[name].checks) == bool(forward)
    parameters_start = all(result.startswith("initial ") and "running" not in result for result in moved)
    assert ("initialization" in FAULTS[name].checks) == parameters_start


def moved_by(found, expected):
    """The results that are others; without gradients, of which there are none where outputs have another shape."""
    return {result for result in found if distance({result: found[result]}, {result: expected[result]}) > MOVED}


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if "gradient_check" in fault.checks])
def test_the_gradient_follows_the_outputs_where_a_fault_says_so_and_nowhere_else(name):
    situation, found = telling(name)
    if "d x" not in found and not any(result.startswith("d ") for result in found):
        assert FAULTS[name].consistent  # outputs of another shape: a keyword is lost, and all follows what is left
        return
    assert (slopes_apart(name, situation, found) < SLOPE) == FAULTS[name].consistent


def slopes_apart(name, situation, found):
    """How far the slope of ``sum(y dy)`` along a direction is from the gradient's, beside the gradient's length."""
    given, layer = pose(situation), pose(situation).make(faulty_layers(name, "numpy"))
    generator = np.random.default_rng(3)
    places = given.parameters | ({"x": given.x} if "d x" in found else {})
    direction = {place: generator.standard_normal(array.shape) for place, array in places.items()}

    def functional(distance):
        moved = given.parameters | {place: places[place] + distance * direction[place] for place in places}
        x = moved.pop("x", given.x)
        return (layer.forward(moved, x, drawn=given.drawn, mask=given.mask)[0] * given.dy).sum()

    slope = (functional(STEP) - functional(-STEP)) / (2 * STEP)
    by_gradient = sum((found[f"d {place}"] * direction[place]).sum() for place in places)
    return abs(slope - by_gradient) / np.sqrt(sum((found[f"d {place}"] ** 2).sum() for place in places))


def test_every_layer_has_faults():
    assert {kind.name for fault in FAULTS.values() for kind in fault.layers} == set(reference.LAYERS) - {"sequence"}


@pytest.mark.slow
@each
def test_a_fault_moves_nothing_where_there_is_no_layer_that_it_is_of(name):
    for situation in ALL:
        if not concerns(name, situation):
            assert distance(wrong(name, "numpy", situation), right("numpy", situation)) == 0, situation


PLANTED = [(name, implementation) for name, fault in FAULTS.items() for implementation in fault.elsewhere]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "implementation"), PLANTED)
def test_a_fault_is_the_same_mistake_in_every_package_in_which_it_is_planted(name, implementation):
    situation, expected = telling(name)
    found = wrong(name, implementation, situation)
    assert distance(found, right(implementation, situation)) > MOVED
    assert distance(without_draws(found), without_draws(expected)) < ROUNDING


def without_draws(results):
    """Without initial weights, which every package draws in its own way."""
    return {name: a for name, a in results.items() if not name.startswith("initial ") or path_of(name)[0] not in "WU"}


def path_of(name):
    return name.partition(" ")[2].rpartition(".")[2]


def test_layers_with_an_edit_are_a_copy_of_their_own():
    edit = Edit("_layer.py: bias_gradient", "total(", "2 * total(")
    changed = planted_layers.layers_with("numpy", (edit,))
    assert issubclass(changed.lstm(1).__class__, changed.Layer)
    assert not isinstance(changed.lstm(1), reference.Layer)
    pose_of_dense = pose("dense")
    found = planted_layers.RESULTS["numpy"](changed, pose_of_dense)
    assert found["d b"].tolist() == (2 * right("numpy", "dense")["d b"]).tolist()
    assert found["d W"].tolist() == right("numpy", "dense")["d W"].tolist()
