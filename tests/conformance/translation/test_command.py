"""``conformance translate`` as a command, and what it prints."""

import json
import subprocess
import sys

import pytest

import conformance
from conformance.translation.translated import EXACT, REFUSED, Translation


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["adam", "--to", "numpy", "--set", "learning_rate=0.01"], 0, ""),
        (["adam", "--to", "nunpy"], 2, "did you mean 'numpy'"),
        (["adm", "--to", "numpy"], 2, "did you mean 'adam'"),
        (["adam", "--to", "numpy", "--set", "rate"], 2, "must be ARGUMENT=VALUE"),
        (["keras.Adam", "--to", "torch", "--set", "beta1=0.8"], 2, "did you mean 'beta_1'"),
        (["moons-twise", "--to", "numpy"], 2, "did you mean 'moons-twice'"),
    ],
)
def test_the_command_ends_with_its_status(arguments, status, said):
    command = [sys.executable, "-m", "conformance", "translate", *arguments, "--json"]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == status, finished.stderr
    assert "Traceback" not in finished.stderr
    assert said in finished.stderr
    if status == 0:
        found = json.loads(finished.stdout)
        assert found["code"] == "from reference_numpy.optimizers import adam\n\noptimizer = adam(0.01)"
        assert found["digits"]["float64"] > 15


def test_it_is_had_from_python_too():
    found = conformance.translate("lion", to="numpy", settings={"learning_rate": 0.5})
    assert str(found).splitlines()[:5] == [
        "# lion -> NumPy: by this project's implementation, as no built-in is the same",
        "",
        "from reference_numpy.optimizers import lion",
        "",
        "optimizer = lion(0.5)",
    ]


def test_the_text_says_what_was_found_and_why_not():
    found = Translation(
        "a.B", "optimizer", "jax", EXACT, "code", "other code", "b()", {"float64": 15.04}, "a.B in 200 steps"
    )
    assert str(found).splitlines() == [
        "# a.B -> JAX: exact, by a built-in", "", "code", "",
        "# Where the learning rate changes:", "", "other code", "",
        "# formulation b()", "# verified    15.0 digits in float64, against a.B in 200 steps",
    ]  # fmt: skip
    refused = Translation("a.B", "optimizer", "torch", REFUSED, reason="why", nearest="c", apart="far")
    assert str(refused).splitlines() == ["# a.B -> PyTorch: refused", "# because     why", "# nearest     c: far"]
    assert (found.found, refused.found) == (True, False)
