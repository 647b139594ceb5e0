"""What ports have been seen to do is named: in the cost, the loop, the start, the order of the inputs; and together."""

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from conformance.adapters.numpy import NumpyAdapter, NumpySession
from conformance.adapters.session import State
from conformance.audit.recognition import inquiry_into
from conformance.diagnosis.averaging import Averaged
from conformance.diagnosis.candidates import singles
from conformance.diagnosis.explanation import Explanation
from conformance.diagnosis.independent import penalties_changed
from conformance.diagnosis.inputs import InOrder, named_orders
from conformance.diagnosis.misread import _FORMULAS, Misread
from conformance.diagnosis.porting import AddingUp, ByOutputs, Negated, OfCost, Shifted
from conformance.diagnosis.starts import STARTS, TORCH_LINEAR, TORCH_MODULES, Start, TorchModules
from conformance.diagnosis.substitutes import decaying, substitutes
from conformance.faults.mutants import reference_with
from conformance.parallel.replicas import fit_in_steps
from conformance.problems.preparation import prepare
from conformance.recipes.recipe import Recipe
from reference_numpy import losses

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

PRICES: dict[str, Any] = {
    "name": "prices",
    "dataset": {"name": "diabetes", "examples": 20, "test_examples": 6},
    "model": {"name": "shallow_network", "hidden_units": [3], "activation": "tanh", "output": "identity"},
    "initializer": "xavier_uniform",
    "loss": "mean_squared_error",
    "optimizer": {"name": "momentum", "learning_rate": 0.05},
    "schedule": {"name": "cosine", "unit": "step", "steps": 6, "final": 0.1},
    "batch_size": 8,
    "epochs": 2,
}
DIGITS: dict[str, Any] = PRICES | {
    "name": "digits",
    "dataset": {"name": "digits", "scaling": "unit", "examples": 20, "test_examples": 6},
    "model": {"name": "softmax_classifier", "hidden_units": [3], "activation": "tanh"},
    "loss": "categorical_cross_entropy",
}
WEIGHTS = [1, 2, 3, 1, 1, 0.5, 1, 1, 1, 4]
WEIGHTED = DIGITS | {"loss": {"name": "categorical_cross_entropy", "class_weights": WEIGHTS}}
NORMALISED = DIGITS | {"model": DIGITS["model"] | {"normalization": "batch_norm"}}
PENALISED = PRICES | {"regularizers": [{"name": "l2", "strength": 0.3, "convention": "half"}]}
DROPPED = DIGITS | {"regularizers": [{"name": "inverted_dropout", "keep_probability": 0.6}]}

PROBABILITIES = DIGITS | {"loss": "categorical_cross_entropy_from_probabilities"}
SMOOTHED = DIGITS | {"loss": {"name": "categorical_cross_entropy", "label_smoothing": 0.1}}
ADAM = PRICES | {"optimizer": {"name": "adam", "learning_rate": 0.05}}

SLOW = pytest.mark.slow
UNNORMALISED = "logits taken for logarithms of probabilities, as where a log-softmax is left out"
BROADCAST = "squared error: every prediction against every target, as (m, 1) against (m,) is broadcast"


def explained(values: dict[str, Any], session: Any) -> Explanation:
    """What is said of an implementation whose sessions ``session`` makes of problems."""

    class Adapter(NumpyAdapter):
        def session(self, problem: Any) -> Any:
            return session(problem)

    inquiry = inquiry_into(Recipe.model_validate(values), "own", "float64", Adapter("cpu"))
    assert inquiry is not None
    with np.errstate(all="ignore"):
        return inquiry.explanation()


def said(values: dict[str, Any], session: Any) -> list[str]:
    """The causes, each of which explains everything."""
    return [cause.description for cause in explained(values, session).causes]


def changed(change: Any) -> Any:
    """Sessions of the reference with a change."""
    return lambda problem: change.applied(NumpySession(problem), problem)


