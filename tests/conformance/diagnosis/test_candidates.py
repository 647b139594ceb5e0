"""What an observation may be explained by: each formulation and dialect once, and two changes at once."""

import pytest

from conformance.adapters.session import State
from conformance.audit import mutation
from conformance.checks import CHECKS
from conformance.diagnosis.candidates import Candidate, pair, singles
from conformance.faults.mutants import MUTANTS
from conformance.recipes.coverage import recipe_with
from conformance.recipes.dialects import dialects
from conformance.recipes.factors import values_in
from conformance.verdicts.compare import measure_errors

ADAM = recipe_with({"optimizer": "adam", "penalty": "l2", "noise": "dropout"}, epochs=1)
OTHERS = {
    "amsgrad": recipe_with({"optimizer": "amsgrad, raw maximum", "normalization": "batch"}, epochs=1),
    "rmsprop": recipe_with({"optimizer": "rmsprop, momentum", "limit": "max-norm", "schedule": "warm-up"}, epochs=1),
    "momentum": recipe_with(
        {"optimizer": "momentum, Nesterov", "limit": "clip by norm", "activation": "relu"}, epochs=1
    ),
    "adamw": recipe_with({"optimizer": "adamw", "stopping": "early stopping", "loss": "squared error"}, epochs=1),
    "lbfgs": recipe_with({"optimizer": "lbfgs", "penalty": "l2"}, epochs=2),
}


def formulations(recipe):
    return [candidate for candidate in singles(recipe) if candidate.is_formulation]


def settings(candidate):
    return candidate.recipe.optimizer.keywords


def only_in_its_optimizer(candidate):
    return candidate.recipe.model_copy(update={"optimizer": ADAM.optimizer}) == ADAM


def named(description, recipe=ADAM):
    (candidate,) = (c for c in singles(recipe) if c.description == description)
    return candidate


@pytest.mark.parametrize("recipe", [ADAM, *OTHERS.values()], ids=["adam", *OTHERS])
def test_each_candidate_is_another_recipe_and_stands_there_once(recipe):
    found = formulations(recipe)
    hashes = [candidate.recipe.hash for candidate in found]
    assert len({*hashes, recipe.hash}) == len(found) + 1
    assert len({candidate.description for candidate in singles(recipe)}) == len(singles(recipe))


def test_every_setting_that_the_catalogue_gives_to_a_keyword_is_a_candidate():
    own = ADAM.optimizer.keywords
    wanted = {
        (keyword, setting)
        for value in values_in("optimizer")
        for keyword, setting in recipe_with({"optimizer": value}).optimizer.keywords.items()
        if value.startswith(("adam", "amsgrad")) and not value.startswith(("adamw", "adamax"))
        if keyword != "learning_rate" and setting != own[keyword]
    }
    found = {
        (keyword, setting)
        for candidate in formulations(ADAM)
        for keyword, setting in settings(candidate).items()
        if settings(candidate) == own | {keyword: setting} != own
    }
    assert ("epsilon_position", "inside_root") in wanted
    assert wanted <= found


@pytest.mark.parametrize(
    "dialect", [d for d in dialects() if d.optimizer == "adam"], ids=lambda d: f"{d.framework}.{d.builtin}"
)
def test_every_dialect_is_one_candidate_unless_it_is_what_was_asked_for(dialect):
    spoken = ADAM.optimizer.keywords | dialect.keywords | {"learning_rate": ADAM.optimizer.keywords["learning_rate"]}
    found = [c for c in formulations(ADAM) if settings(c) == spoken and only_in_its_optimizer(c)]
    assert len(found) == (spoken != ADAM.optimizer.keywords)


def test_the_other_reduction_and_biases_frozen_or_trained_are_candidates():
    assert named("the sum over the examples").recipe.reduction == "sum"
    assert named("frozen biases").recipe.frozen_biases
    summed = ADAM.model_copy(update={"reduction": "sum", "frozen_biases": True})
    assert named("the mean over the examples", summed).recipe.reduction == "mean"
    assert not named("trained biases", summed).recipe.frozen_biases


def test_the_defaults_of_other_frameworks_are_candidates():
    assert settings(named("adam(epsilon=1e-07)"))["epsilon"] == 1e-7  # Keras's
    assert not any("learning_rate=" in candidate.description for candidate in singles(ADAM))


def test_the_defaults_of_other_layers_are_candidates():
    keras = pytest.importorskip("keras")
    batch, layer = keras.layers.BatchNormalization(), keras.layers.LayerNormalization()
    names = {
        ("normalization", "batch"): (
            f"batch_norm(epsilon={batch.epsilon!r})",
            f"batch_norm(momentum={batch.momentum!r})",
        ),
        ("normalization", "layer"): (f"layer_norm(epsilon={layer.epsilon!r})", "layer_norm(epsilon=1e-06)"),
        ("activation", "leaky relu"): (
            f"leaky_relu(slope={keras.layers.LeakyReLU().negative_slope!r})",
            "leaky_relu(slope=0.2)",
        ),
    }
    for (factor, value), descriptions in names.items():
        recipe = recipe_with({factor: value})
        for description in descriptions:
            assert named(description, recipe).is_formulation


