"""The public Python API: typed, lazy, and the same as the command line."""

import subprocess
import sys

import pandas as pd
import pytest

import conformance


def test_every_public_name_is_there_and_others_are_refused_by_name():
    assert all(getattr(conformance, name) is not None for name in conformance.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Recipes': must be one of Checked"):
        _ = conformance.Recipes


def test_importing_the_package_imports_nothing_of_it():
    code = (
        "import sys, conformance; print([m for m in sys.modules if m.startswith(('conformance.', 'pandas', 'numpy'))])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("command", [["-m", "conformance"], ["-m", "conformance.cli"]])
def test_the_command_says_its_version(command):
    result = subprocess.run([sys.executable, *command, "--version"], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, f"conformance {conformance.__version__}\n")


def test_a_run_from_python_is_the_run_of_the_command_and_can_be_loaded_again(tmp_path, small_recipe):
    made = conformance.run(small_recipe, implementations=["numpy"], dtypes=["float64"], output=tmp_path / "out")
    loaded = conformance.load_run(tmp_path / "out")
    assert made.passed
    assert loaded.passed
    pd.testing.assert_frame_equal(made.records, loaded.records)
    assert set(loaded.records["layer"]) == {0, 1, 2}
    assert list(loaded.verdicts.columns) == ["recipe", "numpy"]
    assert loaded.first_failures.empty
    assert {"cost", "learning rate"} <= set(loaded.curves["quantity"])
    assert loaded.facts["recipes"]["small"]["optimizer"]["beta1"] == 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtypes": ["float16"]}, "dtype='float16' is not allowed: must be among float64, float32"),
        ({"device": "abacus"}, "device='abacus' is not allowed: must be among cpu, gpu, tpu"),
        ({"implementations": ["theano"]}, "implementation='theano' is not allowed"),
        ({"suite": "small"}, "suite='small' is not allowed: must be one of 'quick'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_made(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        conformance.run(output=tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()