class BroadcastInTheCost:
    """Predictions ``(m, 1)`` against targets ``(m,)`` in the cost; the losses of single examples are right."""

    def __init__(self, problem: Any) -> None:
        self._right, self._wrong = NumpySession(problem), reference_with(BROADCAST).session(problem)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrong, name)

    def losses(self, *arguments: Any) -> Any:
        return self._wrong.losses(*arguments) | {"per_example": self._right.losses(*arguments)["per_example"]}


class BroadcastFromAnotherStart(BroadcastInTheCost):
    def draw_weights(self, shape: Any, seed: int) -> Any:
        return np.random.default_rng(seed).standard_normal(shape) * np.sqrt(2 / shape[1])


class WeightedMean(NumpySession):
    """PyTorch's: the cost is divided by the weights, and what ``reduction="none"`` gives is not."""

    def __init__(self, problem: Any) -> None:
        loss = problem.recipe.loss.model_copy(update={"weight_denominator": "weights"})
        super().__init__(replace(problem, recipe=problem.recipe.model_copy(update={"loss": loss})))

    def losses(self, parameters: Any, x: Any, y: Any, masks: Any, weights: Any) -> Any:
        z = self.intermediates(parameters, x, masks, None)["Z2"]
        single = losses.categorical_cross_entropy(z, y, weights, class_weights=WEIGHTS)
        return super().losses(parameters, x, y, masks, weights) | {"per_example": single}


def another_norm(problem: Any) -> Any:
    """Keras's batch norm, and an optimizer with a difference that is not known."""
    norm = problem.recipe.model.normalization.model_copy(update={"epsilon": 1e-3, "momentum": 0.99})
    model = problem.recipe.model.model_copy(update={"normalization": norm})
    return Scaled(replace(problem, recipe=problem.recipe.model_copy(update={"model": model})))


