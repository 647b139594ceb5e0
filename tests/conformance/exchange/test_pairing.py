"""Any two programs against each other: floors from the oracle's own runs, verdicts by tensor, and why they differ."""

import json
import textwrap

import numpy as np
import pytest
from typer.testing import CliRunner

import conformance
from conformance.cli.app import app
from conformance.exchange.pair import SubjectError, pair
from conformance.verdicts.compare import Verdict

GENERATOR = np.random.default_rng(0)
X, W = GENERATOR.normal(size=(6, 5)), {"W": GENERATOR.normal(size=(5, 4)), "b": GENERATOR.normal(size=4)}
IMAGES, KERNEL = GENERATOR.normal(size=(2, 8, 8, 1)), {"k": GENERATOR.normal(size=(3, 3))}
SEQUENCE = GENERATOR.normal(size=(2, 5, 4))
GATED = {"kernel": GENERATOR.normal(size=(4, 9)), "recurrent": GENERATOR.normal(size=(3, 9))}


def layers(w, x):
    z = x @ w["W"] + w["b"]
    return {"z": z, "a": np.tanh(z), "gradient of x": (1 - np.tanh(z) ** 2) @ w["W"].T}


def layers_summed_otherwise(w, x):
    z = sum((x[:, j : j + 1] * w["W"][j] for j in reversed(range(x.shape[1]))), w["b"])
    return {"z": z, "a": np.tanh(z), "gradient of x": (1 - np.tanh(z) ** 2) @ w["W"].T}


def layers_without_bias(w, x):
    return layers(w | {"b": 0 * w["b"]}, x)


def gru(w, x, order=(0, 1, 2)):
    """A recurrent layer with gates z, r, n in some order of its weights' blocks."""
    h = np.zeros((len(x), 3), x.dtype)
    for t in range(x.shape[1]):
        own, past = np.split(x[:, t] @ w["kernel"], 3, 1), np.split(h @ w["recurrent"], 3, 1)
        z, r = (1 / (1 + np.exp(-(own[order[k]] + past[order[k]]))) for k in (0, 1))
        n = np.tanh(own[order[2]] + r * past[order[2]])
        h = z * h + (1 - z) * n
    return h


def convolution(w, x, before):
    """Stride 2 over images that are padded by one row and column, before or after them."""
    padded = np.pad(x, [(0, 0), (before, 1), (before, 1), (0, 0)])[..., 0]
    starts = range(0, padded.shape[1] - 2, 2)
    return np.stack(
        [
            np.stack([(padded[:, i : i + 3, j : j + 3] * w["k"]).sum((1, 2)) for j in starts], 1)
            for i in starts
        ], 1,
    )[..., None]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_in_another_order_pass(dtype):
    found = pair(layers, layers_summed_otherwise, X, weights=W, dtype=dtype)
    assert found.ok, str(found)
    assert found.verdict == Verdict.PASS
    assert len(found.comparisons) == 3
    assert all(0 < each.floor < 1e-4 for each in found.comparisons)


def test_the_first_tensor_that_differs_is_named_in_the_order_of_computation():
    found = pair(layers, layers_without_bias, X, weights=W)
    assert found.first.key.tensor == "z"
    assert len(found.failed) == 3


@pytest.mark.parametrize("change", [1e-4, -1e-4])
def test_a_change_of_a_ten_thousandth_fails(change):
    def changed(w, x):
        return layers(w | {"W": w["W"] * np.asarray(1 + change, x.dtype)}, x)

    assert not pair(layers, changed, X, weights=W).ok


def test_the_order_of_gates_is_found_by_giving_the_weights_in_another():
    found = pair(gru, lambda w, x: gru(w, x, (1, 0, 2)), SEQUENCE, weights=GATED)
    (cause,) = found.causes
    assert "3 gates in the order 1, 0, 2 (z, r, n as in Keras, ONNX to r, z, n as in PyTorch" in cause


def test_padding_on_the_other_side_is_told():
    def after(w, x):
        return convolution(w, x, 0)

    def around(w, x):
        return convolution(w, x, 1)[:, :4, :4]

    (cause,) = pair(after, around, IMAGES, weights=KERNEL).causes
    assert "inside, but not at the border" in cause
    assert "towards the start" in cause
    assert "padded on the other side" in cause


def test_a_sequence_read_from_its_end_is_told():
    (cause,) = pair(gru, lambda w, x: gru(w, x[:, ::-1]), SEQUENCE, weights=GATED).causes
    assert "its input is reversed along axes 1" in cause


def test_what_no_hypothesis_explains_has_no_cause():
    found = pair(gru, lambda w, x: gru(w, x) ** 2, SEQUENCE, weights=GATED)
    assert not found.ok
    assert found.causes == []


def test_a_kernel_flattened_the_other_way_is_told():
    def channels_first(w, x):
        return x @ w["W"].reshape(2, 3, 4).transpose(1, 0, 2).reshape(6, 4)

    (cause,) = pair(
        lambda w, x: x @ w["W"], channels_first, GENERATOR.normal(size=(3, 6)),
        weights={"W": GENERATOR.normal(size=(6, 4))},
    ).causes  # fmt: skip
    assert "its W is given rows flattened from" in cause


def test_an_oracle_that_has_no_float64_says_so():
    def single(w, x):
        return layers({name: value.astype("float32") for name, value in w.items()}, x.astype("float32"))

    found = pair(single, single, X, weights=W)
    assert found.ok
    assert "could not be had in float64" in found.notes[0]


