"""The optimizers against numbers that other projects published; README.md names them, each JSON file its source.

Every case is replayed in float64 with the formulation its source states, and held to the digits the source printed.
A case also carries formulations that are *not* its source's: one of those that agreed as well would show that the
numbers decide nothing.
"""

import numpy as np
import pytest

from reference_numpy import optimizers

from . import optimizer_paths as paths
from . import optimizer_steps as steps
from .published import flat, float64, load, printed

SOURCES = (
    paths.torch7_cases,
    paths.pytorch_cases,
    steps.keras_cases,
    steps.onnx_training_cases,
    steps.cs231n_cases,
    steps.course_cases,
)
CASES = {case.name: case for cases in SOURCES for case in cases()}
WRONG = [
    pytest.param(case, change, id="-".join([case.name, *(f"{keyword}={value}" for keyword, value in change.items())]))
    for case in CASES.values()
    for change in case.wrong
]


@pytest.mark.parametrize("name", [name for name in CASES if name != paths.PYTORCH_SENSITIVE])
def test_an_optimizer_reproduces_the_published_numbers_to_their_last_digit(name):
    beyond = {row: deviation for row, deviation in enumerate(CASES[name].deviations()) if not deviation <= 1}
    assert not beyond, f"{name}: deviations by row printed, in units of what its digits allow: {beyond}"


@pytest.mark.parametrize(("case", "change"), WRONG)
def test_the_published_numbers_refuse_another_formulation(case, change):
    assert not all(deviation <= 1 for deviation in case.deviations(change))


@pytest.mark.parametrize("name", CASES)
def test_every_published_run_refuses_at_least_one_other_formulation(name):
    assert CASES[name].wrong


def test_the_run_that_amplifies_rounding_agrees_within_what_one_rounding_of_its_start_does():
    """Weight decay brings its gradient to 0, and RMSprop divides that by its own size: 1e-16 becomes 1e-12."""
    case, problem = CASES[paths.PYTORCH_SENSITIVE], load("pytorch_cpp_optim_baseline")["problem"]
    start = flat(problem["initial_params_recovered"])
    optimizer = optimizers.OPTIMIZERS[case.optimizer](**case.options)
    rows = [*case.replay(optimizer, case.options)]
    moved = [*paths.pytorch_replay(problem, 0.01, start=np.nextafter(start, np.inf))(optimizer, case.options)]
    for row, other, expected in zip(rows, moved, case.expected, strict=True):
        assert np.abs(row - expected).max() <= max(paths.PYTORCH_PRECISION, np.abs(row - other).max())


def test_the_recovered_start_of_the_pytorch_runs_rounds_to_the_one_upstream_prints():
    problem = load("pytorch_cpp_optim_baseline")["problem"]
    rounded = flat(problem["initial_params_rounded_upstream"])
    assert np.array_equal(flat(problem["initial_params_recovered"]).round(4), rounded)


@pytest.mark.parametrize("case", [*paths.torch7_cases()], ids=lambda case: case.name)
def test_the_torch7_paths_refuse_the_true_gradient_of_the_rosenbrock_function(case):
    """They were recorded with a factor x too many in dy, which upstream mended in its scripts a year later."""
    file = load("torch7_lua_rosenbrock")
    published = file["cases"][int(case.name.split("_")[1])]
    settings = file["defaults"][published["algorithm"]] | published["config"] | {"algorithm": published["algorithm"]}
    replay = paths.torch7_replay(settings, len(case.expected), true_gradient=True)
    assert not all(deviation <= 1 for deviation in case._replace(replay=replay).deviations())


def test_the_tiled_numbers_of_keras_adam_are_rejected_where_they_are_copies_of_another_component():
    """One column stands for all ten components: right to its digits for seven, 1.3e-4 off for the first three."""
    (case,) = (c for c in load("keras3_optimizer_goldens")["trajectories"] if "KNOWN_BAD" in c)
    published = float64(case["params_after_step"])
    options = steps.keras_options(case["hyper"])
    rows = steps.keras_replay(case["x0"], case["grads_per_step"])(optimizers.adam(**options), options)
    deviations = np.abs(float64([*rows]) - published).max(axis=0)
    assert (published == published[:, :1]).all()
    assert (deviations[steps.KERAS_TILED] <= printed(published, 4)).all()
    assert (deviations[: steps.KERAS_TILED.start] > printed(published, 4)).all()
    assert deviations.max() == pytest.approx(1.32e-4, rel=0.01)  # inside upstream's own 5e-4


def test_the_circulating_adam_answer_with_two_faults_is_rejected_and_the_faults_are_named():
    """Its moments are right; it divides the first by 1 - beta1 in place of 1 - beta1^t, and subtracts epsilon."""
    case = load("coursera_dlai")["cases"][2]
    bad, hyper = case["KNOWN_BAD"]["expected"], case["hyper"]
    rejected = steps.course_case("rejected", case, {n: bad[n] for n in case["params"]}, {}, [])
    assert max(rejected.deviations()) > 1e6
    for name, w in case["params"].items():
        g = float64(case["grads"][f"d{name}"])
        m, v = (1 - hyper["beta1"]) * g, (1 - hyper["beta2"]) * g * g
        m_hat, v_hat = m / (1 - hyper["beta1"]), v / (1 - hyper["beta2"] ** case["t"])
        faulty = float64(w) - hyper["lr"] * m_hat / (np.sqrt(v_hat) - hyper["eps"])
        assert np.abs(m - bad[f"v_d{name}"]).max() <= printed(bad[f"v_d{name}"])
        for square, published in zip(v.ravel(), np.ravel(bad[f"s_d{name}"]), strict=True):  # nine digits each
            assert np.abs(square - published) <= printed(published)
        assert np.abs(faulty - bad[name]).max() <= printed(bad[name])
