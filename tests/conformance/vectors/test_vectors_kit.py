"""What `conformance vectors` writes: its format, what its vectors show, and that they are the same every time."""

import csv
import json
import math
from functools import cache

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.diagnosis.explanation import EXPLAINED
from conformance.recipes.catalogue import KINDS as CATALOGUE
from conformance.recipes.recipe import DTYPES
from conformance.vectors.encoding import bits, decimal, decoded, encoded, numbers
from conformance.vectors.files import INVALID, RULES, read_vectors
from conformance.vectors.floors import answers_in
from conformance.vectors.formulations import formulations
from conformance.vectors.kinds import KINDS
from conformance.vectors.selection import discriminates, moved, select
from conformance.vectors.situations import situations
from conformance.vectors.writing import chosen, unkilled, write

WITHOUT_VECTORS = ("initializers", "models")  # what is drawn, and what is made of components
# In float32 an accumulator that starts at a number far above epsilon hides where epsilon stands.
HIDDEN_IN_FLOAT32 = {"optimizer/rmsprop_square_from_1.json"}


@cache
def selected(file):
    """The vectors of a file."""
    return select(next(each for each in formulations() if each.file == f"{file}.json"))


def missed_faults(selection):
    """The known faults that make a difference and are not shown in some precision, with it."""
    faults = {mistake.name for mistake in selection.mistakes if mistake.edits}
    return {(name, dtype) for name, dtype in selection.missed if name in faults}


def test_every_component_of_the_catalogue_has_vectors():
    catalogue = {name for kind, names in CATALOGUE.items() if kind not in WITHOUT_VECTORS for name in names}
    assert catalogue <= {each.component for each in formulations()}


def test_every_formulation_has_a_file_of_its_own():
    files = [each.file for each in formulations()]
    assert len(files) == len(set(files)) > 100


def test_every_file_keeps_to_the_schema(kit):
    schema = json.loads((kit / "schema.json").read_text(encoding="utf-8"))
    files = [next(kit.glob(f"{folder.name}/*.json")) for folder in sorted(kit.iterdir()) if folder.is_dir()]
    assert len(files) == len(KINDS) + 1
    jsonschema.Draft202012Validator.check_schema(schema)
    for file in files:
        jsonschema.validate(json.loads(file.read_text(encoding="utf-8")), schema)


@pytest.mark.parametrize("damage", ["a number without its bits", "an unknown result", "a test without outputs"])
def test_the_schema_refuses(kit, damage):
    schema = json.loads((kit / "schema.json").read_text(encoding="utf-8"))
    found = json.loads((kit / "activation/relu.json").read_text(encoding="utf-8"))
    test = found["groups"][0]["tests"][0]
    if damage == "a number without its bits":
        del test["outputs"]["value"]["hex"]
    elif damage == "an unknown result":
        test["result"] = "acceptable"
    else:
        test["outputs"] = {}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, schema)


def test_the_numbers_of_a_file_are_those_of_the_oracle(kit):
    for file in ("optimizer/adam.json", "loss/binary.json", "normalization/batch.json", "schedule/warm_up.json"):
        found = read_vectors(kit, file)
        for test in found.tests.values():
            answer = found.formulation.answer(test.inputs)
            same = all(np.array_equal(answer[name], test.outputs[name]) for name in answer)
            assert same == (test.result != INVALID), (file, test.id)


def test_inputs_are_numbers_of_float32(kit):
    for file in kit.glob("optimizer/*.json"):
        for test in read_vectors(kit, f"optimizer/{file.name}").tests.values():
            arrays = [
                v for n, v in test.inputs.items() if isinstance(v, np.ndarray) and not n.startswith("learning_rate")
            ]
            assert arrays
            assert all(np.array_equal(value.astype(np.float32), value) for value in arrays)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_reference_itself_is_within_half_of_its_allowances(dtype):
    for file in ("optimizer/adam", "loss/squared_error_half", "activation/gelu", "clipping/clip_by_global_norm"):
        selection = selected(file)
        for vector in selection.vectors:
            own = answers_in(selection.formulation, vector.situation.inputs, dtype)
            errors = {n: np.abs(own[n] - v).max() / max(np.abs(v).max(), 1e-300) for n, v in vector.outputs.items()}
            assert moved(errors, vector.allowed[dtype]) < 0.5, (file, vector.situation.comment)


@pytest.mark.parametrize(
    "file", ["optimizer/adam", "loss/squared_error_half", "clipping/clip_by_global_norm",
             "early_stopping/early_stopping"]
)  # fmt: skip
def test_the_vectors_of_a_file_show_every_mistake_that_makes_a_difference_in_both_precisions(file):
    selection = selected(file)
    assert selection.shown
    assert not missed_faults(selection)
    for name in {*selection.shown} - {name for name, _ in selection.missed}:
        dtypes = next(mistake.dtypes for mistake in selection.mistakes if mistake.name == name)
        for dtype in dtypes:
            assert max(vector.ratios[name, dtype] for vector in selection.vectors) > EXPLAINED, (name, dtype)


def test_no_vector_of_a_file_can_be_left_out():
    selection = selected("optimizer/adam")
    assert len(selection.vectors) > 1
    for without in selection.vectors:
        others = [vector for vector in selection.vectors if vector is not without]
        alone = [
            n for n in selection.shown if discriminates(without, n) and not any(discriminates(v, n) for v in others)
        ]
        assert alone, without.situation.comment


def test_a_fault_in_what_the_component_takes_from_another_module_is_shown():
    selection = selected("early_stopping/early_stopping")
    assert "early stopping: the wrong sign of min_delta" in selection.shown