def test_what_one_side_alone_returns_is_listed_and_nothing_in_common_is_refused():
    found = pair(layers, lambda w, x: {"a": layers(w, x)["a"], "mine": x}, X, weights=W)
    assert any("'z'" in note for note in found.notes)
    assert any("'mine'" in note for note in found.notes)
    with pytest.raises(ValueError, match="of which layers returned none"):
        pair(layers, lambda w, x: {"mine": x}, X, weights=W)


def test_a_side_that_fails_under_test_has_crashed_and_an_oracle_that_fails_ends_it():
    def failing(w, x):
        raise RuntimeError("no such layer")

    found = pair(layers, failing, X, weights=W)
    assert found.verdict == Verdict.CRASHED
    assert "no such layer" in found.first.cause
    with pytest.raises(SubjectError, match="no such layer"):
        pair(failing, layers, X, weights=W)


def test_nan_where_the_oracle_has_a_number_fails():
    found = pair(layers, lambda w, x: layers(w, x) | {"a": np.full((6, 4), np.nan, x.dtype)}, X, weights=W)
    assert [each.key.tensor for each in found.failed] == ["a"]


def test_two_recordings_conclude_nothing_but_of_what_is_equal_or_rearranged():
    a, w = {"w": X}, X.copy()
    w[0, 0] += 1e-3
    assert pair(a, {"w": X.copy()}).verdict == Verdict.PASS
    assert pair(a, {"w": w}).verdict == Verdict.INCONCLUSIVE
    turned = pair(a, {"w": X[::-1].copy()})
    assert turned.verdict == Verdict.FAIL
    assert turned.causes == ["w is the oracle's, reversed along axis 0"]


def test_a_recording_is_held_against_the_side_that_runs():
    given = {name: value.astype("float32") for name, value in W.items()}
    recorded = layers(given, X.astype("float32"))
    found = pair(recorded, layers, X, weights=W)
    assert found.ok
    assert found.oracle == "layers"


def test_recorded_trainings_differ_first_at_the_step_that_does():
    steps = {f"step/{step}/gradient/W1": GENERATOR.normal(size=(3, 2)) for step in (1, 2, 10)}
    wrong = steps | {name: -steps[name] for name in ("step/10/gradient/W1", "step/2/gradient/W1")}
    assert pair(steps, wrong).first.step == 2


def test_starts_are_compared_by_what_chance_leaves_alike():
    def normal(seed):
        return {"embedding": np.random.default_rng(seed).normal(size=(1000, 16)), "bias": np.zeros(16)}

    def another(seed):
        return normal(1000 + seed)

    def uniform(seed):
        return {"embedding": np.random.default_rng(seed).uniform(-0.05, 0.05, (1000, 16)), "bias": np.zeros(16)}

    assert pair(normal, another, start=True).ok
    found = pair(normal, uniform, start=True)
    assert {each.key.tensor for each in found.failed} == {"root mean square of embedding", "kurtosis of embedding"}


def test_modules_are_taken_as_they_are():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    other = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    other.load_state_dict(module.state_dict())
    found = pair(module, other, X)
    assert found.ok, str(found)
    compared = [each.key.tensor for each in found.comparisons]
    assert compared[:4] == ["0", "1", "2", "output"]
    assert {"gradient of 0.weight", "gradient of 2.bias", "gradient of x"} <= set(compared)
    assert found.weights.same
    with torch.no_grad():
        other[2].weight.copy_(other[2].weight.flip(0))
    assert pair(module, other, X).first.key.tensor == "2"


@pytest.fixture
def sides(tmp_path, monkeypatch):
    """A module of two sides, and files of what they are given; the folder is the current one."""
    code = """
        import numpy as np
        def right(w, x): return {"z": x @ w["W"], "a": np.maximum(x @ w["W"], 0)}
        def leaky(w, x): return {"z": x @ w["W"], "a": np.where(x @ w["W"] > 0, x @ w["W"], 0.01 * (x @ w["W"]))}
        def ending(w, x): import os; os._exit(7)
        nothing = 3
    """
    (tmp_path / "sides.py").write_text(textwrap.dedent(code))
    np.savez(tmp_path / "x.npz", x=X)
    np.savez(tmp_path / "w.npz", W=W["W"])
    monkeypatch.chdir(tmp_path)
    return ["--inputs", "x.npz", "--weights", "w.npz"]


@pytest.mark.parametrize(
    ("a", "b", "status", "said"),
    [
        ("sides:right", "sides:right", 0, "PASS"),
        ("sides:right", "sides:leaky", 1, "first divergence: a: "),
        ("sides:right", "sides:ending", 1, "CRASHED"),
        ("sides:ending", "sides:right", 3, "its process has ended"),
        ("sides:right", "sides:wrong", 2, "cannot be loaded"),
        ("sides:right", "sides:nothing", 2, "must be a function"),
        ("sides:right", "none.npz", 2, "no such file"),
    ],
)
def test_the_command_runs_each_side_in_a_process_of_its_own(sides, a, b, status, said):
    ended = CliRunner().invoke(app, ["pair", a, b, *sides])
    assert ended.exit_code == status, ended.output
    assert said in ended.output


def test_the_command_tells_programs_too(sides):
    ended = CliRunner().invoke(app, ["pair", "sides:right", "sides:leaky", *sides, "--json"])
    told = json.loads(ended.output)
    assert told["verdict"] == "fail"
    assert told["first"] == "a"
    assert [row["verdict"] for row in told["rows"]] == ["pass", "fail"]
    assert any("Not known without a reference" in note for note in told["notes"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": None}, "x is missing"),
        ({"x": X, "dtype": "float16"}, "must be one of float32, float64"),
        ({"x": {}}, "x holds no array"),
    ],
)
def test_arguments_that_are_not_allowed_are_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        conformance.pair(layers, layers, weights=W, **arguments)
