"""Answers to vectors: by the checkers that go with them, and by the project, which names the causes."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from conformance.cli.app import app
from conformance.vectors.answers import SCHEMA, judge
from conformance.vectors.files import LARGEST, RULES, read_vectors
from conformance.vectors.formulations import mistakes

ADAM = "optimizer/adam.json"


def answered(kit, answerers, dtype="float64"):
    """The text of a file of answers: for each file of vectors, what ``answerer(formulation, inputs)`` returns."""
    answers = {}
    for file, answerer in answerers.items():
        found = read_vectors(kit, file)
        answers[file] = {
            test.id: {
                name: np.asarray(value, dtype).astype(float).ravel().tolist()
                for name, value in answerer(found.formulation, test.inputs).items()
            }
            for test in found.tests.values()
        }
    return json.dumps({"schema": SCHEMA, "dtype": dtype, "answers": answers})


def judged(kit, folder, answerers, dtype="float64"):
    file = folder / "answers.json"
    file.write_text(answered(kit, answerers, dtype))
    return judge(file, kit)


def right(formulation, inputs):
    return formulation.answer(inputs)


def with_keywords(**changed):
    return lambda formulation, inputs: formulation._replace(keywords=formulation.keywords | changed).answer(inputs)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_right_answers_pass_and_every_must_reject_test_is_rejected(kit, tmp_path, dtype):
    files = [file.relative_to(kit).as_posix() for file in sorted(kit.glob("*/*.json"))]
    found = judged(kit, tmp_path, {file: right for file in files if file != RULES}, dtype)
    assert found.ok
    assert found.verdict == "pass"
    assert found.unanswered == []
    assert set(found.frame["result"]) == {"valid", "invalid"}


def test_every_mistake_of_a_file_is_recognised_from_its_answers(kit, tmp_path):
    formulation = read_vectors(kit, "loss/binary.json").formulation
    recognised = []
    for mistake in mistakes(formulation):
        if mistake.answer(next(iter(read_vectors(kit, "loss/binary.json").tests.values())).inputs) is None:
            continue
        found = judged(kit, tmp_path, {"loss/binary.json": lambda _, inputs, made=mistake: made.answer(inputs)})
        if found.ok:
            continue  # with these keywords it is none
        assert "none known" not in found.causes["loss/binary.json"], mistake.name
        recognised.append(mistake.name in found.causes["loss/binary.json"])
    assert len(recognised) > 5
    assert recognised.count(True) >= len(recognised) - 1  # one is a formulation too, and called by its name


@pytest.mark.parametrize(
    ("changed", "dtype", "cause"),
    [
        ({"epsilon_position": "inside_root"}, "float32", "adam(epsilon_position='inside_root')"),
        ({"beta1": 0.8}, "float64", "adam(beta1=0.8)"),
        ({"beta2": 0.9871}, "float32", "adam(beta2=0.9871)"),
    ],
)
def test_the_cause_of_wrong_answers_is_named(kit, tmp_path, changed, dtype, cause):
    found = judged(kit, tmp_path, {ADAM: with_keywords(**changed)}, dtype)
    assert not found.ok
    assert found.causes == {ADAM: cause}
    assert found.frame.loc[found.frame["verdict"] == "fail", "cause"].str.contains("the oracle").any()


def test_of_answers_that_nothing_known_makes_the_nearest_is_named(kit, tmp_path):
    def slightly_off(formulation, inputs):
        return {name: np.asarray(value) * 1.01 for name, value in formulation.answer(inputs).items()}

    cause = judged(kit, tmp_path, {ADAM: slightly_off}).causes[ADAM]
    assert cause.startswith("none known; the nearest is adam")
    assert cause.endswith("allowances away")


def test_code_with_the_very_fault_of_a_must_reject_test_agrees_with_it(kit, tmp_path):
    found = judged(kit, tmp_path, {"activation/relu.json": with_keywords(derivative_at_zero=1)})
    agreeing = found.frame[(found.frame["result"] == "invalid") & (found.frame["verdict"] == "fail")]
    assert set(agreeing["cause"]) == {"agrees with what is wrong on purpose: relu(derivative_at_zero=1)"}


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ({}, "value was not answered"),
        ({"value": [1.0]}, "value has shape (1,): must be (5, 4)"),
        ({"value": ["NaN"] * 20}, "value is nan at (0, 0)"),
        ({"value": [[0.0] * 4] * 5, "extra": 1}, "extra is not one of the oracle's tensors"),
    ],
)
def test_what_is_no_answer_to_a_test_is_wrong(kit, tmp_path, answer, cause):
    file = tmp_path / "answers.json"
    answers = {"activation/relu.json": {"1": answer}}
    file.write_text(json.dumps({"schema": SCHEMA, "dtype": "float64", "answers": answers}))
    found = judge(file, kit)
    assert not found.ok
    assert found.frame["cause"].str.startswith(cause).any(), list(found.frame["cause"])
    assert "activation/relu.json" in found.unanswered


def replaced(answers, **changed):
    return json.dumps({"schema": SCHEMA, "dtype": "float64", "answers": answers} | changed)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is no JSON"),
        ("[1, 2]", "schema=[1, 2] is not allowed"),
        ("[" * 100_000, "is nested too deeply"),
        (replaced({}), "answers nothing"),
        (replaced({ADAM: {}}), "answers nothing"),
        (replaced([]), "answers=[] is not allowed"),
        (replaced({}, schema="other"), "schema='other' is not allowed"),
        (replaced({}, dtype="float23"), "dtype='float23' is not allowed: must be one of 'float64', 'float32'; did you"),
        (replaced({"optimizer/adan.json": {}}), "did you mean 'optimizer/adam.json'?"),
        (replaced({"../../secret.json": {}}), "answers has '../../secret.json', which"),
        (replaced({ADAM: {"99": {}}}), "has no test '99': must be one of '1'"),
        (replaced({ADAM: [1]}), "answers to optimizer/adam.json is [1]: must be a table"),
        (replaced({ADAM: {"1": 3}}), "test 1, is 3: must be a table"),
        (replaced({ADAM: {"1": {"parameters/W1": ["1.0"]}}}), "'parameters/W1' holds '1.0': must be numbers"),
        (replaced({ADAM: {"1": {"parameters/W1": [True]}}}), "'parameters/W1' holds True: must be numbers"),
        (replaced({ADAM: {"1": {"parameters/W1": None}}}), "'parameters/W1' holds None: must be numbers"),
        (replaced({ADAM: {"1": {"parameters/W1": [10**400]}}}), "it is beyond every float64"),
    ],
)
def test_a_file_that_is_no_answers_is_refused_with_the_reason(kit, tmp_path, text, problem):
    file = tmp_path / "answers.json"
    file.write_text(text)
    ended = CliRunner().invoke(app, ["check", "--answers", str(file), "--vectors", str(kit)])
    assert ended.exit_code == 2
    assert problem in ended.output
    assert str(file) in ended.output


def test_a_huge_file_and_none_at_all_are_refused(kit, tmp_path):
    file = tmp_path / "answers.json"
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        judge(file, kit)
    with file.open("wb") as made:
        made.truncate(LARGEST + 1)
    with pytest.raises(ValueError, match="must be at most"):
        judge(file, kit)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda found: found.update(schema="other"), "schema='other' is not allowed"),
        (lambda found: found.update(kind="optimiser"), "kind='optimiser' is not allowed; did you mean 'optimizer'?"),
        (lambda found: found.pop("groups"), "groups is missing"),
        (lambda found: found["groups"][0]["tests"][0].update(inputs=3), "int"),
        (lambda found: found["groups"][0]["tests"][0]["outputs"]["value"]["decimal"].pop(), "was changed"),
        (lambda found: found["groups"][0]["tests"][0]["allowances"]["float64"].update(value=7.5), "allowance of value"),
        (lambda found: found["groups"][0]["tests"][0].update(result="good"), "result='good' is not allowed"),
    ],
)
def test_vectors_that_were_changed_are_refused(kit, tmp_path, damage, problem):
    (tmp_path / "kit" / "activation").mkdir(parents=True)
    found = json.loads((kit / "activation/tanh.json").read_text())
    damage(found)
    (tmp_path / "kit/activation/tanh.json").write_text(json.dumps(found))
    file = tmp_path / "answers.json"
    file.write_text(answered(kit, {"activation/tanh.json": right}))
    with pytest.raises(ValueError, match=r"tanh\.json: ") as refusal:
        judge(file, tmp_path / "kit")
    assert problem in str(refusal.value)


def test_a_folder_without_vectors_is_refused(tmp_path):
    file = tmp_path / "answers.json"
    file.write_text(replaced({ADAM: {}}))
    with pytest.raises(ValueError, match="holds no vectors"):
        judge(file, tmp_path / "nothing")


def test_the_command_names_causes_with_exit_status_1(kit, tmp_path):
    file = tmp_path / "answers.json"
    file.write_text(answered(kit, {"activation/tanh.json": right}))
    ended = CliRunner().invoke(app, ["check", "--answers", str(file), "--vectors", str(kit)])
    assert ended.exit_code == 0
    assert ended.output.startswith("PASS: tests: 2, files: 1, files wrong: 0")
    file.write_text(answered(kit, {"activation/elu.json": with_keywords(alpha=0.9)}, "float32"))
    ended = CliRunner().invoke(app, ["check", "--answers", str(file), "--vectors", str(kit)])
    assert ended.exit_code == 1
    assert ended.output.startswith("activation/elu.json: elu(alpha=0.9)\n    test 1 (valid), value: value[")
    assert "FAIL: tests: 2, files: 1, files wrong: 1" in ended.output


def test_the_command_prints_the_kill_matrix_and_what_no_vector_shows(tmp_path):
    ended = CliRunner().invoke(app, ["vectors", str(tmp_path / "kit"), "-k", "activation/sigmoid", "-k", "schedule/*"])
    assert ended.exit_code == 0
    row = next(line for line in ended.output.splitlines() if line.startswith("activation/sigmoid.json"))
    assert row.split()[1:] == ["1", "3", "of", "3", "3", "of", "3", "3"]
    assert "predicted classes: the threshold of a probability for a logit" in ended.output
    ended = CliRunner().invoke(app, ["vectors", str(tmp_path / "kit"), "-k", "activation/sigmoid", "--matrix"])
    rows = [line for line in ended.output.splitlines() if line.startswith("activation/sigmoid.json")]
    assert len(rows) == 6
    assert {row.split()[-1] for row in rows} == {"1"}


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (["FOLDER", "-k", "adam"], 2, "--select='adam': no file matches"),
        (["FOLDER/file", "-k", "activation/tanh"], 2, "is a file"),
        (["FOLDER/file/below", "-k", "activation/tanh"], 2, "that can be written: Not a directory"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, arguments, status, problem):
    (tmp_path / "file").write_text("")
    ended = CliRunner().invoke(app, ["vectors", *(each.replace("FOLDER", str(tmp_path)) for each in arguments)])
    assert ended.exit_code == status
    assert problem in ended.output


# The checkers that go with the vectors.

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="NO NODE: the JavaScript checker was not run")
CHECKERS = [
    pytest.param("checker.py", "adam.py", id="python"),
    pytest.param("checker.mjs", "adam.mjs", id="javascript", marks=needs_node),
]


@pytest.fixture
def copy(kit, tmp_path):
    """A copy of the kit that a test may change."""
    return shutil.copytree(kit, tmp_path / "kit")


def checked(folder, checker, answerer, dtype="float64", *files):
    command = [sys.executable, "-I"] if checker.endswith(".py") else [NODE]  # -I: nothing of this project is found
    return subprocess.run(
        [*command, checker, dtype, answerer, *files], cwd=folder, capture_output=True, text=True, timeout=120
    )


def edit(file, old, new):
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("checker", "answerer"), CHECKERS)
def test_a_checker_passes_right_answers_and_its_answers_pass_here(copy, checker, answerer, dtype):
    ended = checked(copy, checker, answerer, dtype)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "files answered: 1 of" in ended.stdout
    assert "tests wrong: 0" in ended.stdout
    assert judge(copy / "answers.json", copy).ok


@pytest.mark.parametrize(
    ("checker", "answerer", "old", "new", "cause"),
    [
        ("checker.py", "adam.py", "sqrt(corrected_v) + epsilon", "sqrt(corrected_v + epsilon)", "inside_root"),
        ("checker.py", "adam.py", "(1 - beta1) * g", "g", "the whole gradient, not 1 - beta1 of it"),
        pytest.param(
            "checker.mjs", "adam.mjs", "Math.sqrt(v[i] / correction2)", "Math.sqrt(v[i])",
            "bias correction of the first moment alone", marks=needs_node,
        ),
    ],
)  # fmt: skip
def test_a_checker_finds_a_wrong_answerer_and_the_cause_is_named_from_its_answers(
    copy, checker, answerer, old, new, cause
):
    edit(copy / answerer, old, new)
    ended = checked(copy, checker, answerer)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "test 1 (valid)" in ended.stdout
    assert cause in judge(copy / "answers.json", copy).causes[ADAM]


@pytest.mark.parametrize(
    ("checker", "answerer", "old", "new"),
    [
        ("checker.py", "adam.py", "not difference <= limit", "difference > 1e6 * limit"),
        (
            "checker.py",
            "adam.py",
            "len(found) != len(expected) or not all(map(math.isfinite, found + expected))",
            "False",
        ),
        pytest.param("checker.mjs", "adam.mjs", "!(difference <= allowance * scale)", "false", marks=needs_node),
        pytest.param("checker.mjs", "adam.mjs", ".every(Number.isFinite)", ".every(() => true)", marks=needs_node),
    ],
)
def test_a_checker_that_lets_too_much_pass_is_found_out_by_the_must_reject_tests(copy, checker, answerer, old, new):
    edit(copy / checker, old, new)
    ended = checked(copy, checker, answerer)
    assert ended.returncode == 1, ended.stdout + ended.stderr


def test_a_checker_says_when_nothing_was_answered(copy):
    (copy / "nothing.py").write_text("def answer(*_):\n    return None\n")
    ended = checked(copy, "checker.py", "nothing.py")
    assert ended.returncode == 2
    assert "files answered: 0 of" in ended.stdout