def test_every_must_reject_test_is_far_enough_from_what_is_right(kit):
    rejected = 0
    for file in kit.glob("*/*.json"):
        name = file.relative_to(kit).as_posix()
        for test in read_vectors(kit, name).tests.values():
            if test.result == INVALID and name != RULES:
                answer = read_vectors(kit, name).formulation.answer(test.inputs)
                far = [
                    test.allowed[dtype][output]
                    and np.abs(answer[output] - value).max()
                    / np.abs(answer[output]).max()
                    / test.allowed[dtype][output]
                    for dtype in DTYPES
                    for output, value in test.outputs.items()
                ]
                assert max(filter(None, far)) > EXPLAINED, name
                rejected += 1
    assert rejected > 20


def test_the_kill_matrix_says_of_every_mistake_which_test_shows_it_or_why_none_does(kit):
    rows = list(csv.DictReader((kit / "kill_matrix.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["file"] for row in rows} == {
        file.relative_to(kit).as_posix() for file in kit.glob("*/*.json") if file.parent.name != "checker"
    }
    assert all(bool(row["tests"]) != bool(row["note"]) for row in rows)
    shown = next(row for row in rows if row["file"] == "optimizer/adam.json" and row["mistake"] == "adam: no root")
    assert shown["tests"]


def test_a_fault_that_no_vector_can_show_is_listed_with_the_reason():
    found = {each.fault: each for each in unkilled([selected("dropout/dropout")])}
    drawn = found["native: units kept with the square of the probability"]
    assert drawn.components == ("inverted_dropout",)
    assert "regularizers.py: dropout_mask" in drawn.reason
    assert "models.py" in found["dropout: active at inference"].reason
    assert "dropout: kept units not scaled" not in found


def test_of_a_component_of_which_a_formulation_is_left_out_nothing_is_said_to_be_unshown():
    assert unkilled([selected("optimizer/adam"), selected("clipping/clip_by_value")]) == unkilled(
        [selected("clipping/clip_by_value")]
    )


def test_the_same_bytes_are_written_every_time(kit, tmp_path):
    write(tmp_path / "again", chosen(["optimizer/adam", "activation/[erst]*"]))
    files = [path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*") if path.is_file()]
    assert len(files) > 15
    for file in files:
        if file.name != "kill_matrix.csv":
            assert (tmp_path / "again" / file).read_bytes() == (kit / file).read_bytes()


def test_a_kit_is_replaced_and_anything_else_is_left_alone(tmp_path):
    write(tmp_path, chosen(["schedule/constant", "schedule/cosine"]))
    write(tmp_path, chosen(["schedule/constant"]))
    assert sorted(path.name for path in tmp_path.glob("schedule/*")) == ["constant.json"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("precious")
    with pytest.raises(ValueError, match="holds something else"):
        write(other, chosen(["schedule/constant"]))
    with pytest.raises(ValueError, match="is a file"):
        write(other / "mine.txt", chosen(["schedule/constant"]))
    assert sorted(path.name for path in other.iterdir()) == ["mine.txt"]


def test_a_pattern_that_matches_no_file_is_refused():
    with pytest.raises(ValueError, match="--select='adam': no file matches"):
        chosen(["adam"])


def test_the_readme_and_the_checkers_go_with_the_vectors(kit):
    names = {path.name for path in kit.iterdir() if path.is_file()}
    assert names == {"README.md", "adam.mjs", "adam.py", "checker.mjs", "checker.py", "kill_matrix.csv", "schema.json"}
    assert len((kit / "checker.py").read_text(encoding="utf-8").splitlines()) <= 60
    assert len((kit / "checker.mjs").read_text(encoding="utf-8").splitlines()) <= 80


@settings(max_examples=30)
@given(st.lists(st.floats()))
def test_numbers_survive_as_decimals_and_as_bits(values):
    written = json.loads(json.dumps(encoded(np.array(values, np.float64)), allow_nan=False))
    read = decoded("x", written)
    assert [bits(number) for number in read] == [bits(number) for number in map(float, values)] or any(
        math.isnan(value) for value in values
    )
    assert numbers("x", [decimal(value) for value in values]).size == len(values)


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (True, "must have shape"),
        ({"shape": [1]}, "must have shape"),
        ({"shape": [-1], "decimal": [1.0], "hex": [bits(1.0)]}, "x.shape"),
        ({"shape": [2], "decimal": [1.0], "hex": [bits(1.0)]}, "x has 1 numbers: must be 2"),
        ({"shape": [1], "decimal": [1.0], "hex": [bits(2.0)]}, "x.hex is not that of its decimals"),
        ({"shape": [1], "decimal": ["one"], "hex": [bits(1.0)]}, "x.decimal holds 'one'"),
        ({"shape": [1], "integers": [10**400]}, "x.integers"),
    ],
)
def test_a_tensor_that_is_none_is_refused(found, problem):
    with pytest.raises(ValueError, match=problem):
        decoded("x", found)


def test_every_situation_has_a_comment_of_its_own():
    for each in {each.component: each for each in formulations()}.values():
        comments = [made.comment for made in situations(each.kind.name, each.component, each.keywords)]
        assert len(comments) == len(set(comments)), each.file


@pytest.mark.slow
def test_the_vectors_of_every_file_show_all_that_makes_a_difference(tmp_path):
    whole = write(tmp_path, formulations())
    missed = {each.formulation.file: found for each in whole.selections if (found := missed_faults(each))}
    assert whole.bytes < 4e6
    assert missed.keys() == HIDDEN_IN_FLOAT32
    assert {dtype for victims in missed.values() for _, dtype in victims} == {"float32"}
