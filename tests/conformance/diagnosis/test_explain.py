"""Explanations: where an implementation first leaves the oracle, what patching confirms, and what caused it."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from conformance.adapters.numpy import NumpyAdapter, NumpySession
from conformance.cli import app
from conformance.diagnosis import candidates
from conformance.diagnosis.explain import explain
from conformance.diagnosis.explanation import as_dict, text
from conformance.faults import mutants
from conformance.faults.mutants import MUTANTS
from conformance.recipes.recipe import Recipe
from conformance.runs.plan import Plan
from conformance.verdicts import ceilings
from conformance.verdicts.order import LADDER
from reference_numpy import optimizers

RECIPE = Recipe.model_validate({
    "name": "small",
    "dataset": {"name": "moons", "scaling": "none", "examples": 24, "test_examples": 12},
    "model": {"name": "deep_network", "hidden_units": [5, 3], "activation": "tanh"},
    "initializer": "xavier_normal",
    "loss": "binary_cross_entropy",
    "regularizers": [{"name": "l2", "strength": 0.5}],
    "optimizer": {"name": "adam", "learning_rate": 0.05},
    "batch_size": 9,
    "epochs": 2,
})  # fmt: skip
KNOWN = ("adam: betas swapped", "tanh: derivative 1 - a", "penalties: no gradient")


class InsideRoot(NumpySession):
    """A published formulation: epsilon inside the root, as another keyword says."""

    def __init__(self, problem):
        super().__init__(problem)
        self.optimizer = optimizers.adam(0.05, epsilon_position="inside_root")


class LargeInsideRoot(NumpySession):
    """Two published formulations at once."""

    def __init__(self, problem):
        super().__init__(problem)
        self.optimizer = optimizers.adam(0.05, epsilon_position="inside_root", epsilon=1e-6)


class BetasSwapped(NumpySession):
    """A known fault."""

    def __init__(self, problem):
        super().__init__(problem)
        self.optimizer = optimizers.adam(0.05, beta1=0.999, beta2=0.9)


class ActivationOff(NumpySession):
    """The first layer's activations a thousandth too large: nothing known."""

    def intermediates(self, parameters, x, masks, statistics):
        first = 1.001 * super().intermediates(parameters, x, masks, statistics)["A1"]
        rest = {f"{n[0]}{int(n[1:]) - 1}": w for n, w in parameters.items() if n not in ("W1", "b1")}
        made = super().intermediates(parameters, x, masks, statistics) | {"A1": first}
        made["Z2"] = first @ rest["W1"].T + rest["b1"]
        made["A2"] = np.tanh(made["Z2"])
        made["Z3"] = made["A2"] @ rest["W2"].T + rest["b2"]
        made["A3"] = 1 / (1 + np.exp(-made["Z3"]))
        return made


class GradientsOff(NumpySession):
    """The gradient of a bias doubled where single steps are taken: nothing known."""

    def gradients(self, parameters, *batch):
        found = super().gradients(parameters, *batch)
        return found | {"b2": 2 * found["b2"]}


class OutputOff(NumpySession):
    """The last activations a thousandth too large, where they are looked at."""

    def intermediates(self, *arguments):
        made = super().intermediates(*arguments)
        return made | {"A3": 1.001 * made["A3"]}


class LaterBatchOff(NumpySession):
    """A gradient that is wrong on a batch which only a training comes to."""

    def __init__(self, problem):
        super().__init__(problem)
        self.later = problem.batch(problem.batches_per_epoch + 1).x

    def gradients(self, parameters, x, *batch):
        found = super().gradients(parameters, x, *batch)
        return found | ({"b2": found["b2"] ** 2} if np.array_equal(x, self.later) else {})


class LastOfTraining(NumpySession):
    """Steps are right, and what becomes of them is not."""

    def fit(self, problem, checkpoint_epochs):
        trained = super().fit(problem, checkpoint_epochs)
        return trained._replace(costs=trained.costs * np.where(np.arange(len(trained.costs)) >= 3, 1.01, 1.0))


class Transposed(NumpySession):
    """The gradient of a weight matrix lies on its side."""

    def gradients(self, parameters, *batch):
        found = super().gradients(parameters, *batch)
        return found | {"W2": found["W2"].T}


class WithNaN(NumpySession):
    def gradients(self, parameters, *batch):
        found = super().gradients(parameters, *batch)
        return found | {"W1": np.where(found["W1"] > 0, np.nan, found["W1"])}


class OtherDtype(NumpySession):
    def losses(self, *arguments):
        found = super().losses(*arguments)
        return found | {"per_example": found["per_example"].astype(np.float32)}


class WithoutPenalty(NumpySession):
    def losses(self, *arguments):
        return {name: value for name, value in super().losses(*arguments).items() if name != "penalty"}