class OnReplicas(NumpySession):
    """Takes the mean of what its replicas have of the parts of a batch, as frameworks do by default."""

    count = 2

    def gradients(self, parameters: Any, x: Any, y: Any, masks: Any, weights: Any) -> Any:
        ends = [-(-each * len(x) // self.count) for each in range(self.count + 1)]
        parts = [slice(*pair) for pair in pairwise(ends)]
        found = [super(OnReplicas, self).gradients(parameters, x[part], y[part], {}, None) for part in parts]
        mean = {name: sum(each[name] for each in found) / self.count for name in ("cost", *parameters)}
        return mean | {"A0": np.concatenate([each["A0"] for each in found]) / self.count}

    def fit(self, problem: Any, checkpoint_epochs: Any, start: Any = None) -> Any:
        return fit_in_steps(self, problem, checkpoint_epochs)


class OnThreeReplicas(OnReplicas):
    count = 3


class Scaled(NumpySession):
    def optimizer_step(self, parameters: Any, gradients: Any, state: Any, learning_rate: float) -> Any:
        updated, after = super().optimizer_step(parameters, gradients, state, learning_rate)
        return {name: w + 1e-9 * np.sin(3 * w) for name, w in updated.items()}, State(*after)


def test_a_broadcast_in_the_cost_alone_is_named():
    (first, *_) = said(PRICES, BroadcastInTheCost)
    assert first == f"the fault {BROADCAST!r}, in the cost and not in the losses of single examples"


@pytest.mark.slow
def test_another_start_beside_it_does_not_hide_it():
    (cause,) = explained(PRICES, BroadcastFromAnotherStart).causes
    assert list(cause.parts) == [
        "he_normal for xavier_uniform",
        f"the fault {BROADCAST!r}, in the cost and not in the losses of single examples",
    ]


def test_what_does_not_divide_the_losses_of_single_examples_is_named_under_the_right_recipe_and_the_wrong():
    weighted = "categorical_cross_entropy(weight_denominator={})"
    assert said(WEIGHTED, WeightedMean)[0] == (
        weighted.format("'weights'") + ", in the cost and not in the losses of single examples"
    )
    right = WEIGHTED | {"loss": WEIGHTED["loss"] | {"weight_denominator": "weights"}}
    assert said(right, WeightedMean) == [
        weighted.format("'examples'") + ", in the losses of single examples and not in the cost"
    ]


@pytest.mark.slow
def test_what_is_not_known_does_not_hide_two_differences_of_one_check():
    found = explained(NORMALISED, another_norm)
    assert not found.causes
    assert {cause.description for cause in found.partly} == {"batch_norm(epsilon=0.001)", "batch_norm(momentum=0.99)"}
    assert "update" in found.unexplained
    assert "forward" not in found.unexplained


@pytest.mark.parametrize(
    ("values", "change", "name"),
    [
        (PRICES, OfCost("factor", 2.0), "the cost multiplied by 2, as where the costs of 2 parts of a batch are added"),
        pytest.param(PRICES, OfCost("root"), "the root of the mean of the losses", marks=SLOW),
        pytest.param(PENALISED, OfCost("batch size"), "every batch's cost divided by the size", marks=SLOW),
        (PRICES, AddingUp(), "gradients never set to zero"),
        (PRICES, Shifted(1), "the schedule one step early"),
        pytest.param(PRICES, Shifted(-1), "the schedule one step late", marks=SLOW),
        pytest.param(DIGITS, Misread("categorical_cross_entropy", UNNORMALISED),
                     f"categorical_cross_entropy: {UNNORMALISED}", marks=SLOW),
        (PRICES, Negated("velocity"), "momentum(learning_rate_position='outside'), its velocity kept with the other"),
        (PRICES, Start("uniform", 1.0, biases=True), TORCH_LINEAR),
        pytest.param(PRICES, Start("uniform", 1.0), "weights uniform within 1/sqrt(n_in), as those", marks=SLOW),
        pytest.param(PRICES, Start("normal", 0.02, "none"), "weights normal with deviation 0.02", marks=SLOW),
        (DIGITS, InOrder(dict(named_orders(64, (8, 8)))["reversed along rows of (8, 8)"]), "the inputs in another"),
    ],
    ids=lambda value: str(value)[:40] if not isinstance(value, dict) else value["name"],
)  # fmt: skip
def test_it_is_named(values, change, name):
    first, *_ = said(values, changed(change))
    assert first.startswith(name)


UNEVEN = PRICES | {"dataset": PRICES["dataset"] | {"examples": 11}, "batch_size": 6, "epochs": 1}
OF_COURSE = UNEVEN | {"regularizers": [{"name": "l2", "strength": 0.3}]}


@pytest.mark.parametrize(
    ("values", "session", "words"),
    [
        (UNEVEN, OnReplicas, "the mean of the means of 2 parts of a batch, .* though they are uneven"),
        pytest.param(UNEVEN, OnThreeReplicas, "the mean of the means of 3 parts of a batch", marks=SLOW),
        pytest.param(OF_COURSE, OnReplicas, ".* 2 parts .*, and penalties over the examples of a part", marks=SLOW),
    ],
    ids=["two", "three", "penalties"],
)
def test_replicas_that_are_averaged_alike_are_named(values, session, words):
    causes = said(values, session)
    assert re.fullmatch(f"{words}.*", causes[0]), causes


def test_even_replicas_are_the_batch():
    problem = prepare(Recipe.model_validate(UNEVEN), "float64")
    session = Averaged(2).applied(NumpySession(problem), problem)
    at, batch = problem.tape.initial_parameters, problem.batch(0)
    found, whole = session.gradients(at, *batch), NumpySession(problem).gradients(at, *batch)
    assert found.keys() == whole.keys()
    assert max(np.abs(found[name] - value).max() for name, value in whole.items()) < 1e-14
    uneven = problem.batch(1)
    assert (
        np.abs(session.gradients(at, *uneven)["W1"] - NumpySession(problem).gradients(at, *uneven)["W1"]).max() > 0.01
    )


def test_an_order_without_a_name_is_read_from_the_gradient():
    order = tuple(int(n) for n in np.random.default_rng(0).permutation(10))
    shown = ", ".join(map(str, order[:8]))
    (cause,) = said(PRICES, changed(InOrder(order)))
    assert cause == f"the inputs in another order, permuted: its features are those numbered {shown} ..."


def test_units_dropped_and_not_scaled_are_not_taken_for_no_dropout():
    unscaled = "dropout: kept units not scaled"
    assert said(DROPPED, reference_with(unscaled).session) == [f"the fault {unscaled!r}"]


def test_of_a_convention_the_strength_to_which_it_comes_is_said_beside_it():
    full = Recipe.model_validate(PENALISED | {"regularizers": [PENALISED["regularizers"][0] | {"convention": "full"}]})
    first, *_ = explained(PENALISED, lambda problem: NumpySession(replace(problem, recipe=full))).causes
    assert first.description == "l2(convention='full')"
    assert first.also == ("l2(strength=0.6)",)


def test_a_convention_whose_strength_is_rounded_comes_before_another_strength():
    strength = float(np.float32(PENALISED["regularizers"][0]["strength"]))
    own = {"name": "l2", "strength": strength, "convention": "full"}
    other = Recipe.model_validate(PENALISED | {"regularizers": [own]})
    first, *_ = explained(PENALISED, lambda problem: NumpySession(replace(problem, recipe=other))).causes
    assert first.description == "l2(convention='full') with its numbers rounded to float32"
    assert first.also == (f"l2(strength={2 * strength!r}, 2 of the one asked for in float32)",)


@pytest.mark.slow
def test_a_convention_comes_before_a_strength_that_libraries_have():
    asked = PENALISED["regularizers"][0] | {"strength": 0.005}  # 0.01 is Keras's own
    recipe = PENALISED | {"regularizers": [asked]}
    other = Recipe.model_validate(recipe | {"regularizers": [asked | {"convention": "full"}]})
    first, *others = explained(recipe, lambda problem: NumpySession(replace(problem, recipe=other))).causes
    assert first.description == "l2(convention='full')"
    assert first.also == ("l2(strength=0.01)",)
    assert all("strength" not in cause.description for cause in others)


@pytest.mark.slow
def test_labels_that_are_taken_from_the_outputs_do_not_hide_what_is_wrong_with_these():
    words = "softmax: normalised over the batch"
    (cause,) = said(PROBABILITIES, lambda problem: ByOutputs().applied(reference_with(words).session(problem), problem))
    assert cause == f"the fault {words!r}, labels predicted from the outputs and not from the logits"


@pytest.mark.parametrize("words", [words for formulas in _FORMULAS.values() for words in formulas])
def test_a_loss_that_misreads_its_logits_has_the_slope_that_it_says(words):
    generator = np.random.default_rng(3)
    (loss, formulas), *_ = [item for item in _FORMULAS.items() if words in item[1]]
    z = generator.uniform(0.1, 0.7, (4, 3)) * generator.choice((1, 1, -1), (4, 3))
    y = generator.integers(3, size=4) if loss == "categorical_cross_entropy" else generator.integers(2, size=(4, 3))
    _, slope = formulas[words](z, y)
    for place in np.ndindex(z.shape):
        step = 1e-6 * np.eye(z.size)[np.ravel_multi_index(place, z.shape)].reshape(z.shape)
        up, down = (formulas[words](z + sign * step, y)[0].sum() for sign in (1, -1))
        assert slope[place] == pytest.approx((up - down) / 2e-6, abs=1e-6)


PENALTY = [{"name": "l2", "strength": 0.3, "convention": "half"}]
LAYERED = DIGITS | {
    "model": {"name": "network", "layers": [
        {"name": "dense", "units": 4}, {"name": "activation", "function": "tanh"}, {"name": "dense", "units": 10},
    ]},
    "regularizers": PENALTY,
}  # fmt: skip
LAYERED.pop("initializer")


@pytest.mark.parametrize("values", [DIGITS | {"regularizers": PENALTY}, LAYERED], ids=["dense", "network"])
@pytest.mark.parametrize(
    "change", [Misread("categorical_cross_entropy", UNNORMALISED), OfCost("factor", 2.0)], ids=["misread", "factor"]
)
def test_a_changed_cost_has_the_slope_that_it_says_penalties_and_all(values, change):
    problem = prepare(Recipe.model_validate(values), "float64")
    session = change.applied(NumpySession(problem), problem)
    at, batch = problem.tape.initial_parameters, (problem.train_x[:5], problem.dataset.train_y[:5], {}, None)
    gradients = session.gradients(at, *batch)
    assert set(at) <= set(gradients)
    for name, w in at.items():
        direction = np.random.default_rng(1).standard_normal(w.shape)
        up, down = (float(session.losses(at | {name: w + step * direction}, *batch)["cost"]) for step in (1e-6, -1e-6))
        slope = float((gradients[name] * direction).sum())
        assert slope == pytest.approx((up - down) / 2e-6, abs=1e-6), name
    assert float(gradients["cost"]) == pytest.approx(float(session.losses(at, *batch)["cost"]))


def test_what_may_stand_in_the_place_of_another_component_is_tried():
    clipped = ADAM | {"regularizers": [{"name": "clip_by_global_norm", "limit": 0.5}]}
    tried = {one.description: one.recipe for one in substitutes(Recipe.model_validate(clipped))}
    assert tried["clip_by_norm for clip_by_global_norm"].regularizers[0].keywords == {"limit": 0.5}
    assert any(words.startswith("clip_by_norm for") and "1e-6 beside the norm" in words for words in tried)
    adamw = tried["adamw as torch.AdamW has it, for adam"].optimizer.keywords
    assert (adamw["weight_decay"], adamw["learning_rate"]) == (0.01, 0.05)
    (other,) = decaying(Recipe.model_validate(clipped))
    assert (other.optimizer.name, other.optimizer.keywords["learning_rate"]) == ("adamw", 0.05)


def with_(**parts: Any) -> Any:
    """Sessions of the reference with parts of another recipe."""

    def session(problem: Any) -> Any:
        other = Recipe.model_validate(problem.recipe.model_dump() | parts)
        return NumpySession(replace(problem, recipe=other))

    return session


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "parts", "name"),
    [
        (ADAM, {"optimizer": {"name": "adamw", "learning_rate": 0.05, "weight_decay": 0.005}},
         "adamw(weight_decay=0.005)"),
        (ADAM, {"optimizer": {"name": "adamw", "learning_rate": 0.05}}, "adamw as torch.AdamW has it, for adam"),
        (SMOOTHED, {"loss": {"name": "categorical_cross_entropy", "label_smoothing": 0.1 * 10 / 9}},
         "categorical_cross_entropy(label_smoothing=0.111111), as where it is shared by the other classes alone"),
    ],
    ids=["decay", "decay by default", "smoothing"],
)  # fmt: skip
def test_another_component_with_its_own_numbers_is_named(values, parts, name):
    assert said(values, with_(**parts))[0] == name


