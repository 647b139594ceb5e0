"""Every frame is as the schema says, and comes back from CSV and Parquet as it was."""

import doctest
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.results import frames_page
from conformance.results.run import Run, load_run
from conformance.results.schema import DTYPES, FRAMES, read_csv, read_parquet, typed, write_csv
from conformance.results.store import CurvePoint, Explained, Store, TrainingTime
from conformance.verdicts.record import Record

sys.path.insert(0, str(Path(__file__).parent))
from synthetic import IMPLEMENTATIONS, synthetic_run

PAGE = Path(__file__).parents[3] / "docs" / "frames.md"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with all verdicts, of which something lacks, and of which something is explained and timed."""
    folder = synthetic_run(tmp_path_factory.mktemp("run"), complete=False)
    store, recipe = Store(folder), Run(folder).verdicts["recipe"].iloc[0]
    store.time(TrainingTime(recipe, "torch", "float64", 2.5, 12, 0.5, float("nan"), 300.0))
    store.time(TrainingTime(recipe, "jax", "float64", 3.5, 0, 0.5, 0.1, 400.0))
    store.explain(Explained(recipe, "torch", "float64", "update", "parameter, W1", "a\ncause", True, 'b "text", c\r'))
    told = {"subject": "torch.optim.SGD", "kind": "optimizers", "formulation": "sgd", "implementation": "numpy"}
    store.set_fact("plan", store.fact("plan") | {"subjects": {recipe: told}})
    store.close()
    return load_run(folder)


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_has_the_columns_and_dtypes_of_the_schema(run, name):
    frame, described = getattr(run, name), FRAMES[name]
    assert len(frame), "so that dtypes mean something"
    columns = list(frame.columns)
    assert columns[: len(described.columns)] == list(described.columns)
    others = columns[len(described.columns) :]
    assert bool(others) == (described.further is not None)
    assert set(others) <= {*IMPLEMENTATIONS, "oracle"}
    for column in columns:
        kind = described.columns.get(column, described.further).dtype
        assert frame[column].dtype == pd.Series([], dtype=kind).dtype, column
        assert kind != "str" or frame[column].map(lambda value: type(value) is str).all(), column


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_comes_back_from_csv_and_from_parquet_as_it_was(run, name, tmp_path):
    frame = getattr(run, name)
    write_csv(frame, tmp_path / "frame.csv")
    frame.to_parquet(tmp_path / "frame.parquet")
    for found in (read_csv(name, tmp_path / "frame.csv"), read_parquet(name, tmp_path / "frame.parquet")):
        pd.testing.assert_frame_equal(found, frame, check_exact=True)


def test_a_csv_file_is_the_one_that_pandas_writes(run, tmp_path):
    write_csv(run.records, tmp_path / "ours.csv")
    run.records.to_csv(tmp_path / "theirs.csv", index=False)
    assert (tmp_path / "ours.csv").read_bytes() == (tmp_path / "theirs.csv").read_bytes()


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
            st.floats(allow_subnormal=True),
            st.integers(-(2**63), 2**63 - 1),
        ),
        min_size=1,
    )
)
def test_any_text_and_any_number_comes_back_from_csv(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    text, numbers, counts = zip(*rows, strict=True)
    points = pd.DataFrame({"quantity": text, "value": numbers, "position": counts}).assign(
        recipe="", implementation="nan", dtype="NA", unit="None", error=np.nan, floor=np.inf, allowance=-np.inf
    )
    frame = typed("curves", points)
    write_csv(frame, path)
    pd.testing.assert_frame_equal(read_csv("curves", path), frame, check_exact=True)


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_without_rows_has_its_columns_and_dtypes(tmp_path, name):
    empty = typed(name, pd.DataFrame())
    assert list(empty.columns) == list(FRAMES[name].columns)
    write_csv(empty, tmp_path / "empty.csv")
    pd.testing.assert_frame_equal(read_csv(name, tmp_path / "empty.csv"), empty)


def test_what_is_stored_is_what_is_described():
    kinds = {str: "str", int: "int64", float: "float64", bool: "bool"}
    for name, stored in (
        ("records", {field.name: field.type for field in fields(Record)}),
        ("curves", CurvePoint.__annotations__),
        ("explanations", Explained.__annotations__),
    ):
        described = {column: found.dtype for column, found in FRAMES[name].columns.items() if column != "command"}
        assert described == {column: kinds[kind] for column, kind in stored.items()}


def test_everything_is_described_with_one_of_the_dtypes():
    for frame in FRAMES.values():
        for column in (*frame.columns.values(), *([frame.further] if frame.further else [])):
            assert column.dtype in DTYPES
            assert column.description


def test_a_frame_that_is_none_is_refused_with_the_nearest():
    with pytest.raises(
        ValueError, match=r"frame='curve' is not allowed: must be one of 'records', .*did you mean 'curves'"
    ):
        read_csv("curve", "nowhere.csv")


def test_a_table_that_lacks_a_column_is_refused_with_its_name(tmp_path):
    (tmp_path / "timings.csv").write_text("recipe,implementation,dtype,check,seconds\na,b,float64,loss,1.0\n")
    with pytest.raises(ValueError, match="frame 'timings' lacks 'kept'"):
        read_csv("timings", tmp_path / "timings.csv")


def test_the_page_is_made_from_the_schema():
    assert PAGE.read_text(encoding="utf-8") == frames_page.page(), "run the command at the head of docs/frames.md"


def test_what_the_page_shows_is_so(tmp_path, monkeypatch):
    folder = synthetic_run(tmp_path / "reports" / "latest", 2, failing=False)
    write_csv(Run(folder).records, folder / "records.csv")
    monkeypatch.chdir(tmp_path)
    example = doctest.DocTestParser().get_doctest(frames_page.page(), {}, "frames.md", str(PAGE), 0)
    outcome = doctest.DocTestRunner().run(example)
    assert outcome.attempted > 5
    assert not outcome.failed


def test_a_notebook_shows_the_verdict_and_the_matrix_and_nothing_that_a_name_says(run):
    shown = run._repr_html_()
    assert "INCOMPLETE: torch lacks" in shown
    assert f"{len(run.records[run.records['verdict'] == 'pass'])} pass" in shown
    assert "my.package:Model&lt;b&gt;" in shown
    assert "Model<b>" not in shown
    assert shown.index("FAIL") < shown.index("<td>pass</td>\n    </tr>\n  </tbody>")


def test_a_run_that_has_just_begun_has_frames_and_shows_itself(tmp_path, small_recipe):
    store = Store(tmp_path, create=True)
    store.set_fact("plan", {"implementations": ["numpy"], "tasks": [["small", "float64"]], "checks": ["loss"]})
    store.set_fact("recipes", {"small": small_recipe.model_dump(mode="json")})
    store.close()
    run = load_run(tmp_path)
    assert "INCOMPLETE: numpy lacks 1 of 1 trainings" in run._repr_html_()
    for name in FRAMES:
        assert list(getattr(run, name).columns)[: len(FRAMES[name].columns)] == list(FRAMES[name].columns)