class OneTooMany(NumpySession):
    def losses(self, *arguments):
        return super().losses(*arguments) | {"surplus": np.zeros(1)}


class Crashing(NumpySession):
    def losses(self, *arguments):
        raise RuntimeError("boom")


SESSIONS = {
    session.__name__: session
    for session in (
        InsideRoot, LargeInsideRoot, BetasSwapped, ActivationOff, OutputOff, GradientsOff, LaterBatchOff,
        LastOfTraining, Transposed, WithNaN, OtherDtype, WithoutPenalty, OneTooMany, Crashing, NumpySession,
    )
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def few_faults():
    """The harness knows three faults and no others, so that little is tried."""
    faults = tuple(mutant for mutant in MUTANTS if mutant.name in KNOWN)
    assert len(faults) == len(KNOWN)
    with pytest.MonkeyPatch.context() as patch:
        for module in (mutants, ceilings, candidates):
            patch.setattr(module, "MUTANTS", faults)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory, few_faults, carry_out):
    """What a run of all these sessions leaves, made in this process."""
    folder = tmp_path_factory.mktemp("run")
    adapters = {
        name: type(name, (NumpyAdapter,), {"session": lambda self, problem, made=session: made(problem)})
        for name, session in SESSIONS.items()
    }
    carry_out(Plan(folder, [("file", RECIPE)], {}, ["float64"], explain=False), adapters)
    return folder


@pytest.fixture(scope="module")
def explained(run):
    return {explanation.implementation: explanation for explanation in explain(run)}


def test_what_passed_is_not_explained_and_everything_else_is(explained):
    assert set(explained) == set(SESSIONS) - {"NumpySession"}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("InsideRoot", ("update", "parameter", 1, "ordinary")),
        ("BetasSwapped", ("update", "optimizer state", 1, "first_moment of ordinary")),
        ("ActivationOff", ("forward", "activation", 0, "A1 (inference)")),
        ("GradientsOff", ("gradients", "gradient", 0, "db2 (first batch)")),
        ("OutputOff", ("forward", "activation", 0, "A3 (inference)")),
        ("LaterBatchOff", ("teacher_forced", "gradient", 5, "db2")),
        ("LastOfTraining", ("free_running", "curve", 4, "cost")),
        ("Transposed", ("gradients", "gradient", 0, "dW2 (first batch)")),
        ("WithNaN", ("gradients", "gradient", 0, "dW1 (first batch)")),
        ("OtherDtype", ("loss", "loss", 0, "per_example")),
        ("WithoutPenalty", ("loss", "loss", 0, "penalty")),
        ("OneTooMany", ("loss", "loss", 0, "surplus")),
        ("Crashing", ("loss", "", 0, "")),
    ],
)
def test_the_first_divergence_is_the_first_in_the_order_of_checks_steps_and_stages(explained, name, place):
    found = explained[name].divergence
    assert (found.check, found.stage, found.step, found.tensor) == place
    assert f"first divergence: check {place[0]}" in text(explained[name])


def test_the_divergence_has_its_worst_element_and_both_values(explained):
    found = explained["ActivationOff"].divergence
    assert found.observed == pytest.approx(1.001 * found.expected)
    assert found.error == pytest.approx(0.001, rel=1e-6)
    assert len(found.element) == 2
    assert f"element {found.element}: {found.observed:.9g}, the oracle has {found.expected:.9g}" in text(
        explained["ActivationOff"]
    )
    curve = explained["LastOfTraining"].divergence
    assert curve.element == []
    assert curve.observed == pytest.approx(1.01 * curve.expected)


@pytest.mark.parametrize(
    ("name", "patching"),
    [
        ("ActivationOff", "from the observed A1 the oracle arrives at 4 of 4 later activations"),
        ("OutputOff", "nothing of the forward pass comes after it"),
        ("LaterBatchOff", "from the observed gradients the oracle arrives at 18 of 18 new states and parameters"),
        ("GradientsOff", "given the oracle's gradients, the optimizer's step agrees (update)"),
        ("InsideRoot", "the gradients that it is given agree (gradients)"),
        ("BetasSwapped", "the gradients that it is given agree (gradients)"),
        ("LastOfTraining", "every step agrees: the fault lies between the steps"),
    ],
)
def test_patching_confirms_what_is_wrong(explained, name, patching):
    assert explained[name].patching.endswith(patching)
    assert f"  patching: {explained[name].patching}" in text(explained[name]).splitlines()


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("WithNaN", "is nan at ("),
        ("Transposed", "has shape (5, 3): must be (3, 5)"),
        ("OtherDtype", "has dtype float32: must be float64"),
        ("WithoutPenalty", "losses() returned no 'penalty' (of the regularizers); got"),
        ("OneTooMany", "surplus is not one of the oracle's tensors"),
        ("Crashing", "crashed: RuntimeError: boom"),
    ],
)
def test_what_cannot_be_compared_is_said_and_has_no_known_cause(explained, name, remark):
    found = explained[name]
    assert remark in found.divergence.remark
    assert (found.causes, found.nearest, found.patching) == ([], None, "")
    assert found.divergence.remark in text(found)
    assert ("no known formulation or fault explains this" in text(found)) == (name != "Crashing")


