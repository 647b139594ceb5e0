"""Checkpoints: the same file whoever wrote it, from which each package goes on, and what is wrong with one is told."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import impl_torch.models
import impl_torch.optimizers
import impl_torch.training
import reference_numpy.models
import reference_numpy.optimizers
import reference_numpy.training
from conformance.adapters.session import State
from conformance.checks.case import initial_state
from conformance.data.files import DataError
from conformance.exchange.checkpoints import Checkpoint, load_checkpoint, require_of, save_checkpoint
from conformance.problems.preparation import prepare
from conformance.recipes.coverage import recipe_with

ADAM = {"model": "deep", "optimizer": "adam", "normalization": "batch"}
WEIGHTS = {"W1": np.array([[1.0, 2.0, 3.0]]), "b1": np.array([4.0])}


def checkpoint(step=3, **slots):
    moments = {name: {key: w + place for key, w in WEIGHTS.items()} for place, name in enumerate(("first", "second"))}
    return Checkpoint(WEIGHTS, State(step, moments | slots), {"running_mean1": np.zeros(1)})


@pytest.fixture
def file(tmp_path):
    save_checkpoint(tmp_path / "c.safetensors", checkpoint(), writer="numpy")
    return tmp_path / "c.safetensors"


def test_its_names_are_those_that_are_documented(file):
    assert set(load_file(file)) == {
        "parameters/W1", "parameters/b1", "optimizer/first/W1", "optimizer/first/b1", "optimizer/second/W1",
        "optimizer/second/b1", "optimizer/step", "schedule/step", "statistics/running_mean1",
    }  # fmt: skip


def test_what_was_written_is_read(file):
    found = load_checkpoint(file)
    assert found.state.step == 4
    assert found.facts["written by"] == "numpy"
    assert found.facts["dtype"] == "float64"
    assert (found.optimizer_state.slots["second"]["W1"] == WEIGHTS["W1"] + 1).all()
    assert (found.statistics["running_mean1"] == 0).all()


def changed(name, value):
    return lambda arrays: arrays | {name: value}


def without(name):
    return lambda arrays: {key: value for key, value in arrays.items() if key != name}


def renamed(old, new):
    return lambda arrays: {new if key == old else key: value for key, value in arrays.items()}


WRONG = {
    "a name of nothing": (changed("W1", np.zeros(1)), r"'W1' is no name of a checkpoint's; allowed: parameters/NAME"),
    "no parameters": (lambda arrays: {k: v for k, v in arrays.items() if "param" not in k}, "holds no parameters/NAME"),
    "no step": (without("optimizer/step"), r"holds no optimizer/step; allowed: an integer of shape \(\)"),
    "no position of the schedule": (without("schedule/step"), "holds no schedule/step"),
    "a restarted schedule": (changed("schedule/step", np.array(0)), "schedule/step is 0; allowed: 3"),
    "a step below 0": (changed("optimizer/step", np.array(-1)), "optimizer/step is -1"),
    "a step of halves": (changed("optimizer/step", np.array(1.5)), r"optimizer/step is 1.5 \(float64\)"),
    "several steps": (changed("optimizer/step", np.zeros(2, int)), r"optimizer/step is of shape \(2,\)"),
    "half a slot": (without("optimizer/second/b1"), "optimizer/second has no 'b1'"),
    "half the first slot": (without("optimizer/first/W1"), "optimizer/first has no 'W1'; allowed: 'W1', 'b1'"),
    "a slot of no parameter": (changed("optimizer/first/W11", np.ones(1)), "optimizer/first has 'W11'.*mean 'W1'"),
    "a transposed moment": (
        changed("optimizer/second/W1", np.ones((3, 1))),
        r"second/W1 has shape \(3, 1\); allowed: ",
    ),
    "two precisions": (changed("parameters/b1", np.ones(1, np.float32)), "parameters/b1 has type float32; allowed: f"),
    "integers": (changed("parameters/b1", np.ones(1, int)), "parameters/b1 has type int64; allowed: float"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_told(file, wrong):
    damage, told = WRONG[wrong]
    save_file(damage(load_file(file)), file)
    with pytest.raises(DataError, match=told):
        load_checkpoint(file)


def test_what_is_no_training_and_where_nothing_can_be_written_are_told(tmp_path):
    with pytest.raises(DataError, match=r"training={'W1': 1} has no parameters, optimizer_state, statistics; allowed"):
        save_checkpoint(tmp_path / "c.safetensors", {"W1": 1})
    with pytest.raises(OSError, match=r"nowhere/c\.safetensors: cannot be written: No such file or directory"):
        save_checkpoint(tmp_path / "nowhere" / "c.safetensors", checkpoint())


def test_a_damaged_file_and_another_kind_of_file_are_refused(file, tmp_path):
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"c\.safetensors"):
        load_checkpoint(file)
    with pytest.raises(DataError, match=r"ends in \.safetensors; found '\.pt'"):
        load_checkpoint(tmp_path / "c.pt")
    with pytest.raises(DataError, match=r"ends in \.safetensors"):
        save_checkpoint(tmp_path / "c.npz", checkpoint())
    with pytest.raises(DataError, match="'parameters/W/1' is no name"):
        save_checkpoint(file, checkpoint()._replace(parameters={"W/1": np.ones(1)}))


@pytest.fixture(scope="module")
def problem():
    return prepare(recipe_with(ADAM, epochs=2, batch_size=40), "float64")


def test_both_packages_go_on_from_the_file_of_the_other(problem, tmp_path):
    keywords = {"loss": "binary_cross_entropy", "batch_size": None, "epochs": 2}
    x, y, first = problem.train_x, problem.train_y, problem.tape.initial_parameters
    model, adam = problem.build_model(reference_numpy.models), reference_numpy.optimizers.adam(0.01)
    begun = reference_numpy.training.fit(model, first, x, y, optimizer=adam, **keywords)
    file = tmp_path / "numpy.safetensors"
    save_checkpoint(file, begun, recipe=problem.recipe)
    stayed = reference_numpy.training.fit(model, begun.parameters, x, y, optimizer=adam, resume=begun, **keywords)

    found = load_checkpoint(file)
    other = problem.build_model(impl_torch.models).double()
    with torch.no_grad():
        for name, w in other.parameter_dict().items():
            w.copy_(torch.from_numpy(found.parameters[name]))
    own = impl_torch.optimizers.adam(other.parameters(), 0.01)
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    moved = impl_torch.training.fit(other, *tensors, optimizer=own, resume=found, **keywords)
    assert np.abs(moved.costs - stayed.costs).max() < 1e-12
    assert max(abs(moved.parameters[n].numpy() - w).max() for n, w in stayed.parameters.items()) < 1e-12

    save_checkpoint(file, moved, recipe=problem.recipe)
    back = load_checkpoint(file)
    assert back.optimizer_state.step == 4
    once_more = reference_numpy.training.fit(model, back.parameters, x, y, optimizer=adam, resume=back, **keywords)
    assert once_more.optimizer_state.step == 6


def test_a_checkpoint_of_another_training_is_refused(problem):
    state = initial_state(problem)
    whole = Checkpoint(state.parameters, State(2, state.slots), state.statistics, {})
    require_of(whole, problem, "a")
    for wrong, told in (
        (whole._replace(facts={"recipe hash": "0" * 12, "recipe": "other"}), "is of the recipe 'other'"),
        (whole._replace(optimizer_state=State(2, {})), "a: optimizer has no 'first_moment'"),
        (whole._replace(optimizer_state=State(10**6, state.slots)), "optimizer/step is 1000000; allowed: at most"),
        (whole._replace(statistics={}), "a: statistics has no 'running_mean1'"),
        (whole._replace(parameters={n: w.T for n, w in state.parameters.items()}), r"parameters/W1 has shape"),
        (whole._replace(parameters={n: w.astype("f4") for n, w in state.parameters.items()}), "have type float32"),
    ):
        with pytest.raises(DataError, match=told):
            require_of(wrong, problem, "a")
