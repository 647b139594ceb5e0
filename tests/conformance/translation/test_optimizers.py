"""Optimizers translated: every day a few pairs without Keras; in the long run all, in processes of their own."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from conformance.identification.exercises import exercise
from conformance.recipes.spelling import formulated, parse
from conformance.translation import agreement as agreement_module
from conformance.translation import candidates as candidates_module
from conformance.translation.agreement import agreement, distance
from conformance.translation.candidates import candidates
from conformance.translation.code import of_a_builtin, of_this_project
from conformance.translation.page import rows
from conformance.translation.translate import translate
from conformance.translation.translated import CONSTANT_RATE, EXACT, IN_FLOAT32, OURS, PER_STEP, REFUSED
from conformance.translation.trial import Processes

sys.path.insert(0, str(Path(__file__).parent))

from in_this_process import InThisProcess

jax = pytest.importorskip("jax")
pytest.importorskip("optax")
pytest.importorskip("torch")

TRIAL = InThisProcess()
# Where a built-in's own rounding leaves fewer digits: RAdam subtracts numbers that are nearly equal, and NAdam in
# PyTorch keeps one in float32.
FEWEST = {"radam": 8.5, "nadam": 6.0}
# The same in float32: a decay of a millionth is 17 units in the last place of a parameter. What is rounded off of it is
# alike at every step, another in each of the two, and adds up.
FEWEST_IN_SINGLE = {"adamw": 4.5}
FEW_STEPS = 48  # in which an exercise shows all that it has


@pytest.fixture(autouse=True)
def in_float64(request, monkeypatch):
    if "slow" not in request.keywords:
        monkeypatch.setattr(agreement_module, "STEPS", FEW_STEPS)
        agreement_module.expected.cache_clear()
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    agreement_module.expected.cache_clear()
    jax.config.update("jax_enable_x64", before)


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "to", "code"),
    [
        ("torch.SGD(momentum=0.9)", "jax", "optax.sgd(learning_rate=0.001, momentum=0.9)"),
        slow("torch.Adam(betas=(0.8, 0.999))", "jax", "optax.adam(learning_rate=0.001, b1=0.8)"),
        slow("optax.adamw(learning_rate=0.01)", "torch", "torch.optim.AdamW(params, lr=0.01, weight_decay=0.0001)"),
        slow("torch.RMSprop", "jax", "optax.rmsprop(learning_rate=0.01, decay=0.99, eps_in_sqrt=False)"),
        ("momentum", "torch", "torch.optim.SGD(params, lr=0.001, momentum=0.9)"),
        ("adamw", "torch", "torch.optim.AdamW(params, lr=0.001)"),
    ],
)
def test_a_built_in_that_is_the_same_is_found_and_agrees(name, to, code):
    found = translate(name, to=to, trial=TRIAL)
    assert (found.outcome, found.notes, found.conditions) == (EXACT, (), ())
    assert found.code.endswith(f"optimizer = {code}")
    assert found.digits["float64"] > 13
    assert found.digits["float32"] > FEWEST_IN_SINGLE.get(found.formulation.partition("(")[0], 5.5)


@pytest.mark.parametrize(("name", "to"), [("radam", "torch"), slow("torch.RAdam", "jax")])
def test_an_epsilon_before_the_correction_is_set_at_every_step_by_torch_and_by_optax(name, to):
    found = translate(name, to=to, trial=TRIAL)
    assert (found.outcome, found.conditions) == (EXACT, (PER_STEP,))
    assert "epsilon" in found.code
    assert found.digits["float64"] > FEWEST["radam"]
    alone = next(note for note in found.notes if "alone" in note)
    assert "of the way apart" in alone


def test_a_velocity_with_the_rate_in_it_is_the_same_while_the_rate_is_constant_and_by_other_code_when_it_changes():
    source = "optax.chain(scale_by_learning_rate(learning_rate=0.01), trace(decay=0.9))"
    found = translate(source, to="torch", trial=TRIAL)
    assert (found.outcome, found.conditions) == (EXACT, (CONSTANT_RATE,))
    assert found.code.endswith("torch.optim.SGD(params, lr=0.01, momentum=0.9)")
    assert 'group["momentum"] =' in found.scheduled
    formulation = formulated(parse(source))
    plain = of_a_builtin(candidates(formulation, "torch")[0].call)
    held = agreement(TRIAL, formulation, of_a_builtin(parse(source)), plain, constant=False)
    assert not held.same
    assert held.digits["float64"] < 3


def test_what_no_built_in_is_is_this_projects_own_with_the_nearest():
    found = translate("optax.lion(learning_rate=0.01)", to="torch", trial=TRIAL)
    assert (found.outcome, found.nearest, found.notes) == (OURS, "", ("torch has no lion",))
    found = translate("optax.adagrad(learning_rate=0.01)", to="torch", trial=TRIAL)
    assert found.outcome == OURS
    assert found.code.startswith("from impl_torch.optimizers import adagrad")
    assert found.digits["float64"] > 13
    assert found.nearest == "torch.Adagrad(lr=0.01, eps=1e-07, initial_accumulator_value=0.1)"
    assert "epsilon_position='outside_root', not 'inside_root'" in found.notes[0]
    assert translate("torch.SGD(nesterov=True, momentum=0.9)", to="numpy", trial=TRIAL).code == (
        "from reference_numpy.optimizers import momentum\n\n"
        'optimizer = momentum(0.001, accumulation="sum", nesterov=True)'
    )


def test_what_is_no_formulation_is_refused_with_what_is_nearest_and_how_far():
    found = translate("torch.Adam(maximize=True)", to="numpy", trial=TRIAL)
    assert (found.outcome, found.code, found.nearest) == (REFUSED, "", "torch.Adam, by this project")
    assert "maximize=True of torch.Adam is none" in found.reason
    assert found.apart.startswith("in a training of 200 steps 2.0e+00 of the way apart")


def test_a_framework_that_is_not_installed_is_told():
    found = translate("keras.SGD(momentum=0.9)", to="numpy", trial=InThisProcess(lacking=("tf",)))
    assert found.digits["float64"] > 13
    assert found.against == f"the formula alone in {FEW_STEPS} steps, not here: TensorFlow is not installed"
    found = translate("torch.Adam", to="jax", trial=InThisProcess(lacking=("jax",)))
    assert (found.outcome, found.digits, found.against) == (EXACT, {}, "not here: JAX is not installed")
    assert "verified    not here: JAX is not installed" in str(found)


def test_a_built_in_that_is_not_what_the_table_says_is_not_printed(monkeypatch):
    """The table made wrong on purpose: optax's epsilon in the place of PyTorch's would be another optimizer."""

    def wrong(framework):
        found = []
        for form in candidates_module_forms(framework):
            keywords = form.dialect.keywords | {"epsilon_position": "outside_root"}
            own = "epsilon_position" in form.dialect.keywords
            found.append(form._replace(dialect=form.dialect._replace(keywords=keywords)) if own else form)
        return found

    candidates_module_forms = candidates_module.forms
    monkeypatch.setattr(candidates_module, "forms", wrong)
    found = translate("torch.Adagrad(eps=0.001)", to="jax", trial=TRIAL)
    assert found.outcome == OURS


def test_another_source_than_the_formulation_it_is_taken_for_is_refused(monkeypatch):
    from conformance.translation import optimizers

    other = formulated(parse("torch.Adam(eps=0.001)"))
    monkeypatch.setattr(optimizers, "formulated", lambda call: other)
    with pytest.raises(ValueError, match=r"torch.Adam is not adam\(.*\) here, but to .* digits"):
        translate("torch.Adam", to="numpy", trial=TRIAL)


def test_the_distance_of_two_is_that_of_their_trainings():
    formulation = formulated(parse("torch.SGD(lr=0.01)"))
    faster = dataclasses.replace(of_this_project(formulation, "numpy"), rate="0.02")
    found = distance(TRIAL, of_a_builtin(parse("torch.SGD(lr=0.01)")), faster)
    assert 0.01 < found.training < 1
    assert distance(TRIAL, faster, faster) == (0.0, 0.0)


def test_an_exercise_in_one_array_has_the_same_numbers():
    own = exercise(0, steps=60)
    one = own.as_one()
    assert len(own.factors) == 60
    assert np.array_equal(one.start["W1"].ravel(), np.concatenate([w.ravel() for w in own.start.values()]))
    assert one.gradients["W1"].shape == (60, *one.start["W1"].shape)


@pytest.mark.parametrize(
    ("name", "to", "settings", "said"),
    [
        ("torch.Adm", "jax", {}, "did you mean 'torch.Adam'"),
        ("adamm", "jax", {}, "did you mean 'adam'"),
        ("torch.GELU", "jax", {}, "must be a built-in with its framework, .* 'torch.nn.GELU'"),
        ("Dense", "torch", {}, "did you mean 'keras.layers.Dense'"),
        ("torch.load", "jax", {}, "or a recipe$"),
        ("", "jax", {}, "name='' is not allowed: must be a built-in"),
        ("torch.Adam", "pytorch", {}, "must be one of 'torch', .*; did you mean 'torch'"),
        ("tourch.optim.Adam", "jax", {}, "must be a built-in with its framework.*did you mean 'torch.Adam'"),
        ("foo.Linear", "jax", {}, "did you mean 'torch.nn.Linear'"),
        ("torch.Adam", "tensorflow", {}, "did you mean 'tf'"),
        ("torch.Adam", "jux", {}, "did you mean 'jax'"),
        ("torch.Adam", "jax", {"beta_1": 0.8}, "it is the spelling of keras.*here it is 'betas"),
        ("optax.adam", "torch", {}, "learning_rate of optax.adam is missing"),
        ("adam", "torch", {"lr": 0.1}, "adam keyword='lr' is not allowed"),
        ("torch.Adam", "jax", {"lr": -0.1}, "learning_rate=-0.1 is not allowed: must be"),
    ],
)
def test_what_is_not_known_is_refused_with_the_nearest(name, to, settings, said):
    with pytest.raises(ValueError, match=said):
        translate(name, to=to, settings=settings, trial=TRIAL)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_call_in_every_framework_ends_as_a_built_in_or_as_this_projects_own():
    """Which raises for a source that is not what the tables say, and tells only code that was run beside it."""
    pytest.importorskip("keras")
    with Processes() as trial:
        found = list(rows("optimizer", trial))
    assert {row.found.outcome for row in found} == {EXACT, OURS}
    for row in found:
        least = 5.0 if IN_FLOAT32 in row.found.conditions else FEWEST.get(row.found.formulation.partition("(")[0], 13.0)
        assert row.found.digits["float64"] > least, row
