"""A fault in a copy of one module: it is there, it reaches what takes from it, and nothing else sees it."""

import sys

import numpy as np
import pytest

from conformance.faults.injection import Edit, injected, injected_module
from conformance.faults.mutants import MUTANTS, reference_with
from conformance.problems.preparation import prepare
from conformance.recipes.coverage import recipe_with
from reference_numpy import activations, losses, optimizers, regularizers


def test_an_edit_of_what_a_module_takes_from_another_reaches_it():
    edit = Edit("activations.py: softmax", "np.divide(powers,", "np.divide(2.0 * powers,")
    changed = injected_module(losses, edit)
    logits, labels = np.zeros((1, 2)), np.array([0])
    assert changed.categorical_cross_entropy_gradient(logits, labels).tolist() == [[0.0, 1.0]]
    assert losses.categorical_cross_entropy_gradient(logits, labels).tolist() == [[-0.5, 0.5]]
    assert activations.softmax(logits).tolist() == [[0.5, 0.5]]


def test_nothing_of_a_copy_stays_among_the_loaded_modules():
    reference_with("adam: no root")  # which imports what an adapter needs
    before = dict(sys.modules)
    edit = Edit("_common.py: EarlyStopping.stop", ">= self.patience", "> self.patience")
    injected_module(regularizers, edit)
    with injected("numpy", edit):
        assert sys.modules == before
    assert sys.modules == before


def test_what_an_edit_reaches_is_copied_and_nothing_else():
    changed = injected_module(losses, Edit("activations.py: softmax", "np.divide(powers,", "np.divide(2.0 * powers,"))
    assert changed is not losses
    assert changed.activations is not activations
    assert changed.library_function is losses.library_function
    by_two_steps = injected_module(losses, Edit("_common.py: check_choice", "must be", "has to be"))
    assert by_two_steps.library_function is not losses.library_function


def test_what_holds_no_such_module_is_refused():
    with pytest.raises(ValueError, match=r"reference_numpy has no loses.py: must be one of .*losses"):
        injected_module(losses, Edit("loses.py: hinge", "", ""))


def test_what_a_module_takes_nothing_from_is_no_place_for_its_faults():
    with pytest.raises(ValueError, match=r"reference_numpy has no optimizers.py"):
        injected_module(losses, Edit("optimizers.py: adam", "", ""))


def test_an_edit_that_does_not_fit_is_refused():
    with pytest.raises(
        ValueError, match=r"reference_numpy/optimizers.py: adam has 'no such text' 0 times: must be once"
    ):
        injected_module(optimizers, Edit("optimizers.py: adam", "no such text", ""))


def test_a_copy_of_a_module_computes_what_a_copy_of_the_package_does():
    (mutant,) = (each for each in MUTANTS if each.name == "adam: no root")
    optimizer = injected_module(optimizers, *mutant.edits).adam(0.1)
    session = reference_with(mutant.name).session(prepare(recipe_with({"optimizer": "adam"}), "float64"))
    w, g = {"w": np.array([1.0, 2.0])}, {"w": np.array([0.5, -3.0])}
    state = optimizer.init(w)
    expected, _ = session.optimizer_step(w, g, state, 0.1)
    found, _ = optimizer.update(g, state, w)
    assert found["w"].tolist() == expected["w"].tolist() != optimizers.adam(0.1).update(g, state, w)[0]["w"].tolist()
