"""A recorded trace as an implementation: judged as code is, and only by what it was recorded for."""

import json
from collections import Counter

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

import conformance
from conformance.adapters.numpy import NumpySession
from conformance.adapters.session import Unsupported
from conformance.checks.case import build_case
from conformance.checks.look import look
from conformance.cli.app import app
from conformance.data.files import DataError
from conformance.exchange.pair import record
from conformance.exchange.replay import TraceSession, by_short_names, in_situations_of, trace_target
from conformance.exchange.trace import load_trace
from conformance.problems.preparation import prepare
from conformance.recipes.recipe import Recipe
from conformance.verdicts import floors
from conformance.verdicts.compare import compare

RATE = 0.5
RECIPE = Recipe(
    name="traced",
    loss="binary_cross_entropy",
    batch_size=16,
    epochs=2,
    dataset={"name": "xor", "examples": 40, "test_examples": 8},
    model={"name": "logistic_regression"},
    initializer="xavier_normal",
    optimizer={"name": "gradient_descent", "learning_rate": RATE},
)
WITH_STATE = RECIPE.model_copy(
    update={
        "optimizer": Recipe.model_validate(
            RECIPE.model_dump() | {"optimizer": {"name": "adam", "learning_rate": 0.1}}
        ).optimizer
    }
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The reference's trace of a small training, and its tape."""
    folder = tmp_path_factory.mktemp("recorded")
    record(WITH_STATE, folder, "float32")
    return folder


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tape")
    record(RECIPE, folder, "float64")
    return folder


def judged(path, recipe, dtype, checks):
    """The verdicts on a trace, by check and verdict, and the failing tensors in order."""
    problem = prepare(recipe, dtype)
    case = in_situations_of([trace_target(path)], build_case(problem, NumpySession(problem.in_float64())))
    expected, session = floors.measure(case), TraceSession(load_trace(path), problem)
    counts, failing = {}, []
    for check in checks:
        seen = look(session, case, check)
        found = list(compare(seen.observations, expected[check], seen.lost))
        counts[check] = Counter(str(each.verdict) for each in found)
        failing += [(check, each.key.tensor, each.step, each.cause) for each in found if each.verdict == "fail"]
    return counts, failing


def own_training(tape, rate=RATE, start=None):
    """A training by hand in float64, as a program dumps it that knows the tape and nothing else."""
    given = load_file(tape / "tape.safetensors")
    w, b = (given["initial/W1"], given["initial/b1"]) if start is None else start
    trace, costs = {}, []
    for step, rows in enumerate(given["batch"], start=1):
        x, y = given["x"][rows[rows >= 0]], given["y"][rows[rows >= 0]]
        z = x @ w.T + b
        costs.append(np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))))
        slope = (1 / (1 + np.exp(-z)) - y) / len(x)
        gradients = {"W1": slope.T @ x, "b1": slope.sum(axis=0)}
        w, b = w - rate * gradients["W1"], b - rate * gradients["b1"]
        trace |= {f"step/{step}/gradient/{name}": value for name, value in gradients.items()}
        trace |= {f"step/{step}/parameter/W1": w, f"step/{step}/parameter/b1": b}
    return trace | {"costs": np.array(costs)}


def saved(folder, tape, trace, name="own"):
    file = folder / f"{name}.safetensors"
    save_file({key: np.array(value, order="C") for key, value in trace.items()}, file)
    (folder / "tape.safetensors").write_bytes((tape / "tape.safetensors").read_bytes())
    return file


def test_the_references_own_trace_passes_everything_that_a_trace_can_answer(recorded):
    checks = ("initialization", "forward", "loss", "gradients", "update", "teacher_forced", "free_running")
    counts, failing = judged(recorded, WITH_STATE, "float32", checks)
    assert failing == []
    # A trace has no initial biases of a generator's, and so nothing else is to be said of them.
    assert counts.pop("initialization") == {"pass": 12, "unsupported": 1}
    assert all(found.keys() == {"pass"} for found in counts.values()), counts


