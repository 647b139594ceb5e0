"""Whole runs from the command line, with implementations that are right, wrong, broken and dead."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from conformance.cli import app
from conformance.verdicts.order import LADDER

LOOKED_AT = tuple(check for check in LADDER if check != "native")  # that one looks at recipes with dropout
RECIPE = """
name = "small"
batch_size = 32
epochs = 2
loss = "binary_cross_entropy"
dataset = {name = "xor", examples = 80, test_examples = 20}
model = {name = "shallow_network", hidden_units = [3], activation = "tanh"}
optimizer = {name = "adam", learning_rate = 0.01}
"""

PLUGIN = """
import os
import numpy as np
from conformance.adapters.session import Unsupported
from conformance.adapters.numpy import NumpyAdapter, NumpySession
from reference_numpy import optimizers

class Wrong(NumpyAdapter):
    '''Adam with beta1 and beta2 exchanged.'''
    def session(self, problem):
        session = NumpySession(problem)
        session.optimizer = optimizers.adam(0.01, beta1=0.999, beta2=0.9)
        return session

class Session(NumpySession):
    def gradients(self, parameters, x, y, masks, weights):
        raise RuntimeError("boom | <b>bold</b>")
    def predict_classes(self, parameters, x, statistics):
        raise Unsupported("no classes here")

class Broken(NumpyAdapter):
    def session(self, problem):
        return Session(problem)

class Dead(NumpyAdapter):
    def session(self, problem):
        print("last words", file=__import__("sys").stderr, flush=True)
        os._exit(7)

class OptimizerAlone(NumpyAdapter):
    def session(self, problem):
        own = NumpySession(problem)
        return type("Alone", (), {"optimizer_step": staticmethod(own.optimizer_step)})()

class Silent(NumpyAdapter):
    def session(self, problem):
        raise Unsupported("not this one")

class WrongOptimizerAlone(Wrong):
    def session(self, problem):
        own = Wrong.session(self, problem)
        return type("Alone", (), {"optimizer_step": staticmethod(own.optimizer_step)})()

class OnAnything(NumpyAdapter):
    def __init__(self, device):
        super().__init__("cpu")
        self.device = device

class Picky(NumpyAdapter):
    def session(self, problem):
        if problem.dtype == np.float32:
            raise Unsupported("float64 only")
        return NumpySession(problem)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "small.toml").write_text(RECIPE, encoding="utf-8")
    (folder / "plugin.py").write_text(PLUGIN, encoding="utf-8")
    return folder


