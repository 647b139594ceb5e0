"""The optimizers against numbers that other projects published; README.md names them, each JSON file its source.

Every case is replayed in float64 with the formulation its source states, and held to the digits the source printed.
A case also carries formulations that are *not* its source's: one of those that agreed as well would show that the
numbers decide nothing.
"""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from reference_numpy import activations, models, optimizers, regularizers, schedules

FLOAT32, FLOAT64 = np.finfo(np.float32).eps, np.finfo(np.float64).eps
ROUNDINGS = 8  # of float64, beside the rounding of a printed number
PYTORCH_PRECISION = 7e-13  # all 16 digits are printed, and 1001 steps of rounding separate two correct replays


class Case(NamedTuple):
    """One published run of an optimizer, as rows in the order in which it was printed."""

    name: str
    optimizer: str
    options: dict  # of the right formulation
    wrong: list  # changes to `options` that the numbers must refuse
    replay: Callable[[optimizers.Optimizer, dict], Iterator[np.ndarray]]
    expected: list
    allowances: list

    def deviations(self, change: dict | None = None) -> Iterator[float]:
        """Worst deviation of each row in units of its allowance, as far as it is asked for."""
        options = self.options | (change or {})
        rows = self.replay(optimizers.OPTIMIZERS[self.optimizer](**options), options)
        for row, expected, allowance in zip(rows, self.expected, self.allowances, strict=True):
            yield float(np.max(np.abs(row - expected) / allowance))


def load(name: str) -> dict:
    return json.loads((Path(__file__).parent / f"{name}.json").read_text())


def flat(arrays) -> np.ndarray:
    """All numbers of arrays, lists or a dict of them, one after the other."""
    arrays = arrays.values() if isinstance(arrays, dict) else arrays
    return np.concatenate([np.ravel(np.asarray(a, float)) for a in arrays])


def printed(published, decimals: int | None = None) -> float:
    """Half a unit of the last decimal that was printed in an array, and the roundings of a replay."""
    values = np.ravel(published).tolist()
    if decimals is None:
        decimals = max(-Decimal(repr(value)).as_tuple().exponent for value in values)
    return 0.5 * 10.0**-decimals + ROUNDINGS * FLOAT64 * max(map(abs, values))


def float32(published) -> np.ndarray:
    """Two units of float32, in which the source computed; exact where the source has a zero."""
    return np.maximum(2 * FLOAT32 * np.abs(published), np.finfo(np.float32).tiny)


def float64(values) -> np.ndarray:
    return np.array(values, np.float64)


def wrong_rate(rate: float) -> list:
    """Gradient descent has one formulation; one percent shows that the numbers hold it."""
    return [{"learning_rate": 1.01 * rate}]


# Torch7: a path of 100 steps over a function of two variables -------------------------------------------------------


def rosenbrock_gradient(w: np.ndarray, *, factor: float) -> np.ndarray:
    x, y = w
    return np.array([-400 * x * (y - x**2) - 2 * (1 - x), 200 * factor * (y - x**2)])


def torch7_replay(settings: dict, steps: int, *, true_gradient: bool = False):
    """With a look-ahead ("nag") the reference's ``w`` is the point looked at, and Torch7 prints the one it left."""
    penalty = regularizers.l2(settings.get("weightDecay", 0), convention="half")

    def replay(optimizer, options):
        rate = schedules.inverse_time(optimizer.learning_rate, decay_rate=settings.get("learningRateDecay", 0))
        parameters = {"w": np.array([1.5, 1.5])}
        state = optimizer.init(parameters)
        for t in range(steps):
            w = parameters["w"]
            # The published gradient has a factor x too many in its second component.
            gradient = rosenbrock_gradient(w, factor=1.0 if true_gradient else w[0]) + penalty.gradient(w, 1)
            parameters, state = optimizer.update({"w": gradient}, state, parameters, learning_rate=rate(t))
            ahead = 0.0
            if settings["algorithm"] == "nag":
                scale = 1.0 if options["learning_rate_position"] == "inside" else rate(t)
                ahead = settings["momentum"] * scale * state.slots["velocity"]["w"]
            yield parameters["w"] + ahead

    return replay


