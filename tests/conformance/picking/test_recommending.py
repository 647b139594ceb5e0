"""One implementation for each goal: the one with the best number, and only where the number is known of all."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.picking.recommending import GOALS, overtaken_after, recommendations
from conformance.picking.table import COLUMNS, frame, lines

NUMPY = {
    "implementation": "numpy", "steps_per_second": 5000.0, "steps_per_second_low": 4900.0,
    "steps_per_second_high": 5100.0, "seconds_per_step": 2e-4, "import_seconds": 0.1, "first_step_seconds": 0.001,
    "first_training_seconds": 0.02, "peak_mib": 50.0, "installed_mb": 70.0, "lines": 1200, "records": 10,
    "passed": 10, "failed": 0, "error_per_allowance": 0.2, "devices": "cpu",
}  # fmt: skip
JAX = NUMPY | {
    "implementation": "jax", "steps_per_second": 20000.0, "steps_per_second_low": 19000.0,
    "steps_per_second_high": 21000.0, "seconds_per_step": 5e-5, "import_seconds": 1.0, "first_step_seconds": 0.7,
    "first_training_seconds": 0.8, "peak_mib": 300.0, "installed_mb": 600.0, "lines": 1000,
    "error_per_allowance": 0.1, "devices": "cpu, gpu",
}  # fmt: skip


def recommended(*rows, device="cpu", dtype="float32"):
    return {each.goal: each for each in recommendations(frame(rows), device, dtype)}


def test_each_goal_has_the_implementation_with_the_best_number():
    found = recommended(NUMPY, JAX)
    assert {goal: each.implementation for goal, each in found.items()} == {
        "fastest once it runs": "jax",
        "fastest to start": "numpy",
        "shortest run of this training": "numpy",
        "smallest installation": "numpy",
        "least memory": "numpy",
        "easiest to read": "jax",
        "nearest to the oracle": "jax",
        "runs on a gpu": "jax",
    }
    assert found["smallest installation"].reason == "70 MB of files; jax is next with 600 MB"
    nearest = found["nearest to the oracle"].reason
    assert nearest.startswith(
        "no error above 10 % of what is allowed; numpy is next with 20 %; up to 100 % it is rounding"
    )


def test_the_fastest_says_when_it_has_made_up_for_its_start():
    """1.599 s later at its first step, 0.15 ms a step faster."""
    assert "ahead of numpy, which starts sooner, after 10,660 steps" in recommended(NUMPY, JAX)[GOALS[0].name].reason
    assert overtaken_after(NUMPY, JAX) is None
    assert overtaken_after(JAX | {"seconds_per_step": 1.0}, NUMPY) is None


def test_rates_whose_middle_halves_overlap_are_not_told_apart():
    near = JAX | {"implementation": "tf", "steps_per_second": 18000.0, "steps_per_second_high": 19500.0}
    reason = recommended(NUMPY, JAX, near)[GOALS[0].name].reason
    assert "not told apart from tf:" in reason
    assert "not told apart" not in recommended(NUMPY, JAX)[GOALS[0].name].reason


@pytest.mark.parametrize("other", [{"problem": "not installed"}, {"failed": 1}])
def test_what_is_not_measured_or_fails_is_not_recommended(other):
    found = recommended(NUMPY, JAX | other)
    assert {each.implementation for each in found.values()} == {"numpy", ""}


def test_a_number_that_is_not_known_of_all_recommends_nobody():
    found = recommended(NUMPY | {"import_seconds": math.nan}, JAX)
    assert found["fastest to start"].implementation == ""
    assert found["fastest to start"].reason.startswith("not known of numpy; of the others jax: 1.7 s from the import")
    assert found["easiest to read"].implementation == "jax"


def test_goals_of_which_nothing_is_known_are_left_out():
    assert list(recommended({"implementation": "numpy", "lines": 3})) == ["easiest to read"]
    assert recommended() == {}


def test_equal_numbers_are_told_to_be_the_same():
    reason = recommended(NUMPY, JAX | {"lines": 1200})["easiest to read"].reason
    assert reason == "1,200 lines of code; the same as jax"


def test_numpy_in_float64_is_told_to_be_what_the_oracle_computes_with():
    near = NUMPY | {"error_per_allowance": 0.0}
    assert "the oracle itself" in recommended(near, JAX, dtype="float64")["nearest to the oracle"].reason
    assert "the oracle itself" not in recommended(near, JAX)["nearest to the oracle"].reason


def test_on_the_device_that_was_asked_for_the_fastest_is_named_with_its_rate():
    found = recommended(JAX | {"implementation": "torch", "steps_per_second": 100.0}, JAX, device="gpu")
    assert found["runs on a gpu"].implementation == "jax"
    assert found["runs on a gpu"].reason == "found by torch, jax; 20,000 steps per second on it"


def test_of_several_that_find_a_device_and_are_not_timed_there_none_is_named():
    found = recommended(JAX | {"implementation": "torch"}, JAX)["runs on a gpu"]
    assert (found.implementation, found.value) == ("", 2.0)
    assert found.reason == "found by torch, jax; --device gpu times them there"
    assert recommended(NUMPY)["runs on an accelerator"].reason == "none of them finds a gpu or tpu on this machine"


@settings(max_examples=20)
@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=4))
def test_nobody_is_better_than_the_one_that_is_recommended(values):
    rows = [{"implementation": f"{place}", "peak_mib": value} for place, value in enumerate(values)]
    found = recommended(*rows)["least memory"]
    assert found.value == min(values) == values[int(found.implementation)]


def test_the_table_has_a_line_for_each_property_and_a_cell_for_each_implementation():
    shown = {title.strip(): cells for title, *cells in lines(frame([NUMPY, JAX, {"implementation": "tf"}]))}
    assert shown["steps per second"] == ["5,000", "20,000", "-"]
    assert shown["(middle half)"] == ["4,900 - 5,100", "19,000 - 21,000", "-"]
    assert shown["import to last step"] == ["120 ms", "1.8 s", "-"]
    assert shown["comparisons passed"] == ["10 of 10", "10 of 10", "-"]
    assert shown["largest error"] == ["20 %", "10 %", "-"]
    assert "version" not in shown  # of none is it known


def test_every_line_that_is_shown_is_explained():
    assert all(column.explanation for column in COLUMNS.values())
    assert all(column.explanation.endswith(".") for column in COLUMNS.values() if column.title)