def conformance(place, *arguments):
    path = os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "200"}
    command = [sys.executable, "-m", "conformance.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def finished(place):
    """One run of everything: the reference, a wrong one, a broken one, a dead one and a picky one."""
    implementations = ",".join(["numpy", *(f"plugin:{name}" for name in ("Wrong", "Broken", "Dead", "Picky"))])
    result = conformance(
        place, "run", "--recipe", "small.toml", "--implementation", implementations, "--output", "out", "--no-explain"
    )
    return result, pd.read_csv(place / "out" / "records.csv", keep_default_na=False, na_values=["nan", ""])


def test_a_run_of_the_reference_alone_passes_with_exit_status_zero(place):
    result = conformance(place, "run", "--recipe", "small.toml", "--implementation", "numpy")
    assert result.returncode == 0, result.stderr
    latest = place / "reports" / "latest"
    assert latest.is_symlink()
    assert {"records.csv", "curves.csv", "summary.md", "environment.json", "traces"} <= set(os.listdir(latest))
    assert "Every implementation conforms" in (latest / "summary.md").read_text(encoding="utf-8")
    records = pd.read_csv(latest / "records.csv")
    assert set(records["verdict"]) == {"pass"}
    assert set(records["check"]) == set(LOOKED_AT)
    curves = pd.read_csv(latest / "curves.csv")
    assert {"cost", "learning rate", "gradient norm", "mean cost", "test accuracy"} <= set(curves["quantity"])
    costs = curves[(curves["quantity"] == "cost") & (curves["dtype"] == "float64")]
    by_implementation = {name: own["value"].tolist() for name, own in costs.groupby("implementation")}
    assert list(by_implementation) == ["numpy", "oracle"]
    assert len(by_implementation["numpy"]) == 6
    assert by_implementation["oracle"] == pytest.approx(by_implementation["numpy"], rel=1e-12)
    assert set(curves[curves["implementation"] == "oracle"]["quantity"]) > set(costs["quantity"]) | {"test accuracy"}


def test_records_have_the_documented_columns_in_order(finished):
    _, records = finished
    assert (
        list(records.columns)
        == (
            "run recipe recipe_hash suite model dataset optimizer regularizers initializer schedule implementation "
            "framework_version device dtype check stage layer step tensor error ulps floor allowance "
            "error_per_allowance ceiling allowance_per_ceiling nearest_fault verdict cause seconds"
        ).split()
    )


def test_a_wrong_implementation_fails_where_it_is_wrong(finished):
    _, records = finished
    wrong = records[records["implementation"] == "plugin:Wrong"]
    failing = wrong[wrong["verdict"] == "fail"]
    assert set(wrong[wrong["check"].isin(["forward", "loss", "gradients"])]["verdict"]) == {"pass"}
    first = failing[failing["check"] == "update"].iloc[0]
    assert (first["stage"], first["step"]) == ("optimizer state", 1)
    assert first["tensor"].startswith("first_moment of")
    assert {"teacher_forced", "free_running"} <= set(failing["check"])


def test_an_exception_is_a_record_of_that_check_and_the_others_go_on(finished):
    _, records = finished
    broken = records[records["implementation"] == "plugin:Broken"]
    assert set(broken[broken["check"] == "gradients"]["verdict"]) == {"crashed"}
    assert "RuntimeError: boom" in broken[broken["check"] == "gradients"]["cause"].iloc[0]
    assert set(broken[broken["check"] == "forward"]["verdict"]) == {"pass"}
    training = broken[broken["check"] == "free_running"].groupby("verdict")["tensor"].agg(set)
    assert training["unsupported"] == {"predicted classes (training)", "predicted classes (test)"}
    assert {"cost", "W1"} <= training["pass"]
    stepped = broken[broken["check"] == "teacher_forced"].groupby("verdict")["tensor"].agg(set)
    assert {"cost", "dW1"} <= stepped["crashed"]
    assert "W1" in stepped["pass"]  # the optimizer was given the reference's gradients


def test_a_worker_that_dies_leaves_a_record_for_everything_it_did_not_get_to(finished):
    result, records = finished
    dead = records[records["implementation"] == "plugin:Dead"]
    assert set(dead["verdict"]) == {"crashed"}
    assert len(dead) == 2 * len(LADDER)
    assert "exit status 7: last words" in dead["cause"].iloc[0]
    assert result.returncode == 3
    assert "worker plugin:Dead" in result.stderr


def test_the_death_of_one_worker_takes_no_other_with_it(finished):
    _, records = finished
    assert set(records[records["implementation"] == "numpy"]["verdict"]) == {"pass"}


def test_what_an_implementation_does_not_support_is_said(finished):
    _, records = finished
    picky = records[records["implementation"] == "plugin:Picky"].groupby("dtype")["verdict"].agg(set)
    assert picky["float64"] == {"pass"}
    assert picky["float32"] == {"unsupported"}


def test_the_summary_names_implementation_check_stage_tensor_and_step(place, finished):
    summary = (place / "out" / "summary.md").read_text(encoding="utf-8")
    assert (
        "**plugin:Wrong**, small, float64: check `update`, stage `optimizer state`, tensor `first_moment of" in summary
    )
    assert ", step 1: fail, error" in summary
    assert "<b>" not in summary


def test_a_report_can_be_made_anew_from_the_records(place, finished):
    folder = place / "out"
    before = {name: (folder / name).read_bytes() for name in ("records.csv", "curves.csv", "summary.md")}
    for name in before:
        (folder / name).unlink()
    result = conformance(place, "report", "out")
    assert result.returncode == 3
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_the_environment_is_recorded(place, finished):
    facts = json.loads((place / "out" / "environment.json").read_text(encoding="utf-8"))
    assert facts["environment"]["worker_environment"]["OMP_NUM_THREADS"] == "1"
    assert facts["implementation numpy"]["device"] == "cpu"
    assert facts["recipes"]["small"]["optimizer"]["epsilon_position"] == "outside_root"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--suite", "huge"], "suite='huge' is not allowed: must be one of"),
        (["run", "--implementation", "numpy,theano"], "implementation='theano' is not allowed: must be one of numpy"),
        (["run", "--implementation", "plugin:Absent", "--recipe", "small.toml"], "cannot be loaded"),
        (["run", "--dtype", "float16"], "dtype='float16' is not allowed: must be among float64, float32"),
        (["run", "--device", "abacus"], "device='abacus' is not allowed: must be among cpu, gpu, tpu"),
        (["run", "--recipe", "absent.toml"], "absent.toml: cannot be read"),
        (["run", "--recipe", "small.toml", "--output", "."], "must be a new or an empty folder"),
        (["list", "optimisers"], "did you mean 'optimizers'?"),
        (["report", "nowhere"], "is not the folder of a run"),
        (["run", "--unknown"], "No such option"),
    ],
)
def test_bad_usage_ends_with_exit_status_two_and_says_what_is_allowed(place, monkeypatch, arguments, message):
    monkeypatch.chdir(place)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("COLUMNS", "200")
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert message in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr


