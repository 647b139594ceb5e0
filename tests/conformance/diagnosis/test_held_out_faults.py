"""Faults that the diagnosis was not made for: each is caught, at its place, and its cause is told or honestly not."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.audit.recognition import inquiry_into
from conformance.diagnosis.explanation import text
from conformance.faults.injection import Edit, injected
from conformance.recipes.coverage import recipe_with

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

FAULTS: list[dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("held_out_faults.toml").read_text(encoding="utf-8")
)["fault"]
PARAMETERS = [
    pytest.param(fault, id=fault["name"], marks=[] if fault.get("sample") else [pytest.mark.slow]) for fault in FAULTS
]


@pytest.mark.parametrize("fault", PARAMETERS)
def test_a_held_out_fault_is_caught_at_its_place_and_its_cause_told_or_not_known(fault: dict[str, Any]) -> None:
    expected = fault | fault.get("now", {})
    recipe = recipe_with(fault["recipe"], **fault.get("settings", {}))
    with injected(fault["implementation"], *(Edit(*edit) for edit in fault["edits"])) as adapter:
        inquiry = inquiry_into(recipe, fault["implementation"], "float64", adapter("cpu"))
    assert inquiry is not None, "no check fails"
    with np.errstate(all="ignore"):
        found = inquiry.explanation()
    place = found.divergence
    assert (place.check, place.stage) == (expected["check"], expected["stage"]), text(found)
    assert place.tensor.startswith(expected["tensor"]), text(found)
    first = found.causes[0].description if found.causes else "none known"
    assert first == expected["cause"], text(found)
    assert [cause.description for cause in found.partly] == expected.get("partly", []), text(found)
    assert (found.nearest.description if found.nearest else None) == expected.get("nearest"), text(found)


def test_names_differ_and_what_is_not_as_expected_has_a_remark() -> None:
    assert len({fault["name"] for fault in FAULTS}) == len(FAULTS)
    assert all("remark" in fault for fault in FAULTS if "now" in fault)