class WithMaximum(NumpySession):
    """AMSGrad, which begins its maximum at 0 where it is given none, and shows it."""

    def __init__(self, problem: Any) -> None:
        optimizer = problem.recipe.optimizer
        own = optimizer.model_copy(update={"amsgrad": "raw_max"})
        super().__init__(replace(problem, recipe=problem.recipe.model_copy(update={"optimizer": own})))

    def optimizer_step(self, parameters: Any, gradients: Any, state: State, learning_rate: float) -> Any:
        slots = self.optimizer.init(parameters).slots | state.slots
        return super().optimizer_step(parameters, gradients, State(state.step, slots), learning_rate)


@pytest.mark.slow
def test_a_state_that_was_not_asked_for_does_not_hide_what_it_is_for():
    found = explained(ADAM, WithMaximum)
    assert found.divergence.remark.endswith("is not one of the oracle's tensors")
    assert found.causes[0].description == "adam(amsgrad='raw_max')"


def test_of_penalties_it_is_told_which_keywords_are_others():
    asked = Recipe.model_validate(PENALISED)
    found = {one.description: penalties_changed(one, asked) for one in singles(asked)}
    assert found["l2(convention='full')"] == {"convention"}
    assert found["l2(strength=0.01)"] == {"strength"}
    assert {words for words, keywords in found.items() if keywords} == {
        words for words in found if words.startswith("l2(")
    }


