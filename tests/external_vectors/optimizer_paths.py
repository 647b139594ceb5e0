"""The long published runs of optimizers, replayed: Torch7's of 100 steps, PyTorch's of 1001."""

import numpy as np

from reference_numpy import activations, models, regularizers, schedules

from .published import Case, flat, float64, load, printed, wrong_rate

PYTORCH_PRECISION = 7e-13  # all 16 digits are printed, and 1001 steps of rounding separate two correct replays

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
    rate = {"learning_rate": settings.get("learningRate", 1.0)}  # Adadelta has none
    match settings["algorithm"]:
        case "adam":
            options = rate | {n: settings[n] for n in ("beta1", "beta2", "epsilon")}
            options["epsilon_position"] = "before_correction"
            wrong = [{"epsilon_position": "outside_root"}, {"epsilon_position": "inside_root"}]
            return "adam", options, [*wrong, {"amsgrad": "uncorrected"}]
        case "rmsprop":
            options = rate | {"beta": settings["alpha"], "epsilon": settings["epsilon"], "initial_square": 1.0}
            return "rmsprop", options, [{"initial_square": 0.0}, {"epsilon_position": "inside_root"}]
        case "adagrad":
            return "adagrad", rate | {"epsilon": settings["eps"]}, [{"initial_accumulator": 0.1}]
        case "adadelta":
            options = rate | {"rho": settings["rho"], "epsilon": settings["eps"]}
            return "adadelta", options, [*wrong_rate(1.0), {"epsilon": 0.1 * settings["eps"]}]
        case "adamax":
            options = rate | {n: settings[n] for n in ("beta1", "beta2", "epsilon")}
            return "adamax", options, wrong_rate(settings["learningRate"])  # 1e-38 has no place that shows
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


def pytorch_replay(problem: dict, weight_decay: float, *, rate_decay: float = 0.0, start: np.ndarray | None = None):
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
        rate = schedules.inverse_time(optimizer.learning_rate, decay_rate=rate_decay)
        for t in range(1, problem["sampled_after_steps"][-1] + 1):
            z, values = model.forward(parameters, x)
            a = activations.sigmoid(z)
            gradients = model.backward(parameters, values, activations.sigmoid_backward(1.0, z, a))
            gradients = {n: g + penalty.gradient(parameters[n], len(x)) for n, g in gradients.items()}
            parameters, state = optimizer.update(gradients, state, parameters, learning_rate=rate(t - 1))
            if t in problem["sampled_after_steps"]:
                yield flat(parameters)

    return replay


def pytorch_formulation(settings: dict, adam_form: str | None):
    options = {"learning_rate": settings["lr"]}
    match settings["algorithm"]:
        case "adam" | "adamw" as name:
            position = {"adam_2020": "outside_root", "adam_2018": "before_correction"}[adam_form]
            amsgrad = "raw_max" if settings.get("amsgrad") else None
            positions = {"outside_root", "inside_root", "before_correction"} - {position}
            forms = {None, "corrected_max", "uncorrected"} if amsgrad else {"uncorrected"}
            wrong = [{"epsilon_position": p} for p in sorted(positions)] + [
                {"amsgrad": f} for f in sorted(forms, key=str)
            ]
            options |= {"epsilon_position": position, "amsgrad": amsgrad}
            if name == "adamw":
                options["weight_decay"] = settings["weight_decay"]
                wrong.append({"weight_decay": 0.01 - settings["weight_decay"]})
            return name, options, wrong
        case "adagrad":
            wrong = [{"initial_accumulator": 0.1}, {"epsilon_position": "inside_root"}]
            return "adagrad", options | {"epsilon": 1e-10}, wrong
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
            hyper = case["hyper"]
            coupled = 0.0 if hyper["algorithm"] == "adamw" else hyper.get("weight_decay", 0.0)
            replay = pytorch_replay(file["problem"], coupled, rate_decay=hyper.get("lr_decay", 0.0))
            samples = [flat(sample) for sample in case["samples"]]
            formulation = pytorch_formulation(case["hyper"], case["adam_form"])
            allowances = [PYTORCH_PRECISION] * len(samples)
            yield Case(f"pytorch_{year}_{case['name']}", *formulation, replay, samples, allowances)