def test_what_is_not_in_a_trace_is_unsupported(recorded, tmp_path):
    whole = load_file(recorded / "trace.safetensors")
    kept = {name: value for name, value in whole.items() if not name.endswith(("b1", "cost"))}
    file = saved(tmp_path, recorded, kept)
    counts, failing = judged(file, WITH_STATE, "float32", ("gradients", "teacher_forced"))
    assert failing == []
    assert all(found.keys() == {"pass", "unsupported"} for found in counts.values()), counts


def test_a_single_wrong_number_is_found_where_it_is(recorded, tmp_path):
    wrong = load_file(recorded / "trace.safetensors")
    wrong["answer/step/3/gradient/W1"][0, 1] *= 1.001
    _, failing = judged(saved(tmp_path, recorded, wrong), WITH_STATE, "float32", ("gradients", "teacher_forced"))
    assert [each[:3] for each in failing] == [("teacher_forced", "dW1", 3)]


def test_an_answer_counts_only_for_the_inputs_that_it_was_recorded_for(recorded):
    problem = prepare(WITH_STATE, "float32")
    session = TraceSession(load_trace(recorded), problem)
    other = {name: w + 1 for name, w in problem.tape.initial_parameters.items()}
    assert "W1" in session.gradients(problem.tape.initial_parameters, *problem.batch(0))
    with pytest.raises(Unsupported, match="no gradients for these inputs"):
        session.gradients(other, *problem.batch(0))


def test_a_program_that_dumps_its_own_training_alone_is_judged_step_by_step(tape, tmp_path):
    counts, failing = judged(
        saved(tmp_path, tape, own_training(tape)), RECIPE, "float64", ("teacher_forced", "free_running")
    )
    assert failing == []
    assert counts["teacher_forced"] == {"pass": 6 * 5}  # cost, two gradients and two parameters of each step
    assert counts["free_running"]["pass"] == 5  # the cost, and parameters after both epochs


def test_a_wrong_step_in_ones_own_training_does_not_spoil_the_steps_after_it(tape, tmp_path):
    trace = own_training(tape)
    for name in [name for name in trace if name.startswith("step/3/parameter")]:
        trace[name] = trace[name] + 0.01
    later = own_training(tape)  # whose step 4 is not from the parameters above
    trace |= {name: value for name, value in later.items() if name.startswith("step/4/")}
    _, failing = judged(saved(tmp_path, tape, trace), RECIPE, "float64", ("teacher_forced",))
    assert {each[2] for each in failing} == {3, 4}


def test_optimizer_state_that_is_not_dumped_is_carried_along_on_the_dumped_gradients(recorded, tmp_path):
    whole = load_file(recorded / "trace.safetensors")
    trace = {"costs": whole["costs"]}
    for step in range(1, 7):  # the reference's steps from its own rounded states are one training
        for name in ("gradient/W1", "gradient/b1", "parameter/W1", "parameter/b1"):
            trace[f"step/{step}/{name}"] = whole[f"answer/step/{step}/{name}"]
    counts, failing = judged(saved(tmp_path, recorded, trace), WITH_STATE, "float32", ("teacher_forced",))
    assert failing == []
    assert counts["teacher_forced"]["pass"] == 6 * 5
    assert counts["teacher_forced"]["unsupported"] == 6 * 4  # two slots of two parameters


@pytest.mark.slow
def test_the_cause_of_a_wrong_trace_is_named(tape, tmp_path):
    file = saved(tmp_path, tape, own_training(tape, rate=2 * RATE))
    (tmp_path / "recipe.toml").write_text((tape / "recipe.toml").read_text())
    arguments = ["run", "--recipe", str(tmp_path / "recipe.toml"), "--implementation", f"trace:{file}", "--no-explain"]
    ended = CliRunner().invoke(app, [*arguments, "--output", str(tmp_path / "run"), "--dtype", "float64"])
    assert ended.exit_code == 1, ended.output
    run = conformance.load_run(tmp_path / "run")
    assert set(run.records.implementation) == {"trace:own"}
    told = CliRunner().invoke(app, ["explain", str(tmp_path / "run")])
    assert "learning_rate=1.0" in told.output, told.output