def test_a_device_that_is_not_there_is_refused_with_what_was_found(place):
    arguments = ["run", "--recipe", "small.toml", "--implementation", "torch", "--device", "tpu"]
    result = conformance(place, *arguments)
    assert result.returncode == 2
    assert "device='tpu' is not there: PyTorch" in result.stderr
    assert "found cpu" in result.stderr


def test_of_a_device_it_is_said_who_does_not_have_it_and_who_has(place):
    arguments = ["run", "--recipe", "small.toml", "--device", "gpu"]
    result = conformance(place, *arguments, "--implementation", "numpy,plugin:OnAnything")
    assert result.returncode == 2
    assert "numpy: device='gpu' is not there" in result.stderr
    assert "plugin:OnAnything can be had on it" in result.stderr


@pytest.mark.slow
def test_numpy_has_no_device_but_the_cpu(place):
    result = conformance(place, "run", "--recipe", "small.toml", "--implementation", "numpy", "--device", "gpu")
    assert result.returncode == 2
    assert "device='gpu' is not there: NumPy computes on the cpu alone" in result.stderr.replace("\n", " ")
    assert "--implementation torch,tf,jax" in result.stderr.replace("\n", " ")


def test_an_implementation_that_offers_nothing_does_not_conform(place):
    arguments = ["run", "--recipe", "small.toml", "--dtype", "float64", "--implementation", "numpy,plugin:Silent"]
    result = conformance(place, *arguments, "--output", "silent")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "plugin:Silent offers nothing of what was asked for" in result.stdout
    assert "**Nothing of plugin:Silent was compared" in (place / "silent" / "summary.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_partial_implementation_that_is_right_passes_and_a_wrong_one_is_explained(place):
    arguments = ["run", "--recipe", "small.toml", "--dtype", "float64", "--implementation"]
    right = conformance(place, *arguments, "plugin:OptimizerAlone", "--output", "partial")
    assert right.returncode == 0, right.stdout + right.stderr
    assert "FAIL" not in right.stdout
    wrong = conformance(place, *arguments, "plugin:WrongOptimizerAlone", "--output", "wrong")
    assert wrong.returncode == 1
    assert "first_moment of" in wrong.stdout
    explained = conformance(place, "explain", "wrong")
    assert "Traceback" not in explained.stderr
    assert "first divergence: check update" in explained.stdout
    assert conformance(place, "explain", "partial").returncode == 0


def test_data_that_cannot_be_had_is_refused_with_the_recipe_and_the_reason(place, monkeypatch):
    monkeypatch.setenv("CONFORMANCE_DATA", str(place / "nowhere"))
    text = RECIPE.replace('{name = "xor", examples = 80, test_examples = 20}', '{name = "cat_files"}')
    (place / "cats.toml").write_text(text, encoding="utf-8")
    before = os.listdir(place / "reports") if (place / "reports").exists() else []
    result = conformance(place, "run", "--recipe", "cats.toml", "--implementation", "numpy")
    assert result.returncode == 2
    assert "numpy: 0 of" not in result.stderr  # nothing was begun
    assert (os.listdir(place / "reports") if (place / "reports").exists() else []) == before
    assert "recipe 'small'" in result.stderr
    assert "train_catvnoncat.h5" in result.stderr


@pytest.mark.parametrize("what", ["models", "optimizers", "datasets", "checks", "suites"])
def test_list_prints_a_table_or_json(place, what):
    rows = json.loads(conformance(place, "list", what, "--json").stdout)
    assert rows
    assert all(row["name"] for row in rows)
    assert rows[0]["name"] in conformance(place, "list", what).stdout


def test_the_cli_is_the_installed_command():
    command = Path(sys.executable).with_name("conformance")
    assert subprocess.run([command, "--help"], capture_output=True, check=True).stdout