def torch7_formulation(settings: dict):
    rate = {"learning_rate": settings["learningRate"]}
    match settings["algorithm"]:
        case "adam":
            options = rate | {n: settings[n] for n in ("beta1", "beta2", "epsilon")}
            options["epsilon_position"] = "before_correction"
            wrong = [{"epsilon_position": "outside_root"}, {"epsilon_position": "inside_root"}]
            return "adam", options, [*wrong, {"amsgrad": "uncorrected"}]
        case "rmsprop":
            options = rate | {"beta": settings["alpha"], "epsilon": settings["epsilon"], "initial_square": 1.0}
            return "rmsprop", options, [{"initial_square": 0.0}, {"epsilon_position": "inside_root"}]
        case "nag":
            options = rate | {"beta": settings["momentum"], "accumulation": "sum", "nesterov": True}
            wrong = [{"accumulation": "average"}, {"nesterov": False}]
            if settings["learningRateDecay"]:
                wrong.append({"learning_rate_position": "outside"})  # the same method while the rate is constant
            return "momentum", options | {"learning_rate_position": "inside"}, wrong
        case "sgd" if settings["momentum"]:
            options = rate | {"beta": settings["momentum"], "accumulation": "sum", "nesterov": settings["nesterov"]}
            return "momentum", options, [{"accumulation": "average"}, {"nesterov": not settings["nesterov"]}]
    return "gradient_descent", rate, wrong_rate(settings["learningRate"])


def torch7_cases():
    file = load("torch7_lua_rosenbrock")
    for index, case in enumerate(file["cases"]):
        settings = file["defaults"][case["algorithm"]] | case["config"] | {"algorithm": case["algorithm"]}
        trajectory = case["trajectory"]
        allowances = [printed(point, file["problem"]["printed_decimals"]) for point in trajectory]
        name = f"torch7_{index}_{case['algorithm']}"
        yield Case(
            name, *torch7_formulation(settings), torch7_replay(settings, len(trajectory)), trajectory, allowances
        )


# PyTorch: a 2-3-1 network of sigmoids, 1001 steps -------------------------------------------------------------------

PYTORCH_SHAPES = {"W1": (3, 2), "b1": (3,), "W2": (1, 3), "b2": (1,)}
PYTORCH_SENSITIVE = "pytorch_2020_RMSprop_with_weight_decay"


def pytorch_replay(problem: dict, weight_decay: float, *, start: np.ndarray | None = None):
    """The cost is the plain sum of the outputs. PyTorch's weight decay takes the biases too."""
    model = models.deep_network((2, 3, 1), activation="sigmoid")
    x = float64(problem["inputs"])
    penalty = regularizers.l2(weight_decay, convention="half")
    start = flat(problem["initial_params_recovered"]) if start is None else start

    def replay(optimizer, options):
        ends = np.cumsum([np.prod(shape) for shape in PYTORCH_SHAPES.values()])[:-1]
        arrays = np.split(start, ends)
        parameters = {n: a.reshape(s) for (n, s), a in zip(PYTORCH_SHAPES.items(), arrays, strict=True)}
        state = optimizer.init(parameters)
        for t in range(1, problem["sampled_after_steps"][-1] + 1):
            z, values = model.forward(parameters, x)
            a = activations.sigmoid(z)
            gradients = model.backward(parameters, values, activations.sigmoid_backward(1.0, z, a))
            gradients = {n: g + penalty.gradient(parameters[n], len(x)) for n, g in gradients.items()}
            parameters, state = optimizer.update(gradients, state, parameters)
            if t in problem["sampled_after_steps"]:
                yield flat(parameters)

    return replay


def pytorch_formulation(settings: dict, adam_form: str | None):
    options = {"learning_rate": settings["lr"]}
    match settings["algorithm"]:
        case "adam":
            position = {"adam_2020": "outside_root", "adam_2018": "before_correction"}[adam_form]
            amsgrad = "raw_max" if settings.get("amsgrad") else None
            positions = {"outside_root", "inside_root", "before_correction"} - {position}
            forms = {None, "corrected_max", "uncorrected"} if amsgrad else {"uncorrected"}
            wrong = [{"epsilon_position": p} for p in sorted(positions)] + [
                {"amsgrad": f} for f in sorted(forms, key=str)
            ]
            return "adam", options | {"epsilon_position": position, "amsgrad": amsgrad}, wrong
        case "rmsprop":
            options |= {"beta": 0.99, "momentum": settings.get("momentum", 0.0)}
            options["centered"] = settings.get("centered", False)
            wrong = [{"epsilon_position": "inside_root"}, {"centered": not options["centered"]}]
            return "rmsprop", options, [*wrong, {"bias_correction": True}, {"initial_square": 1.0}]
        case "sgd" if "momentum" in settings:
            options |= {"beta": settings["momentum"], "accumulation": "sum"}
            options["nesterov"] = settings.get("nesterov", False)
            return "momentum", options, [{"accumulation": "average"}, {"nesterov": not options["nesterov"]}]
    return "gradient_descent", options, wrong_rate(settings["lr"])


