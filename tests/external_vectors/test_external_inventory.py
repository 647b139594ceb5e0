"""Every vector of the sources, by name: inventory.json says that it is carried, rejected by a test, or why left out.

A rejected one is carried too, to be refused: all of it or, of Keras's Adam, the components that are wrong.
"""

import json
from pathlib import Path

import pytest

from reference_numpy import activations, losses, normalization, optimizers, regularizers, schedules

from . import test_external_losses as losses_tests
from . import test_external_optimizers as optimizer_tests
from .published import load

INVENTORY = load("inventory")
STATUSES = [(vector, status) for entries in INVENTORY.values() for vector, status in entries.items()]


def by_settings(name: str, settings: dict) -> str:
    return " ".join([name, *(f"{keyword}={json.dumps(value)}" for keyword, value in settings.items())])


def keras_vectors(file: dict) -> list[str]:
    names = [f"trajectory {case['hyper']['algorithm']}" for case in file["trajectories"]]
    names += [f"single_step {algorithm}" for algorithm in file["single_step"]["expected"]]
    names += ["decoupled_weight_decay expected"] if "expected" in file["decoupled_weight_decay"] else []
    return names + [f"clip {field}" for field in ("expected", "expected_value") if field in file["clip"]]


def course_vectors(file: dict) -> list[str]:
    fields = [
        (case["alg"], field) for case in file["cases"] for field in case if field.startswith(("expected", "KNOWN_BAD"))
    ]
    return [f"{algorithm} {field}" for algorithm, field in fields]


CS231N_RESULTS = ("next_", "out", "scores", "loss_")

PUBLISHED = {  # how many vectors each collection of them holds
    "torch7_lua_rosenbrock": 16,
    "pytorch_cpp_optim_baseline": 17 + 3,
    "keras3_optimizer_goldens": 9 + 9 + 1 + 2,
    "onnx_preview_training": 7,
    "onnx_node_nn": 29,
    "cs231n": 13,
    "coursera_dlai": 10,
    "losses": 17,
}
RUNS = [
    ("torch7_lua_rosenbrock", "torch7_"),
    ("pytorch_cpp_optim_baseline", "pytorch_"),
    ("keras3_optimizer_goldens", "keras_"),
    ("onnx_preview_training", "onnx_"),
]

VECTORS = {  # names of what a data file carries
    "torch7_lua_rosenbrock": lambda file: [by_settings(c["algorithm"], c["config"]) for c in file["cases"]],
    "pytorch_cpp_optim_baseline": lambda file: [
        f"{year} {case['name']}"
        for year, key in ((2020, "cases_2020"), (2018, "cases_2018_adam_only"))
        for case in file[key]
    ],
    "keras3_optimizer_goldens": keras_vectors,
    "onnx_preview_training": lambda file: [case["test"] for case in file["cases"]],
    "onnx_node_nn": lambda file: [case["test"] for case in file["cases"]],
    "cs231n": lambda file: [
        f"{case['alg']} {field}" for case in file["cases"] for field in case if field.startswith(CS231N_RESULTS)
    ],
    "coursera_dlai": course_vectors,
    "losses": lambda file: [
        " ".join([library, case["loss"], *map(str, [case.get("expected", case.get("per_sample"))])])
        for library, entry in file.items()
        for case in entry["cases"]
    ],
}


COMPONENTS = {  # of the reference, by name
    *activations.ACTIVATIONS,
    *losses.LOSSES,
    *normalization.NORMALIZATIONS,
    *optimizers.OPTIMIZERS,
    *regularizers.REGULARIZERS,
    *schedules.SCHEDULES,
}


def vectors(name: str) -> list[str]:
    return VECTORS[name](load(name))


def test_the_inventory_names_every_data_file():
    stored = {path.stem for path in Path(__file__).parent.glob("*.json")} - {"inventory"}
    assert set(INVENTORY) == set(VECTORS) == stored


@pytest.mark.parametrize("name", INVENTORY)
def test_a_data_file_carries_what_the_inventory_says_it_does_and_nothing_else(name):
    carried = vectors(name)
    assert len(set(carried)) == len(carried)
    assert sorted(carried) == sorted(vector for vector, status in INVENTORY[name].items() if "left_out" not in status)


@pytest.mark.parametrize(("name", "published"), PUBLISHED.items())
def test_the_inventory_holds_every_vector_that_was_published(name, published):
    assert len(INVENTORY[name]) == published


def test_a_vector_is_carried_or_rejected_or_left_out():
    others = {frozenset(status) for _, status in STATUSES if status != "carried"}
    assert others == {frozenset({"rejected_by"}), frozenset({"component", "left_out"})}


def test_a_vector_is_left_out_for_want_of_its_component_alone():
    absent = [status for _, status in STATUSES if "left_out" in status]
    assert {status["component"] for status in absent} == {"huber", "log_cosh"}
    for status in absent:
        assert status["component"] not in COMPONENTS, f"{status['component']} is there now: carry its vector"
        assert status["left_out"]


def test_every_vector_that_is_known_to_be_wrong_is_rejected_by_a_test():
    rejected = {vector: status["rejected_by"] for vector, status in STATUSES if "rejected_by" in status}
    assert set(rejected) == {"adam KNOWN_BAD", "trajectory adam", "keras bce_probs 0.20046903"}
    for test in rejected.values():
        assert callable(getattr(losses_tests, test, None) or getattr(optimizer_tests, test))
    marked = sum(Path(__file__).with_name(f"{name}.json").read_text().count('"KNOWN_BAD"') for name in INVENTORY)
    assert marked == len(rejected)


@pytest.mark.parametrize(("name", "prefix"), RUNS)
def test_every_run_of_an_optimizer_that_is_carried_is_replayed(name, prefix):
    runs = [vector for vector in vectors(name) if not vector.startswith("clip ")]
    twice = sum(vector.startswith("decoupled_weight_decay") for vector in runs)  # by two optimizers
    assert sum(case.startswith(prefix) for case in optimizer_tests.CASES) == len(runs) + twice