def test_each_regularizer_can_be_left_out_or_mean_something_else():
    assert [r.name for r in named("no l2").recipe.regularizers] == ["inverted_dropout"]
    assert [r.name for r in named("no inverted_dropout").recipe.regularizers] == ["l2"]
    l2, _ = named("l2(convention='half')").recipe.regularizers
    assert l2.keywords == ADAM.regularizers[0].keywords | {"convention": "half"}


def test_the_schedule_may_count_the_other_way():
    assert named("schedule by step").recipe.schedule.unit == "step"


def test_the_faults_that_concern_the_recipe_come_after_the_formulations():
    found = singles(ADAM)
    faults = [candidate for candidate in found if not candidate.is_formulation]
    assert found[-len(faults) :] == faults
    assert [candidate.mutants[0] for candidate in faults] == [
        mutant for mutant in MUTANTS if mutant.concerns(ADAM) and mutant.settings.get("reduction") != "sum"
    ]


def test_two_faults_of_one_text_are_no_pair():
    found = {}
    for candidate in singles(ADAM):
        for mutant in candidate.mutants:
            for edit in mutant.edits:
                found.setdefault((edit.at, edit.old), []).append(candidate)
    one, other, *_ = next(candidates for candidates in found.values() if len(candidates) > 1)
    assert pair(one, other, ADAM) is None


def test_two_changes_of_different_fields_are_one_candidate():
    position, maximum = named("adam(epsilon_position='inside_root')"), named("adam(amsgrad='raw_max')")
    both = pair(position, maximum, ADAM)
    assert settings(both) == settings(position) | {"amsgrad": "raw_max"}
    assert both.description == "adam(epsilon_position='inside_root') and adam(amsgrad='raw_max')"
    assert pair(maximum, position, ADAM).recipe == both.recipe
    elsewhere = pair(named("no l2"), position, ADAM)
    assert (elsewhere.recipe.optimizer, elsewhere.recipe.regularizers) == (
        position.recipe.optimizer, named("no l2").recipe.regularizers
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("adam(epsilon=1e-06)", "adam(epsilon=1e-07)"),
        ("no l2", "l2(convention='half')"),
        ("adam(amsgrad='raw_max')", "adam(amsgrad='corrected_max')"),
    ],
)
def test_two_changes_of_the_same_field_are_none(one, other):
    assert pair(named(one), named(other), ADAM) is None


def test_two_changes_that_no_recipe_can_have_are_none():
    smooth = named("binary_cross_entropy(label_smoothing=0.1)")
    probabilities = Candidate("other loss", recipe_with({"loss": "binary, probabilities"}, epochs=1))
    assert pair(smooth, probabilities, recipe_with({}, epochs=1)) is None


def test_a_fault_and_a_formulation_go_together():
    fault = next(candidate for candidate in singles(ADAM) if not candidate.is_formulation)
    formulation = named("adam(amsgrad='raw_max')")
    both = pair(formulation, fault, ADAM)
    assert (both.recipe, both.mutants) == (formulation.recipe, fault.mutants)
    assert not both.is_formulation


@pytest.mark.parametrize("name", OTHERS)
def test_every_formulation_bears_every_check_on_the_case_of_the_recipe(name):
    """Also one whose optimizer has other slots than the recipe's, and one without the recipe's clipping."""
    recipe = OTHERS[name]
    case, expectations = mutation.situation(recipe, "float64")
    keys = {check: {e.observation.key for e in expected} for check, expected in expectations.items()}
    for candidate in formulations(recipe):
        session = candidate.session(case.problem)
        for check, observe in CHECKS.items():
            seen = {observation.key for observation in observe(session, candidate.situation(case, check))}
            assert seen == keys[check] or check == "free_running", candidate.description


def test_a_candidate_without_a_change_is_the_oracle():
    case, expectations = mutation.situation(OTHERS["amsgrad"], "float64")
    unchanged = Candidate("nothing", OTHERS["amsgrad"])
    session = unchanged.session(case.problem)
    for check, observe in CHECKS.items():
        seen = list(observe(session, unchanged.situation(case, check)))
        for observation, expectation in zip(seen, expectations[check], strict=True):
            assert measure_errors(observation, expectation.observation).max() == 0


def test_slots_that_the_case_does_not_have_begin_anew():
    case, _ = mutation.situation(ADAM, "float64")
    session = named("adam(amsgrad='raw_max')").session(case.problem)
    exercise = case.exercises[-1]
    state = State(exercise.step - 1, exercise.slots)
    _, after = session.optimizer_step(exercise.parameters, exercise.gradients, state, 0.01)
    assert set(after.slots) == set(exercise.slots)