@pytest.mark.parametrize(
    ("name", "layout"),
    [("Transposed", "transposed"), ("GradientsOff", "multiplied by 2"), ("InsideRoot", ""), ("WithNaN", "")],
)
def test_a_layout_is_told(explained, name, layout):
    assert explained[name].layout == layout
    line = f"layout: {explained[name].divergence.tensor} is the oracle's, {layout}"
    assert (line in text(explained[name])) == bool(layout)


def test_an_exception_is_said_once_with_all_that_it_stops(explained):
    remark = explained["Crashing"].divergence.remark
    assert remark.count("RuntimeError: boom") == 1
    assert "which stops " in remark


def test_a_formulation_is_found_with_the_built_ins_that_have_it(explained):
    cause, *others = explained["InsideRoot"].causes
    assert cause.description == "adam(epsilon_position='inside_root')"
    looked_at = [check for check in LADDER if check != "native"]  # which looks at recipes with dropout
    assert (cause.formulation, cause.leaves, cause.explains) == (True, [], looked_at)
    assert cause.share <= 1
    assert all(other.share >= cause.share or not other.formulation for other in others)
    assert f"matches {cause.description} to {cause.error:.1g} in all 8 checks" in text(explained["InsideRoot"])


def test_two_formulations_at_once_are_found(explained):
    cause = explained["LargeInsideRoot"].causes[0]
    assert set(cause.description.split(" and ")) == {
        "adam(epsilon_position='inside_root')", "adam(epsilon=1e-06)"
    }  # fmt: skip


def test_a_known_fault_is_found(explained):
    cause = explained["BetasSwapped"].causes[0]
    assert (cause.description, cause.formulation) == ("the fault 'adam: betas swapped'", False)
    assert explained["BetasSwapped"].nearest is None


@pytest.mark.parametrize("name", ["ActivationOff", "GradientsOff", "LaterBatchOff", "LastOfTraining"])
def test_what_nothing_known_explains_is_left_unexplained(explained, name):
    assert explained[name].causes == []
    assert "cause: no known formulation or fault explains this" in text(explained[name])


def invoke(*arguments):
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


@pytest.mark.parametrize(
    ("name", "status"),
    [
        *(("InsideRoot", 0), ("BetasSwapped", 0), ("Transposed", 0), ("Crashing", 1)),
        *(pytest.param(name, 1, marks=pytest.mark.slow) for name in ("LastOfTraining", "WithNaN")),
    ],
)
def test_the_exit_status_tells_whether_something_remains_unexplained(run, explained, name, status):
    result = invoke(run, "small", "--implementation", name)
    assert result.exit_code == status
    assert result.stdout == text(explained[name]) + "\n"


def test_json_is_json_and_has_the_content_of_the_text(run, explained):
    printed = json.dumps([as_dict(explanation) for explanation in explained.values()], allow_nan=False)
    for values, explanation in zip(json.loads(printed), explained.values(), strict=True):
        shown = text(explanation)
        found = values["divergence"]
        assert f"{values['recipe']}, {values['implementation']}, {values['dtype']}" in shown
        assert found["check"] in shown
        assert found["remark"] in shown
        assert values["layout"] in shown
        assert values["patching"] in shown
        assert found["observed"] is None or f"{found['observed']:.9g}" in shown or found["remark"]
        for cause in values["causes"]:
            assert f"matches {cause['description']} to {cause['error']:.1g}" in shown
        if values["nearest"]:
            assert values["nearest"]["description"] in shown
    result = invoke(run, "--implementation", "Crashing", "--json")
    assert result.exit_code == 1
    (printed,) = json.loads(result.stdout, parse_constant=pytest.fail)
    assert printed == json.loads(json.dumps(as_dict(explained["Crashing"])))


def test_where_nothing_failed_there_is_nothing_to_explain(run):
    result = invoke(run, "small", "--implementation", "NumpySession")
    assert (result.exit_code, result.stdout) == (0, "nothing to explain: no record failed\n")
    assert json.loads(invoke(run, "small", "--implementation", "NumpySession", "--json").stdout) == []


def test_what_is_not_there_ends_with_exit_status_two_and_says_what_is(run, tmp_path):
    for arguments, message in (
        ([tmp_path / "nowhere"], "is not the folder of a run"),
        ([run, "large"], "recipe='large' is not in this run: must be one of 'small'"),
        ([run, "small", "--implementation", "torch"], "implementation='torch' is not in this run: must be one of"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 2
        assert message in result.stderr
