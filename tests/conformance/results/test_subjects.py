"""What is told of built-ins, from records made by hand."""

import pandas as pd
import pytest

from conformance.results import subjects
from conformance.results.known import Difference
from conformance.verdicts.order import LADDER

TOLD = {"subject": "optax.radam", "kind": "optimizers", "formulation": "radam", "implementation": "builtins.jax"}
KNOWN = Difference("optax.radam", "*", "update", "rho_t is rounded", "https://here", dtype="float32")
RECORD = {
    "recipe": "optax-radam", "implementation": "builtins.jax", "framework_version": "1.0", "dtype": "float32",
    "check": "update", "tensor": "W1", "error": 1e-6, "verdict": "pass", "cause": "",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_known(monkeypatch):
    monkeypatch.setattr(subjects, "known_differences", lambda: (KNOWN,))


def told(*rows):
    frame = subjects.subjects_frame(pd.DataFrame([RECORD | row for row in rows]), {"optax-radam": TOLD})
    return frame.iloc[0]


def test_a_known_difference_is_told_with_its_reason_and_counts_for_nothing():
    failing = {"verdict": "fail", "error": 1e-3}
    found = told(failing)
    assert (found["verdict"], found["reason"]) == (subjects.KNOWN, KNOWN.reason)
    records = pd.DataFrame([RECORD | failing, RECORD | failing | {"dtype": "float64"}])
    kept = subjects.without_known(records, {"optax-radam": TOLD})
    assert list(kept["dtype"]) == ["float64"]
    assert len(subjects.without_known(records, {})) == 2


def test_a_known_difference_that_is_gone_is_stale_but_not_where_its_check_was_not_made():
    assert told({})["verdict"] == subjects.STALE
    assert "subject='optax.radam'" in told({})["reason"]
    assert told({"check": "loss"})["verdict"] == subjects.EQUAL
    assert told({"dtype": "float64"})["verdict"] == subjects.EQUAL


@pytest.mark.parametrize("other", [{"dtype": "float64"}, {"check": "loss"}], ids=["another precision", "another check"])
def test_what_no_row_covers_differs(other):
    found = told({"verdict": "fail", "cause": "W1[0] is 2"} | other)
    assert found["verdict"] == subjects.DIFFERS
    assert "W1[0] is 2" in found["reason"]


def test_what_the_installed_version_has_not_is_not_offered():
    found = told({"verdict": "unsupported", "cause": "jax 1.0 has no optax.radam"})
    assert (found["verdict"], found["reason"]) == (subjects.NOT_OFFERED, "jax 1.0 has no optax.radam")


def test_digits_are_those_of_the_largest_error_in_the_check_of_the_kind():
    found = told({"dtype": "float64", "error": 1e-15}, {"dtype": "float64", "error": 1e-12}, {"check": "loss"})
    assert found["digits_float64"] == pytest.approx(12)
    assert pd.isna(found["digits_float32"])


def test_a_schedule_that_shows_no_rates_has_the_digits_of_its_updates(monkeypatch):
    monkeypatch.setitem(TOLD, "kind", "schedules")
    shown = {"check": "free_running", "tensor": "learning rate", "error": 1e-7}
    assert told(shown, {"error": 1e-3})["digits_float32"] == pytest.approx(7)
    assert told(shown | {"error": float("nan")}, {"error": 1e-3})["digits_float32"] == pytest.approx(3)


def test_the_file_of_known_differences_can_be_read_and_each_is_about_some_subject(monkeypatch):
    monkeypatch.undo()
    from conformance.recipes.subjects import subjects as known_subjects

    for row in subjects.known_differences():
        assert any(row.may_be_of(name) for name in known_subjects()), row


def test_digits_are_of_checks_that_there_are():
    assert {check for places in subjects.OF_DIGITS.values() for check, _ in places} <= set(LADDER)


def test_a_difference_of_any_check_is_stale_only_where_all_checks_were_made(monkeypatch):
    anywhere = Difference("optax.radam", "*", "*", "rho_t is rounded", "https://here")
    monkeypatch.setattr(subjects, "known_differences", lambda: (anywhere,))
    records = pd.DataFrame([RECORD])
    assert subjects.outcome(records, "optax.radam", ["update"])[0] == subjects.EQUAL
    assert subjects.outcome(records, "optax.radam")[0] == subjects.STALE