def test_images_flattened_channels_first_have_a_name():
    x = np.arange(12).reshape(2, 2, 3)
    orders = dict(named_orders(12, (2, 2, 3)))
    (words,) = (words for words, order in orders.items() if order == tuple(x.transpose(2, 0, 1).ravel()))
    assert words == "channels first: rows x columns x channels (2, 2, 3) as channels x rows x columns"
    assert len(set(orders.values())) == len(orders)
    assert tuple(range(12)) not in orders.values()


TOKENS: dict[str, Any] = {
    "name": "tokens",
    "dataset": {"name": "brackets", "examples": 12, "test_examples": 4},
    "model": {"name": "network", "layers": [
        {"name": "embedding", "entries": 16, "units": 8},
        {"name": "bidirectional", "layers": [{"name": "gru", "units": 6, "biases": 2}], "join": "sum"},
        {"name": "dense", "units": 1},
    ]},
    "loss": "binary_cross_entropy",
    "initializer": "xavier_uniform",
    "optimizer": {"name": "momentum", "learning_rate": 0.05},
    "batch_size": 6,
    "epochs": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(TorchModules(), TORCH_MODULES, marks=SLOW),
        pytest.param(
            Start("uniform", 0.05, "none", of="embedding"),
            "weights uniform within 0.05, as Keras's RandomUniform, in layers of embedding",
            marks=SLOW,
        ),
    ],
    ids=["torch.nn", "Keras's embedding"],
)
def test_the_starts_of_a_network_s_layers_are_named(change, words):
    first, *_ = said(TOKENS, changed(change))
    assert first.startswith(words)


