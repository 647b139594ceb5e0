"""L-BFGS against independent parties on a convex cost: step by step PyTorch's, and the minimum that SciPy finds."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer

from conformance.recipes.dialects import dialect
from reference_numpy import models, regularizers, training
from reference_numpy.optimizers import OPTIMIZERS
from tests.training_settings import fit_with

torch = pytest.importorskip("torch")

STRENGTH = 1.0  # lambda: enough that the minimum is well inside, though the two classes can almost be separated
BUILTIN = dialect("torch", "LBFGS(max_iter=1)")


@pytest.fixture(scope="module")
def data():
    """569 examples of 30 standardised features ``(m, n)`` and labels ``(m, 1)``."""
    x, y = load_breast_cancer(return_X_y=True)
    return (x - x.mean(axis=0)) / x.std(axis=0), y[:, np.newaxis].astype(np.float64)


def cost_and_gradient(w, x, y):
    """The cost, written without the reference: ``mean(log(1 + exp(z)) - y z) + lambda/(2m) ||w||^2``, ``w[-1]`` = b."""
    m = len(x)
    z = x @ w[:-1] + w[-1]
    cost = np.mean(np.logaddexp(0, z) - y[:, 0] * z) + STRENGTH / (2 * m) * w[:-1] @ w[:-1]
    error = (1 / (1 + np.exp(-z)) - y[:, 0]) / m
    return cost, np.append(x.T @ error + STRENGTH / m * w[:-1], error.sum())


def hessian(w, x):
    m, z = len(x), x @ w[:-1] + w[-1]
    p = 1 / (1 + np.exp(-z))
    extended = np.column_stack([x, np.ones(m)])
    penalty = np.diag(np.append(np.full(x.shape[1], STRENGTH / m), 0.0))
    return (extended * (p * (1 - p))[:, np.newaxis]).T @ extended / m + penalty


def reference_path(gradient_of, start, *, steps, **keywords):
    """The parameter after each step, ``(steps, n)``."""
    optimizer = OPTIMIZERS[BUILTIN.optimizer](**(BUILTIN.keywords | keywords))
    parameters, path = {"w": start}, []
    state = optimizer.init(parameters)
    for _ in range(steps):
        parameters, state = optimizer.update({"w": gradient_of(parameters["w"])}, state, parameters)
        path.append(parameters["w"])
    return np.stack(path)


def torch_path(gradient_of, start, *, steps, **arguments):
    parameter, path = torch.nn.Parameter(torch.tensor(start)), []
    optimizer = torch.optim.LBFGS([parameter], max_iter=1, line_search_fn=None, **arguments)

    def closure():
        parameter.grad = torch.tensor(gradient_of(parameter.detach().numpy()))
        return torch.zeros(())  # without a line search the cost is not looked at

    for _ in range(steps):
        optimizer.step(closure)
        path.append(parameter.detach().numpy().copy())
    return np.stack(path)


def roundoff_spread(gradient_of, start, *, steps, **keywords):
    """How far one rounding of every gradient drives the reference by each step, ``(steps,)``: the largest of five.

    Each step is built from differences of parameters and of gradients, so what is lost in one grows in the next.
    """
    undisturbed = reference_path(gradient_of, start, steps=steps, **keywords)
    generator, spread = np.random.default_rng(0), np.zeros(steps)
    for _ in range(5):

        def rounded(w):
            return gradient_of(w) * (1 + 2.0**-53 * generator.choice([-1.0, 1.0], w.shape))

        path = reference_path(rounded, start, steps=steps, **keywords)
        spread = np.maximum(spread, np.abs(path - undisturbed).max(axis=1))
    return np.maximum.accumulate(spread)


STARTS = [np.zeros(31), np.random.default_rng(0).standard_normal(31)]


@pytest.mark.parametrize("start", STARTS, ids=["zeros", "normal"])
@pytest.mark.parametrize(("keywords", "arguments"), [({}, {}), ({"history": 3}, {"history_size": 3})])
def test_the_reference_takes_pytorchs_twenty_steps(data, start, keywords, arguments):
    """To four times what one rounding of the gradients does: each party rounds a few times where that is one."""

    def gradient_of(w):
        return cost_and_gradient(w, *data)[1]

    expected = torch_path(gradient_of, start, steps=20, **arguments)
    path = reference_path(gradient_of, start, steps=20, **keywords)
    spread = roundoff_spread(gradient_of, start, steps=20, **keywords)
    assert (np.abs(path - expected).max(axis=1) <= 4 * spread).all()
    assert spread.max() < 1e-12


@pytest.mark.parametrize("wrong", [{"first_step": "gradient"}, {"history": 5}])
def test_another_formulation_does_not_take_pytorchs_steps(data, wrong):
    def gradient_of(w):
        return cost_and_gradient(w, *data)[1]

    path = reference_path(gradient_of, STARTS[0], steps=20, **wrong)
    assert np.abs(path - torch_path(gradient_of, STARTS[0], steps=20)).max() > 1e-3


def test_pytorch_stands_still_where_the_slope_is_small_and_the_reference_goes_on(data):
    """The exception that the dialect's note makes: PyTorch's ``tolerance_change`` is 1e-9."""

    def gradient_of(w):
        return cost_and_gradient(w, *data)[1]

    stopped = torch_path(gradient_of, STARTS[0], steps=60)
    gone_on = reference_path(gradient_of, STARTS[0], steps=60)
    assert (stopped[-1] == stopped[-2]).all()
    assert np.abs(gradient_of(stopped[-1])).max() > 1e-7
    assert np.abs(gradient_of(gone_on[-1])).max() < 1e-13
    assert "tolerance_change" in BUILTIN.note


@pytest.mark.parametrize("keywords", [{}, BUILTIN.keywords], ids=["canonical", "pytorch"])
def test_a_full_batch_training_ends_at_the_minimum_that_scipy_finds(data, keywords):
    """Where the cost curves by at least ``mu``, a gradient ``g`` says that the minimum is within ``||g|| / mu``.

    ``mu``, the smallest eigenvalue of the Hessian, is taken at SciPy's minimum, so the bound is good to first order:
    twice it is allowed.
    """
    x, y = data
    found = minimize(
        cost_and_gradient, np.zeros(31), args=data, jac=True, method="L-BFGS-B", options={"ftol": 1e-16, "gtol": 1e-10}
    )
    model = models.logistic_regression(x.shape[1])
    history = fit_with(
        training, model, models.initialize(model, None, initializer="zeros"), x, y, loss="binary_cross_entropy",
        epochs=100, optimizer=OPTIMIZERS["lbfgs"](**keywords), penalties=(regularizers.l2(STRENGTH),),
    )  # fmt: skip
    w = np.append(history.parameters["W1"].ravel(), history.parameters["b1"])
    cost, gradient = cost_and_gradient(w, x, y)
    assert cost == pytest.approx(found.fun, rel=1e-9)
    assert history.costs[-1] == pytest.approx(cost, rel=1e-14)
    mu = np.linalg.eigvalsh(hessian(found.x, x))[0]
    within = 2 * (np.linalg.norm(gradient) + np.linalg.norm(found.jac)) / mu
    assert np.linalg.norm(w - found.x) <= within < 1e-5
    assert np.linalg.norm(w) > 1
