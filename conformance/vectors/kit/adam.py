"""An answerer for checker.py: Adam as in algorithm 1 of its paper, in plain Python."""

from math import sqrt
from typing import Any


def answer(
    kind: str, component: str, keywords: dict[str, Any], inputs: dict[str, Any]
) -> dict[str, list[float]] | None:
    if kind != "optimizer" or component != "adam":
        return None  # not offered: nothing is said of it
    if keywords["epsilon_position"] != "outside_root" or keywords["amsgrad"] or keywords["weight_decay"]:
        return None
    one_step = "step" in inputs  # from a given state; else a run from the beginning, step after step
    first, rates = (inputs["step"], inputs["learning_rate"]) if one_step else (1, inputs["learning_rates"])
    found: dict[str, list[float]] = {}
    for path in [name for name in inputs if name.startswith("parameters/")]:
        name = path.split("/")[1]
        w, g = inputs[path]["decimal"], inputs[f"gradients/{name}"]["decimal"]
        size, after = len(w), []
        m = inputs[f"slots/first_moment/{name}"]["decimal"] if one_step else [0.0] * size
        v = inputs[f"slots/second_moment/{name}"]["decimal"] if one_step else [0.0] * size
        for number, rate in enumerate(rates["decimal"]):
            now = g[number * size : (number + 1) * size]
            steps = [adam(*each, first + number, rate, **keywords) for each in zip(w, m, v, now, strict=True)]
            w, m, v = map(list, zip(*steps, strict=True))
            after += w
        found |= {path: after, f"slots/first_moment/{name}": m, f"slots/second_moment/{name}": v}
    return found


def adam(
    w: float, m: float, v: float, g: float, t: int, rate: float, *, beta1: float, beta2: float, epsilon: float, **_: Any
) -> tuple[float, float, float]:
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    corrected_m, corrected_v = m / (1 - beta1**t), v / (1 - beta2**t)
    return w - rate * corrected_m / (sqrt(corrected_v) + epsilon), m, v