def pytorch_cases():
    file = load("pytorch_cpp_optim_baseline")
    for year, key in (("2020", "cases_2020"), ("2018", "cases_2018_adam_only")):
        for case in file[key]:
            replay = pytorch_replay(file["problem"], case["hyper"].get("weight_decay", 0.0))
            samples = [flat(sample) for sample in case["samples"]]
            formulation = pytorch_formulation(case["hyper"], case["adam_form"])
            allowances = [PYTORCH_PRECISION] * len(samples)
            yield Case(f"pytorch_{year}_{case['name']}", *formulation, replay, samples, allowances)


# Keras: five steps with given gradients, and one ---------------------------------------------------------------------

KERAS_WRONG = {
    "adam": [{"amsgrad": "uncorrected"}],
    "rmsprop": [{"epsilon_position": "outside_root"}, {"centered": False}, {"bias_correction": True}],
}
KERAS_TILED = slice(3, None)  # the components whose value the tiled numbers of Adam are


def keras_formulation(algorithm: str, settings: dict):
    if algorithm == "adam":
        amsgrad = "raw_max" if settings.get("amsgrad") else None
        return "adam", {"epsilon": 1e-7, "epsilon_position": "before_correction", "amsgrad": amsgrad}
    if algorithm == "rmsprop":
        centered = settings.get("centered", False)
        return "rmsprop", {"epsilon": 1e-7, "epsilon_position": "inside_root", "centered": centered}
    return "gradient_descent", {}


def keras_replay(start, gradients, components=slice(None)):
    def replay(optimizer, options):
        parameters = {"w": float64(start)}
        state = optimizer.init(parameters)
        for gradient in gradients:
            parameters, state = optimizer.update({"w": float64(gradient)}, state, parameters)
            yield parameters["w"][components]

    return replay


def keras_cases():
    file = load("keras3_optimizer_goldens")
    for case in file["trajectories"]:
        optimizer, options = keras_formulation(case["hyper"]["algorithm"], case["hyper"])
        options["learning_rate"] = case["hyper"]["lr"]
        components = KERAS_TILED if "KNOWN_BAD" in case else slice(None)
        expected = [row[components] for row in case["params_after_step"]]
        replay = keras_replay(case["x0"], case["grads_per_step"], components)
        allowances = [printed(row, case["printed_decimals"]) for row in expected]
        name = f"keras_trajectory_{case['hyper']['algorithm']}"
        wrong = KERAS_WRONG.get(optimizer) or wrong_rate(case["hyper"]["lr"])
        yield Case(name, optimizer, options, wrong, replay, expected, allowances)
    single = file["single_step"]
    for algorithm, expected in single["expected"].items():
        optimizer, options = keras_formulation(algorithm, {})
        options["learning_rate"] = single["lr"]
        wrong = [{"amsgrad": "uncorrected"}] if optimizer == "adam" else [{"bias_correction": True}]
        wrong = wrong_rate(single["lr"]) if optimizer == "gradient_descent" else wrong
        replay = keras_replay(single["x0"], [single["grad"]])
        yield Case(f"keras_step_{algorithm}", optimizer, options, wrong, replay, [expected], [printed(expected, 4)])


# ONNX, CS231n and the course: one step from a given state ------------------------------------------------------------


def step_replay(parameters: dict, gradients: dict, slots: dict, *, step: int = 1, negated: tuple = ()):
    """Parameters, then the slots named, after step number ``step``; slots not given keep their initial values."""

    def replay(optimizer, options):
        state = optimizer.init(parameters)
        given = {slot: arrays for slot, arrays in slots.items() if arrays is not None and slot in state.slots}
        state = optimizers.OptimizerState(step - 1, state.slots | given)
        after, state = optimizer.update(gradients, state, parameters)
        for array in after.values():
            yield array
        for slot in slots:
            for array in state.slots[slot].values():
                yield -array if slot in negated else array

    return replay


def onnx_arrays(entries: dict, prefix: str) -> dict:
    """Arrays whose names begin with ``prefix``, by what follows: ``X1`` and ``X1_new`` are both parameter ``1``."""
    found = {n: e for n, e in entries.items() if n.startswith(prefix)}
    return {n[len(prefix) :].removesuffix("_new"): float64(e["data"]).reshape(e["shape"]) for n, e in found.items()}