def test_a_trace_of_other_initial_parameters_is_refused_by_the_tensor(tape, tmp_path):
    given = load_file(tape / "tape.safetensors")
    trace = own_training(tape) | {"step/0/parameter/W1": given["initial/W1"] + 1}
    with pytest.raises(DataError, match="step/0/parameter/W1 is not what the recipe's training begins with"):
        judged(saved(tmp_path, tape, trace), RECIPE, "float64", ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step/1/gradeint/W1": np.zeros(1)}, "did you mean 'gradient'"),
        ({"step/1/gradient/W1": np.zeros((1, 2), "float32")}, "float32 and float64: must all be of one precision"),
    ],
)
def test_a_trace_that_is_none_is_refused_before_anything_costs(tape, tmp_path, change, message):
    file = saved(tmp_path, tape, own_training(tape) | change)
    recipe = str(tape / "recipe.toml")
    ended = CliRunner().invoke(app, ["run", "--recipe", recipe, "--implementation", f"trace:{file}"])
    assert ended.exit_code == 2
    assert message in ended.output
    assert "own.safetensors" in ended.output


def test_a_step_beyond_the_training_is_refused(tape, tmp_path):
    trace = own_training(tape) | {"step/7/gradient/W1": np.zeros((1, 2))}
    with pytest.raises(DataError, match="holds step 7: the recipe's training has 6"):
        judged(saved(tmp_path, tape, trace), RECIPE, "float64", ())


def test_answers_without_the_tape_that_asked_are_refused(recorded, tmp_path):
    (tmp_path / "alone.safetensors").write_bytes((recorded / "trace.safetensors").read_bytes())
    with pytest.raises(DataError, match=r"tape\.safetensors, which has the questions, is not beside it"):
        load_trace(tmp_path / "alone.safetensors")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"recipes": "a"}, "'recipes' is no field: .*did you mean 'recipe'"),
        ({"names": []}, "names=.* must be a JSON object"),
        ({"names": {"W": 1}}, "must be a string"),
        ({"format": "2"}, "must be 'conformance-trace/1'"),
        ([], "a JSON object"),
    ],
)
def test_facts_that_are_none_are_refused(tape, tmp_path, facts, message):
    file = saved(tmp_path, tape, own_training(tape))
    file.with_suffix(".json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match=message):
        load_trace(file)


def test_a_trace_of_another_recipe_is_refused(tape, tmp_path):
    file = saved(tmp_path, tape, own_training(tape))
    file.with_suffix(".json").write_text(json.dumps({"recipe": "0" * 12}))
    with pytest.raises(DataError, match="is of a recipe with the content hash 000000000000"):
        judged(file, RECIPE, "float64", ())


def test_a_programs_own_names_are_translated(tape, tmp_path):
    trace = {name.replace("W1", "head.weight"): value for name, value in own_training(tape).items()}
    file = saved(tmp_path, tape, trace)
    file.with_suffix(".json").write_text(json.dumps({"names": {"head.weight": "W1"}}))
    assert load_trace(file).steps[1]["gradient"].keys() == {"W1", "b1"}


def test_traces_go_by_short_names_of_which_no_two_are_alike(recorded, tape, tmp_path):
    file = saved(tmp_path, tape, own_training(tape))
    targets = {"trace:one": trace_target(file), "numpy": "somewhere:Else", "trace:two": trace_target(recorded)}
    assert list(by_short_names(targets)) == ["trace:own", "numpy", f"trace:{recorded.name}"]
    with pytest.raises(ValueError, match="is there twice"):
        by_short_names({"a": trace_target(file), "trace:own": "somewhere:Else"})


def test_record_refuses_a_folder_that_holds_something_and_a_recipe_that_is_none(tape):
    for arguments, message in (
        (["--recipe", "digits-softmaxx", "-o", "new"], "is not known"),
        (["--recipe", "breast-cancer-logistic", "-o", str(tape)], "must be a new or an empty folder"),
        (["--recipe", "breast-cancer-logistic", "-o", "new", "--dtype", "float16"], "must be one of float64, float32"),
    ):
        ended = CliRunner().invoke(app, ["record", *arguments])
        assert ended.exit_code == 2
        assert message in ended.output
