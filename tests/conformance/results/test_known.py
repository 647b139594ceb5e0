"""A file of known differences is read whole, or refused by row, field and value."""

import pytest

from conformance.recipes.files import RecipeError
from conformance.results.known import Difference, load_known

GOOD = {
    "subject": "mine:*", "recipe": "case-*", "check": "update", "reason": "so it is", "link": "https://example.org/1",
}  # fmt: skip


def written(path, row):
    lines = [f"{name} = {value!r}" for name, value in row.items()]
    path.write_text("\n".join(["[[difference]]", *lines]), encoding="utf-8")
    return path


def test_a_row_is_read_with_patterns_for_what_it_leaves_out(tmp_path):
    (found,) = load_known(written(tmp_path / "known.toml", GOOD))
    assert found == Difference(**GOOD, dtype="*", tensor="*")
    record = {"recipe": "case-10", "dtype": "float32", "check": "update", "tensor": "W1"}
    assert found.covers("mine:subject", record)
    assert not found.covers("mine:subject", record | {"check": "loss"})
    assert not found.covers("mine:subject", record | {"recipe": "other"})
    assert not found.covers("yours:subject", record)


def test_an_empty_file_has_no_difference(tmp_path):
    (tmp_path / "none.toml").write_text("", encoding="utf-8")
    assert load_known(tmp_path / "none.toml") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reson": "x"}, "difference 1: reson is no field: must be one of 'subject'.*; did you mean 'reason'?"),
        ({"link": None}, "difference 1: link is missing: a known difference has 'subject'"),
        ({"reason": " "}, "difference 1: reason=' ' is not allowed: must be text that is not empty"),
        ({"tensor": 3}, "difference 1: tensor=3 is not allowed: must be text that is not empty"),
        ({"check": "updates"}, "difference 1: check='updates' matches nothing: .*; did you mean 'update'?"),
        ({"dtype": "float16"}, "difference 1: dtype='float16' matches nothing: must match one of 'float64', 'float32'"),
    ],
)
def test_a_wrong_row_is_refused(tmp_path, change, message):
    row = {name: value for name, value in (GOOD | change).items() if value is not None}
    with pytest.raises(RecipeError, match=rf"^{tmp_path}/known.toml: {message}"):
        load_known(written(tmp_path / "known.toml", row))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[diffrence]]", "diffrence is no field: must be one of 'difference'; did you mean 'difference'?"),
        ("difference = 3", "difference=3 is not allowed: must be tables, each under"),
        ("[[difference", "not valid TOML"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path, text, message):
    (tmp_path / "known.toml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=message):
        load_known(tmp_path / "known.toml")
