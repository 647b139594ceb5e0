"""Regularizers: the frameworks' own against the rows of ``builtins.toml``, and a user's, right and wrong."""

import sys
from pathlib import Path

import pytest

import conformance
from conformance.identification.regularizers import NOTHING, identify
from conformance.recipes.catalogue_page import builtins
from conformance.translation.functions import same

sys.path.insert(0, str(Path(__file__).parent))

from in_process import InProcess

pytest.importorskip("torch")

MINE = """
import torch

def ridge(w):
    return 0.05 * (w**2).sum()

def cubic(w):
    return (w.abs() ** 3).sum()"""


def found(target):
    return identify(InProcess(target, "regularizer"))


@pytest.mark.parametrize(
    ("target", "written", "notes"),
    [
        ("torch.optim:SGD(weight_decay=0.3)", 'l2(strength=0.3, convention="half")', ("of biases too",)),
        ("torch.nn.utils:clip_grad_value_(clip_value=0.5)", "clip_by_value(limit=0.5)", ()),
        ("torch.nn.functional:dropout(p=0.3)", "inverted_dropout(keep_probability=0.7)", ()),
    ],
)
def test_pytorch_s_are_what_the_tables_say(target, written, notes):
    answer = found(target)
    assert (answer.found.written("regularizer"), answer.notes) == (written, notes)
    assert all(digits > 14 for dtype, digits in answer.digits.items() if dtype == "float64")


def test_a_small_number_beside_a_norm_is_no_formulation():
    clipped, constrained = (
        found("torch.nn.utils:clip_grad_norm_(max_norm=0.5)"),
        found("torch:renorm(p=2, dim=0, maxnorm=0.5)"),
    )
    assert (clipped.found, clipped.nearest.name) == (None, "clip_by_global_norm")
    assert (constrained.found, constrained.nearest.name) == (None, "max_norm")
    assert 0 < clipped.distance < 1e-6


def test_what_changes_nothing_and_what_takes_nothing_are_said():
    assert found("torch.nn:Identity").reason == NOTHING
    assert found("torch.optim:SGD").reason == NOTHING
    assert found("torch.nn.functional:dropout(p=2.0)").reason.startswith("it takes no weights or gradients")


def test_a_user_s_penalty_is_told_and_another_power_is_none(tmp_path, monkeypatch):
    (tmp_path / "penalties_of_a_user.py").write_text(MINE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert found("penalties_of_a_user:ridge").found.written("regularizer") == 'l2(strength=0.05, convention="full")'
    assert found("penalties_of_a_user:cubic").found is None


OTHERS = {
    "keras.regularizers.L2(0.3)": "keras.regularizers:L2(l2=0.3)",
    "keras.regularizers.L1(0.3)": "keras.regularizers:L1(l1=0.3)",
    "keras.regularizers.L1L2(l1=0.3, l2=0.1)": "keras.regularizers:L1L2(l1=0.3, l2=0.1)",
    "tf.nn.l2_loss": "tensorflow.nn:l2_loss", "tf.nn.dropout(rate=0.3)": "tensorflow.nn:dropout(rate=0.3)",
    "tf.clip_by_norm(clip_norm=0.5)": "tensorflow:clip_by_norm(clip_norm=0.5)",
    "tf.clip_by_global_norm(clip_norm=0.5)": "tensorflow:clip_by_global_norm(clip_norm=0.5)",
    "keras.optimizers.SGD(clipvalue=0.5)": "keras.optimizers:SGD(clipvalue=0.5)",
    "keras.optimizers.SGD(clipnorm=0.5)": "keras.optimizers:SGD(clipnorm=0.5)",
    "keras.optimizers.SGD(global_clipnorm=0.5)": "keras.optimizers:SGD(global_clipnorm=0.5)",
    "keras.constraints.MaxNorm(0.5)": "keras.constraints:MaxNorm(max_value=0.5)",
    "optax.add_decayed_weights(0.3)": "optax:add_decayed_weights(weight_decay=0.3)",
    "optax.clip(0.5)": "optax:clip(max_delta=0.5)",
    "optax.clip_by_global_norm(0.5)": "optax:clip_by_global_norm(max_norm=0.5)",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("call", OTHERS)
def test_those_of_the_other_frameworks_are_what_the_tables_say(call):
    pytest.importorskip(OTHERS[call].partition(":")[0].partition(".")[0])
    row = next(row for row in builtins() if row.call == call)
    answer = conformance.identify(OTHERS[call], kind="regularizer")
    if row.differs:
        assert (answer.found, answer.nearest.name) == (None, row.component)
    else:
        assert same("regularizer", answer.found, answer.found.__class__(row.component, row.keywords))
