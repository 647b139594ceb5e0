"""The whole way: a target of the user's in a process of its own, and what is said of it."""

import json
import os
import subprocess
import sys

import pytest

import conformance
from conformance.runs.outcome import BadInput, Incomplete

MINE = '''
import os, sys
import numpy as np

def momentum(parameters, gradients, state):
    """Says nothing of its numbers."""
    print("noise on standard output")
    v = state or {name: np.zeros_like(w) for name, w in parameters.items()}
    v = {name: 0.85 * v[name] + gradients[name] for name in v}
    return {name: w - 0.05 * v[name] for name, w in parameters.items()}, v

def crash(parameters, gradients, state):
    os._exit(7)

def sleepy(parameters, gradients, state):
    import time
    time.sleep(60)

def squares(outputs, targets):
    return 0.5 * ((outputs - targets) ** 2).sum() / len(outputs)

def leaky(z):
    return np.where(z > 0, z, 0.15 * z)

def normalized(z):
    return (z - z.mean(axis=1, keepdims=True)) / np.sqrt(z.var(axis=1, keepdims=True) + 1e-4)

def rate(step):
    return 0.2 * 0.9 ** (step + 1)

def weights(generator, shape):
    return generator.normal(0, np.sqrt(2 / shape[1]), shape)

def cubed(z):
    return z ** 3
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("target", "kind", "written"),
    [
        ("mine:momentum", "optimizer", 'momentum(accumulation="sum", learning_rate=0.05, beta=0.85)'),
        ("mine:squares", "loss", 'mean_squared_error(convention="half")'),
        ("mine:leaky", "activation", "leaky_relu(slope=0.15)"),
        ("mine:normalized", "normalization", "layer_norm(epsilon=0.0001)"),
        ("mine:rate", "schedule", "exponential(learning_rate=0.18, base=0.9)"),
        ("mine:weights", "initializer", "he_normal()"),
    ],
)
def test_each_kind_of_a_users_own_is_named(mine, target, kind, written):
    answer = conformance.identify(target, kind="normalization" if kind == "normalization" else None)
    assert answer.known, str(answer)
    assert answer.kind == kind
    assert answer.found.written(kind) == written


def test_what_the_catalogue_has_not_is_none_known_with_the_nearest(mine):
    answer = conformance.identify("mine:cubed")
    assert not answer.known
    assert answer.nearest is not None
    assert answer.distance > 0.01


@pytest.mark.slow
def test_a_target_that_ends_its_process_or_takes_too_long_is_told(mine):
    with pytest.raises(Incomplete, match="its process ended: exit status 7"):
        conformance.identify("mine:crash")
    with pytest.raises(Incomplete, match="no answer within 5 s"):
        conformance.identify("mine:sleepy", seconds=5.0)


def test_a_target_that_is_not_there_is_told(mine):
    with pytest.raises(BadInput, match="did you mean 'leaky'"):
        conformance.identify("mine:leeky")
    with pytest.raises(ValueError, match="did you mean 'optimizer'"):
        conformance.identify("mine:leaky", kind="optimiser")


@pytest.mark.parametrize(("target", "status"), [("mine:leaky", 0), ("mine:cubed", 1), ("mine:leeky", 2), ("mine", 2)])
def test_the_command_ends_with_its_status(mine, target, status):
    command = [sys.executable, "-m", "conformance", "identify", target, "--json"]
    finished = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert finished.returncode == status, finished.stderr
    assert "Traceback" not in finished.stderr
    if status < 2:
        assert json.loads(finished.stdout)["target"] == target