def onnx_training_cases():
    for case in load("onnx_preview_training")["cases"]:
        inputs, outputs, settings = case["inputs"], case["outputs"], case["attributes"]
        parameters, gradients = onnx_arrays(inputs, "X"), onnx_arrays(inputs, "G")
        penalty = regularizers.l2(settings["norm_coefficient"], convention="half")
        gradients = {n: g + penalty.gradient(parameters[n], 1) for n, g in gradients.items()}
        options = {"learning_rate": inputs["R"]["data"][0]}
        if case["nodes"] == ["Adam"]:
            # At T = 0 ONNX corrects no bias: AMSGrad's own form, whose maximum after one step from 0 is v itself.
            optimizer, slots = "adam", {"first_moment": "V", "second_moment": "H"}
            options |= {"beta1": settings["alpha"], "beta2": settings["beta"], "epsilon": settings["epsilon"]}
            options["amsgrad"] = "uncorrected"
            wrong = [{"amsgrad": None}]
            if settings["epsilon"] > 1e-4:  # 1e-7 beside a root of 0.9 is beyond float32
                wrong.append({"epsilon_position": "inside_root"})
        else:
            optimizer, slots = "momentum", {"velocity": "V"}
            options |= {"beta": settings["alpha"], "accumulation": "sum", "nesterov": settings["mode"] == "nesterov"}
            wrong = [{"accumulation": "average"}, {"nesterov": not options["nesterov"]}]
        # test_momentum_multiple names its velocities H where its sibling has V.
        state = {slot: onnx_arrays(inputs, name) or onnx_arrays(inputs, "H") for slot, name in slots.items()}
        replay = step_replay(parameters, gradients, state)
        expected = [a for name in ("X", *slots.values()) for a in onnx_arrays(outputs, name).values()]
        yield Case(f"onnx_{case['test']}", optimizer, options, wrong, replay, expected, [*map(float32, expected)])


CS231N = {  # optimizer, keywords by their published names, slots by theirs, wrong formulations
    "momentum": (
        {"momentum": "beta"},
        {"accumulation": "sum", "learning_rate_position": "inside"},
        {"velocity": "velocity"},
        [{"accumulation": "average"}, {"nesterov": True}, {"learning_rate_position": "outside"}],
    ),
    "rmsprop": (
        {"decay": "beta", "eps": "epsilon"},
        {"epsilon_position": "outside_root"},
        {"square_average": "cache"},
        [{"bias_correction": True}, {"centered": True}],
    ),
    "adam": (
        {"beta1": "beta1", "beta2": "beta2", "eps": "epsilon"},
        {"epsilon_position": "outside_root"},
        {"first_moment": "m", "second_moment": "v"},
        [{"amsgrad": "uncorrected"}],
    ),
}


def cs231n_cases():
    for case in load("cs231n")["cases"]:
        if case["alg"] not in CS231N:
            continue
        keywords, options, slots, wrong = CS231N[case["alg"]]
        options = options | {keywords.get(n, "learning_rate"): value for n, value in case["hyper"].items()}
        negated = ("velocity",) if case["alg"] == "momentum" else ()  # its velocity is added to w
        state = {slot: {"w": float64(case[n]) * (-1 if slot in negated else 1)} for slot, n in slots.items()}
        w, dw = {"w": float64(case["w"])}, {"w": float64(case["dw"])}
        replay = step_replay(w, dw, state, step=case.get("t", 1), negated=negated)
        expected = [float64(case[f"next_{n}"]) for n in ("w", *slots.values())]
        yield Case(f"cs231n_{case['alg']}", case["alg"], options, wrong, replay, expected, [*map(printed, expected)])


COURSE = {"sgd": "gradient_descent", "momentum_ema": "momentum", "adam": "adam"}
COURSE_KEYWORDS = {"lr": "learning_rate", "eps": "epsilon"}


def course_case(name: str, case: dict, expected: dict, formulation: dict, wrong: list) -> Case:
    parameters = {n: float64(w) for n, w in case["params"].items()}
    gradients = {n.removeprefix("d"): float64(g) for n, g in case["grads"].items()}
    options = {COURSE_KEYWORDS.get(n, n): value for n, value in case["hyper"].items()} | formulation
    slots = {"velocity": None} if "v_dW1" in expected and case["alg"] == "momentum_ema" else {}
    replay = step_replay(parameters, gradients, slots, step=case.get("t", 1))
    rows = [float64(array) for array in expected.values()]
    return Case(name, COURSE[case["alg"]], options, wrong, replay, rows, [*map(printed, rows)])


def course_cases():
    descent, averaged, adam = load("coursera_dlai")["cases"][:3]
    yield course_case("course_gradient_descent", descent, descent["expected"], {}, wrong_rate(0.01))
    wrong = [{"accumulation": "sum"}, {"bias_correction": True}, {"nesterov": True}]
    yield course_case("course_momentum", averaged, averaged["expected"], {"accumulation": "average"}, wrong)
    inside, outside = {"epsilon_position": "inside_root"}, {"epsilon_position": "outside_root"}
    none = {"amsgrad": "uncorrected"}
    yield course_case("course_adam_inside", adam, adam["expected_eps_INSIDE_sqrt"], inside, [outside, none])
    yield course_case("course_adam_outside", adam, adam["expected_eps_OUTSIDE_sqrt"], outside, [inside, none])


