"""The page of what is measured: counts by hand, of lines written by hand, and of the page that is shipped."""

import json
import re
import tomllib
from pathlib import Path

from conformance.reports.evidence import explained, main, scores, told

ROOT = Path(__file__).parents[3]
HELD_OUT = ROOT / "tests/conformance/diagnosis/held_out_faults.toml"


def outcome(mutant, check="update", *, named=True, caught=True, margin=9.0, dtype="float64"):
    return {
        "mutant": mutant, "implementation": "torch", "dtype": dtype, "check": check, "named": named, "caught": caught,
        "margin": margin, "where": "parameter W1, step 1",
    }  # fmt: skip


OUTCOMES = [
    outcome("one", margin=4.0),
    outcome("one", "free_running", named=False, caught=False, margin=0.5),
    outcome("two", margin=None),
    outcome("two", "loss", margin=0.9, caught=False),
    outcome("one", dtype="float32", margin=2.0),
]
RECOGNITIONS = [
    {"mutant": name, "implementation": "jax", "dtype": "float64", "recognised": known, "where": where}
    for name, known, where in (
        ("one", True, "loss: loss penalty"),
        ("two", False, "native: input x"),
        ("3", False, ""),
        ("4", False, "update:"),
    )
]


def test_a_mutant_counts_as_caught_if_every_check_that_must_catch_it_does():
    rows = scores(OUTCOMES).to_dict("records")
    assert [(row["dtype"], row["injected"], row["caught"]) for row in rows] == [("float64", 2, 1), ("float32", 1, 1)]
    assert [(row["least margin"], row["mutant"], row["check"]) for row in rows] == [
        (0.9, "two", "loss"), (2.0, "one", "update"),
    ]  # fmt: skip


def test_of_the_explained_the_others_are_named():
    assert explained(RECOGNITIONS).to_dict("records") == [
        {
            "implementation": "jax", "injected": 4, "caught": 3, "named": 1, "raised an error": "4",
            "not named": "two; 3",
        }
    ]  # fmt: skip


def test_what_was_expected_otherwise_is_said_beside_what_is_said():
    fault = {
        "name": "f", "kind": "k", "implementation": "tf", "check": "loss", "stage": "loss", "tensor": "penalty",
        "cause": "none known", "now": {"cause": "l2(strength=1.0)"},
    }  # fmt: skip
    assert told([fault]).to_dict("records") == [
        {
            "fault": "f", "kind": "k", "implementation": "tf", "first divergence": "loss, loss, penalty",
            "cause": "l2(strength=1.0) (expected: none known)", "nearest": "-",
        }
    ]  # fmt: skip


def test_the_page_of_a_run(page_of, tmp_path, capsys):
    files = []
    for name, lines in (("mutants", OUTCOMES), ("explained", RECOGNITIONS)):
        files.append(tmp_path / f"{name}.jsonl")
        files[-1].write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    main(str(page_of("passing").parent), *map(str, files), str(HELD_OUT))
    page = capsys.readouterr().out
    assert "| torch | float64 | 2 | 1 | 0.9 | two | loss |" in page
    assert "| jax | 4 | 3 | 1 | 4 | two; 3 |" in page
    assert held_out_part(page) == held_out_part((ROOT / "docs/evidence.md").read_text(encoding="utf-8"))


def held_out_part(page):
    """What a page says of the faults that were held out, whose table is made of their file alone."""
    (part,) = re.findall(r"## Faults that it was not made for\n(.*?)\n## ", page, re.DOTALL)
    assert all(fault["name"] in part for fault in tomllib.loads(HELD_OUT.read_text(encoding="utf-8"))["fault"])
    return part
