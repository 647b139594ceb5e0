"""Penalties and clippings: every form that is printed is run, and is the reference's."""

from types import SimpleNamespace

import numpy as np
import pytest

from conformance.identification.answer import Named
from conformance.translation import regularizers
from conformance.translation.regularizers import CODE, COURSE, DIVIDES, SOURCES, of_formulation
from conformance.translation.translate import translate
from conformance.translation.translated import EXACT, OURS, REFUSED
from reference_numpy.regularizers import CLIPPINGS, PENALTIES

W = {"W1": np.array([[3.0, -0.5], [0.2, 1.0]]), "b1": np.array([2.0, -1.0])}
G = {"W1": np.array([[0.3, -0.2], [2.0, 0.1]]), "b1": np.array([0.5, -3.0])}
RATE = 0.5
NUMBERS = {
    "l2": {"strength": 0.3, "convention": "half"},
    "l1": {"strength": 0.3, "convention": "full"},
    "elastic_net": {"strength": 0.4, "l1_ratio": 0.75, "convention": "full"},
    **{name: {"limit": 1.0} for name in CLIPPINGS},
}


def expected(wanted):
    """Where gradient descent goes with these gradients and the reference's penalty or clipping."""
    if wanted.name in CLIPPINGS:
        gradients = CLIPPINGS[wanted.name](**wanted.keywords)(G)
    else:
        one = PENALTIES[wanted.name](**wanted.keywords)
        gradients = {"W1": G["W1"] + one.gradient(W["W1"], 4), "b1": G["b1"]}
    return {name: W[name] - RATE * gradients[name] for name in W}


def run(code, **names):
    exec(compile(code, "translated", "exec"), names)
    return names


def by_torch(code, kind):
    torch = pytest.importorskip("torch")
    parameters = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in W.items()}
    for name, w in parameters.items():
        w.grad = torch.tensor(G[name])
    model = SimpleNamespace(parameters=lambda: iter(parameters.values()))
    found = run(code, model=model, lr=RATE)
    found.get("optimizer", torch.optim.SGD(parameters.values(), lr=RATE)).step()
    return {name: w.detach().numpy() for name, w in parameters.items()}


def by_jax(code, kind):
    jax = pytest.importorskip("jax")
    optimizer = run(code, learning_rate=RATE)["optimizer"]
    with jax.enable_x64(True):
        parameters = {name: jax.numpy.asarray(w) for name, w in W.items()}
        updates, _ = optimizer.update(G, optimizer.init(parameters), parameters)
        return {name: np.asarray(parameters[name] + updates[name]) for name in W}


def by_keras(code, kind):
    keras, tf = pytest.importorskip("keras"), pytest.importorskip("tensorflow")
    variables = {name: keras.Variable(w, dtype="float64") for name, w in W.items()}
    found = run(code, learning_rate=RATE)
    gradients = {name: tf.constant(g) for name, g in G.items()}
    if kind == "penalty":
        with tf.GradientTape() as tape:
            cost = found["regularizer"](variables["W1"].value)
        gradients["W1"] += tape.gradient(cost, variables["W1"].value)
    optimizer = found.get("optimizer", keras.optimizers.SGD(RATE))
    optimizer.apply(list(gradients.values()), list(variables.values()))
    return {name: variable.numpy() for name, variable in variables.items()}


STEPS = {"torch": by_torch, "jax": by_jax, "tf": by_keras}


@pytest.mark.parametrize(
    ("component", "to"),
    [pytest.param(*one, marks=pytest.mark.slow if one[1] == "tf" else ()) for one in CODE],
)
def test_every_form_makes_the_step_of_the_reference(component, to):
    wanted = Named(component, NUMBERS[component])
    found = of_formulation(wanted, to)
    assert found.outcome == EXACT
    made, right = STEPS[to](found.code, found.kind), expected(wanted)
    for name, value in right.items():
        np.testing.assert_allclose(made[name], value, rtol=1e-7 if to == "tf" else 1e-14)


@pytest.mark.parametrize(
    ("name", "to", "outcome", "within"),
    [
        ("keras.L2(0.01)", "torch", EXACT, '"weight_decay": 0.02}'),
        ("keras.regularizers.L2", "jax", EXACT, "optax.add_decayed_weights(0.02, mask=weights)"),
        ("keras.regularizers.L1L2(l1=0.3, l2=0.1)", "torch", OURS, "elastic_net(0.4, l1_ratio=0.7"),
        ("optax.add_decayed_weights(weight_decay=0.02)", "tf", EXACT, "keras.regularizers.L2(0.01)"),
        ("torch.nn.utils.clip_grad_value_(clip_value=0.5)", "jax", EXACT, "optax.clip(0.5)"),
        ("optax.clip_by_global_norm(0.5)", "torch", OURS, "clipping = clip_by_global_norm(0.5)"),
        ("tf.clip_by_norm(clip_norm=0.5)", "numpy", OURS, "from reference_numpy.regularizers import clip_by_norm"),
    ],
)
def test_a_penalty_is_had_with_the_factor_of_the_other_framework(name, to, outcome, within):
    found = translate(name, to=to, trial=object())
    assert (found.outcome, within in found.code) == (outcome, True), found.code


def test_our_own_code_runs_and_what_comes_near_is_told():
    found = translate("optax.clip_by_global_norm(0.5)", to="numpy", trial=object())
    assert run(found.code)["clipping"](G)["b1"].shape == (2,)
    found = translate("optax.clip_by_global_norm(0.5)", to="torch", trial=object())
    assert found.nearest == "torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)"
    assert found.apart == f"{DIVIDES}: where it clips, 2.0e-06 of a gradient away at most"


def test_pytorch_s_norm_is_refused_and_it_is_as_far_as_is_said():
    torch = pytest.importorskip("torch")
    found = translate("torch.nn.utils.clip_grad_norm_(max_norm=0.5)", to="jax", trial=object())
    assert (found.outcome, found.nearest) == (REFUSED, "clip_by_global_norm(limit=0.5)")
    w = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    w.grad = torch.tensor([0.3, 0.41], dtype=torch.float64)
    right = CLIPPINGS["clip_by_global_norm"](0.5)({"w": w.grad.numpy().copy()})["w"]
    torch.nn.utils.clip_grad_norm_([w], 0.5)
    apart = np.abs(w.grad.numpy() / right - 1).max()
    assert 1e-6 < apart < 2e-6


def test_the_course_s_convention_is_no_constant():
    found = of_formulation(Named("l2", {"strength": 0.3, "convention": "course"}), "torch")
    assert (found.outcome, found.notes) == (OURS, (COURSE,))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "keras.L2(l3=0.1)",
            "'l3' is no argument of keras.regularizers.L2 here: must be one of 'l2'; did you mean 'l2'",
        ),
        ("keras.L2(0.1, 0.2)", "keras.regularizers.L2 has 1 arguments here"),
        ("keras.L2(-0.1)", r"l2=-0.1 of keras.regularizers.L2 is not allowed: must be a number >= 0"),
        ("optax.clip", "max_delta of optax.clip is missing"),
    ],
)
def test_what_is_not_allowed_is_refused(name, said):
    with pytest.raises(ValueError, match=said):
        translate(name, to="torch", trial=object())


def test_every_source_is_found_by_the_end_of_its_name():
    for name in SOURCES:
        root, _, own = name.rpartition(".")
        assert regularizers.is_regularizer(f"{root.partition('.')[0]}.{own}(0.1)")