# The optimizers, by all of these ------------------------------------------------------------------------------------

SOURCES = (torch7_cases, pytorch_cases, keras_cases, onnx_training_cases, cs231n_cases, course_cases)
CASES = {case.name: case for cases in SOURCES for case in cases()}
WRONG = [
    pytest.param(case, change, id="-".join([case.name, *(f"{keyword}={value}" for keyword, value in change.items())]))
    for case in CASES.values()
    for change in case.wrong
]


@pytest.mark.parametrize("name", [name for name in CASES if name != PYTORCH_SENSITIVE])
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
    case, problem = CASES[PYTORCH_SENSITIVE], load("pytorch_cpp_optim_baseline")["problem"]
    start = flat(problem["initial_params_recovered"])
    optimizer = optimizers.OPTIMIZERS[case.optimizer](**case.options)
    rows = [*case.replay(optimizer, case.options)]
    moved = [*pytorch_replay(problem, 0.01, start=np.nextafter(start, np.inf))(optimizer, case.options)]
    for row, other, expected in zip(rows, moved, case.expected, strict=True):
        assert np.abs(row - expected).max() <= max(PYTORCH_PRECISION, np.abs(row - other).max())


def test_the_recovered_start_of_the_pytorch_runs_rounds_to_the_one_upstream_prints():
    problem = load("pytorch_cpp_optim_baseline")["problem"]
    rounded = flat(problem["initial_params_rounded_upstream"])
    assert np.array_equal(flat(problem["initial_params_recovered"]).round(4), rounded)


@pytest.mark.parametrize("case", [*torch7_cases()], ids=lambda case: case.name)
def test_the_torch7_paths_refuse_the_true_gradient_of_the_rosenbrock_function(case):
    """They were recorded with a factor x too many in dy, which upstream mended in its scripts a year later."""
    file = load("torch7_lua_rosenbrock")
    published = file["cases"][int(case.name.split("_")[1])]
    settings = file["defaults"][published["algorithm"]] | published["config"] | {"algorithm": published["algorithm"]}
    replay = torch7_replay(settings, len(case.expected), true_gradient=True)
    assert not all(deviation <= 1 for deviation in case._replace(replay=replay).deviations())


def test_the_tiled_numbers_of_keras_adam_are_rejected_where_they_are_copies_of_another_component():
    """One column stands for all ten components: right to its digits for seven, 1.3e-4 off for the first three."""
    (case,) = (c for c in load("keras3_optimizer_goldens")["trajectories"] if "KNOWN_BAD" in c)
    published = float64(case["params_after_step"])
    _, options = keras_formulation("adam", case["hyper"])
    rows = keras_replay(case["x0"], case["grads_per_step"])(optimizers.adam(0.001, **options), options)
    deviations = np.abs(float64([*rows]) - published).max(axis=0)
    assert (published == published[:, :1]).all()
    assert (deviations[KERAS_TILED] <= printed(published, 4)).all()
    assert (deviations[: KERAS_TILED.start] > printed(published, 4)).all()
    assert deviations.max() == pytest.approx(1.32e-4, rel=0.01)  # inside upstream's own 5e-4


def test_the_circulating_adam_answer_with_two_faults_is_rejected_and_the_faults_are_named():
    """Its moments are right; it divides the first by 1 - beta1 in place of 1 - beta1^t, and subtracts epsilon."""
    case = load("coursera_dlai")["cases"][2]
    bad, hyper = case["KNOWN_BAD"]["expected"], case["hyper"]
    rejected = course_case("rejected", case, {n: bad[n] for n in case["params"]}, {}, [])
    assert max(rejected.deviations()) > 1e6
    for name, w in case["params"].items():
        g = float64(case["grads"][f"d{name}"])
        m, v = (1 - hyper["beta1"]) * g, (1 - hyper["beta2"]) * g * g
        m_hat, v_hat = m / (1 - hyper["beta1"]), v / (1 - hyper["beta2"] ** case["t"])
        faulty = float64(w) - hyper["lr"] * m_hat / (np.sqrt(v_hat) - hyper["eps"])
        assert np.abs(m - bad[f"v_d{name}"]).max() <= printed(bad[f"v_d{name}"])
        assert np.abs(faulty - bad[name]).max() <= printed(bad[name])