def test_torch_nn_starts_its_modules_as_the_candidate_does():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    parts = {
        "dense": (torch.nn.Linear(30, 50), {"W": "weight", "b": "bias"}),
        "convolution": (torch.nn.Conv2d(8, 40, 3), {"W": "weight", "b": "bias"}),
        "lstm": (torch.nn.LSTM(20, 30), {"W": "weight_ih_l0", "U": "weight_hh_l0", "b": "bias_ih_l0"}),
        "embedding": (torch.nn.Embedding(100, 30), {"W": "weight"}),
        "attention": (torch.nn.MultiheadAttention(64, 4), {"W_o": "out_proj.weight", "b_o": "out_proj.bias"}),
    }
    for kind, (module, names) in parts.items():
        own = dict(module.named_parameters())
        shapes = {name: tuple(own[path].shape) for name, path in names.items()}
        for name, path in names.items():
            drawn = TorchModules().draw(generator, kind, name, shapes)
            assert np.std(drawn) == pytest.approx(own[path].detach().numpy().std(), rel=0.25), (kind, name)
    packed = dict(parts["attention"][0].named_parameters())["in_proj_weight"].detach().numpy()
    drawn = TorchModules().draw(generator, "attention", "W_q", {"W_q": (64, 64), "W_o": (64, 64)})
    assert np.std(drawn) == pytest.approx(packed.std(), rel=0.05)


@pytest.mark.parametrize("start", STARTS.values(), ids=str)
def test_a_start_has_the_spread_that_it_says(start):
    drawn = start.draw(np.random.default_rng(0), (300, 200))
    fan = {"in": 200, "out": 300, "average": 250, "none": 1}[start.fan]
    spread = {"uniform": 1 / np.sqrt(3), "normal": 1.0, "truncated normal": 0.8796}[start.distribution]
    assert np.std(drawn) == pytest.approx(start.scale / np.sqrt(fan) * spread, rel=0.01)
    if start.distribution != "normal":
        cut = 1 if start.distribution == "uniform" else 2
        assert np.abs(drawn).max() <= cut * start.scale / np.sqrt(fan)
