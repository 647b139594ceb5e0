"""The short published runs of optimizers, replayed: Keras's of five steps, and single steps of four sources."""

from reference_numpy import optimizers, regularizers

from .published import Case, float32, float64, load, printed, wrong_rate

# Keras: five steps with given gradients, and one ---------------------------------------------------------------------

# Its name for each optimizer: ours, the formulation and Keras's defaults, and what the run of five steps and the single
# step must refuse. Where a list is empty the numbers hold the rate alone.
KERAS = {
    "sgd": ("gradient_descent", {}, [], []),
    "adam": (
        "adam",
        {"epsilon": 1e-7, "epsilon_position": "before_correction"},
        [{"amsgrad": "uncorrected"}],
        [{"amsgrad": "uncorrected"}],
    ),
    "adamw": (
        "adamw",
        {"epsilon": 1e-7, "epsilon_position": "before_correction", "weight_decay": 0.004},
        [{"epsilon_position": "outside_root"}, {"epsilon_position": "inside_root"}, {"weight_decay": 0.004}],
        [{"decay_scale": "schedule_only"}, {"weight_decay": 0.01}],
    ),
    "adagrad": (
        "adagrad",
        {"epsilon": 1e-7, "epsilon_position": "inside_root", "initial_accumulator": 0.1},
        [{"initial_accumulator": 0.0}, {"initial_accumulator": 0.1}],
        [{"initial_accumulator": 0.0}],
    ),
    "rmsprop": (
        "rmsprop",
        {"beta": 0.9, "epsilon": 1e-7, "epsilon_position": "inside_root"},
        [{"epsilon_position": "outside_root"}, {"centered": False}, {"bias_correction": True}],
        [{"bias_correction": True}],
    ),
    "adamax": ("adamax", {"epsilon": 1e-7, "epsilon_position": "outside"}, [], []),
    "nadam": (
        "nadam",
        {"epsilon": 1e-7, "momentum_decay": 1.0},
        [{"momentum_decay": 0.004}, {"schedule": "constant"}],
        [{"momentum_decay": 0.004}, {"schedule": "constant"}],
    ),
    "adadelta": ("adadelta", {"rho": 0.95, "epsilon": 1e-7}, [{"epsilon": 1e-7}, {"rho": 0.95}], [{"rho": 0.9}]),
    "lion": ("lion", {}, [{"weight_decay": 0.1}], [{"weight_decay": 0.1}]),
}
KERAS_KEYWORDS = {"lr": "learning_rate", "eps": "epsilon", "initial_accumulator_value": "initial_accumulator"}
KERAS_TILED = slice(3, None)  # the components whose value the tiled numbers of Adam are


def keras_options(settings: dict) -> dict:
    """Our keywords for those of a published run, over the formulation and the defaults of Keras."""
    keywords = KERAS_KEYWORDS | ({"rho": "beta"} if settings["algorithm"] == "rmsprop" else {})
    options = {keywords.get(n, n): value for n, value in settings.items() if n not in ("algorithm", "note")}
    if settings["algorithm"] == "sgd":
        del options["momentum"], options["nesterov"]  # 0, without which Nesterov's form is the same
    if settings.get("amsgrad"):
        options["amsgrad"] = "raw_max"
    return KERAS[settings["algorithm"]][1] | options


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
        algorithm = case["hyper"]["algorithm"]
        optimizer, _, wrong, _ = KERAS[algorithm]
        components = KERAS_TILED if "KNOWN_BAD" in case else slice(None)
        expected = [row[components] for row in case["params_after_step"]]
        replay = keras_replay(case["x0"], case["grads_per_step"], components)
        allowances = [printed(row, case["printed_decimals"]) for row in expected]
        wrong = wrong or wrong_rate(case["hyper"]["lr"])
        options = keras_options(case["hyper"])
        yield Case(f"keras_trajectory_{algorithm}", optimizer, options, wrong, replay, expected, allowances)
    single = file["single_step"]
    for algorithm, expected in single["expected"].items():
        optimizer, options, _, wrong = KERAS[algorithm]
        options, wrong = options | {"learning_rate": single["lr"]}, wrong or wrong_rate(single["lr"])
        replay = keras_replay(single["x0"], [single["grad"]])
        yield Case(f"keras_step_{algorithm}", optimizer, options, wrong, replay, [expected], [printed(expected, 4)])
    yield from keras_decay_cases(file["decoupled_weight_decay"])


def keras_decay_cases(case: dict):
    """Decay with no gradient is the same in every optimizer that decouples it."""
    steps = keras_replay([case["x0"]], [[case["grad"]]] * case["steps"])
    options = {"learning_rate": case["lr"], "weight_decay": case["weight_decay"]}
    expected = [float64([case["expected"]])]

    def replay(optimizer, options):
        yield [*steps(optimizer, options)][-1]

    for optimizer in ("adamw", "lion"):
        name, wrong = f"keras_decoupled_weight_decay_{optimizer}", [{"weight_decay": 1.01 * case["weight_decay"]}]
        yield Case(name, optimizer, options, wrong, replay, expected, [*map(printed, expected)])


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
        if case["nodes"] == ["Adagrad"]:
            # At T = 0 its decay of the rate does nothing, and 1e-5 beside a root of 2 is beyond float32.
            optimizer, slots, wrong = "adagrad", {"square_sum": "H"}, wrong_rate(options["learning_rate"])
            options["epsilon"] = settings["epsilon"]
        elif case["nodes"] == ["Adam"]:
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
