"""What is measured of a built-in: in this process, of PyTorch alone."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conformance.atlas import collecting
from conformance.atlas.arguments import others, without_effect
from conformance.atlas.collecting import OTHER_LOSS, Collector
from conformance.atlas.edges import of_activation, of_initializer, of_loss, of_normalization, of_optimizer, of_schedule
from conformance.atlas.entries import Entry, entries, gone, of_tables, target_of
from conformance.atlas.evidence import NOT_ASKED, TABLED, UNMAPPED
from conformance.atlas.faults import known
from conformance.atlas.layer_edges import GATES, RESET, STARTS, of_layer, traits
from conformance.atlas.regularizer_edges import of_regularizer
from conformance.atlas.snippets import run
from conformance.atlas.surprises import surprises
from conformance.atlas.survey import KINDS, look
from conformance.atlas.surveying import Signature, told
from conformance.atlas.tables import FAULT, questions
from conformance.identification.answer import Answer, Named
from conformance.identification.frameworks.torch import normalized
from conformance.identification.layers import identify as identify_layer
from conformance.identification.normalizations import batches
from conformance.identification.process import Questioned
from conformance.runs.interpreter import Interpreter
from conformance.runs.outcome import BadInput, Incomplete

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "identification")]

from atlases import of
from in_process import InProcess as Here


@pytest.fixture(scope="module")
def torch_now():
    """The survey of PyTorch, without a process of its own."""
    names = [entry.name for kind in KINDS for entry in of_tables(kind) if entry.framework == "torch"]
    return told(look("torch", names))


@pytest.fixture
def collector(torch_now, monkeypatch):
    made = Collector(torch_now, Interpreter())
    here = Here("numpy:abs", "activation")
    monkeypatch.setattr(made, "_process", lambda: here)
    return made


def entry(kind, call, found):
    return next(each for each in entries("torch", kind, found) if each.call == call)


def test_an_activation_of_the_tables_is_what_they_say(collector, torch_now):
    found = collector.evidence(entry("activation", "torch.nn.functional.leaky_relu", torch_now))
    assert (found.formulation, found.standing, found.agrees) == ("leaky_relu()", TABLED, True)
    assert found.edges["0"] == "0, slope 0.01"
    assert found.defaults["negative_slope"] == "0.01"
    assert found.digits["float64"] > 14


def test_an_activation_of_no_table_is_listed_with_what_it_is(collector, torch_now):
    found = collector.evidence(entry("activation", "torch.nn.SiLU", torch_now))
    assert (found.standing, found.component, found.formulation) == (UNMAPPED, "swish", "swish()")
    unknown = collector.evidence(entry("activation", "torch.nn.Hardtanh", torch_now))
    assert (unknown.component, unknown.formulation) == ("", "")


def test_a_table_that_says_otherwise_is_told(collector, torch_now):
    right = entry("activation", "torch.nn.functional.leaky_relu", torch_now)
    wrong = right._replace(expected=right.expected.__class__("leaky_relu", {"slope": 0.2}))
    assert collector.evidence(wrong).agrees is False


def test_a_loss_of_no_table_is_looked_at_once_before_it_is_searched_for(collector, torch_now):
    assert collector.evidence(entry("loss", "torch.nn.HuberLoss", torch_now)).reason == OTHER_LOSS


def test_what_cannot_be_made_and_what_ends_its_process_are_told_and_not_fatal(collector, torch_now, monkeypatch):
    assert "missing" in collector.evidence(entry("activation", "torch.nn.Threshold", torch_now)).reason

    def ended(asked):
        raise Incomplete("its process ended")

    monkeypatch.setattr(collecting, "answered", ended)
    assert collector.evidence(entry("activation", "torch.nn.ReLU", torch_now)).reason == "its process ended"


def test_what_a_version_does_not_have_is_gone(torch_now):
    without = torch_now._replace(signatures={})
    assert gone("torch", "optimizer", torch_now) == []
    assert "torch.optim.Adam" in [each.call for each in gone("torch", "optimizer", without)]


def test_what_another_interpreter_runs_needs_nothing_but_numpy():
    """Beside the frameworks: another environment need not have what the harness needs."""
    modules = "conformance.atlas.survey, conformance.atlas.snippets, conformance.identification.worker"
    others = "{name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)"
    code = f"import sys; before = {others}; import {modules}; print(*sorted({others} - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = {name for name in done.stdout.split() if "cython" not in name}  # which NumPy's own modules are made by
    assert imported == {"conformance", "numpy"}


def test_a_framework_that_is_not_installed_has_nothing(monkeypatch):
    monkeypatch.setitem(look.__globals__["NEEDS"], "torch", ("torch_that_nobody_has",))
    assert look("torch", []) == {"versions": {}, "found": {}, "taken": {}}


def test_arguments_without_a_name_are_given_their_names():
    call = "optax.piecewise_constant_schedule(0.1, {10: 0.5})"
    signature = Signature(("init_value",), {"boundaries_and_scales": "None"})
    target = target_of(Entry("schedule", "piecewise", "optax", call), signature)
    assert target == "optax:piecewise_constant_schedule(init_value=0.1, boundaries_and_scales={10: 0.5})"


@pytest.mark.parametrize(
    ("target", "situation", "outcome"),
    [
        ("torch.optim:SGD(lr=0.5)", "gradient 0 (weight 1, bias 1)", "both stay"),
        ("torch.optim:SGD(lr=0.5)", "gradient 1", "-1"),
        ("torch.optim:AdamW(lr=0.1, weight_decay=0.1)", "gradient 0 (weight 1, bias 1)", "weight -0.1, bias -0.1"),
        ("torch.optim:Adam(lr=0.1)", "gradient 1e20 in float32", "-1"),
        ("torch.optim:SGD(lr=0.5)", "gradient NaN, and 1 beside it", "NaN, -1"),
        ("torch.optim:SGD(lr=0.5)", "a parameter without elements", "taken; the other moves by -1"),
    ],
)
def test_edges_of_an_optimizer(target, situation, outcome):
    assert of_optimizer(Here(target, "optimizer"), "adam")[situation] == outcome


def test_edges_of_the_other_kinds():
    tie = of_activation(Here("torch.nn:Softmax(dim=-1)", "activation"), "softmax")["a tie of four"]
    assert tie.startswith("0.25, slope 0.1875")
    binary = Here("torch.nn.functional:binary_cross_entropy", "loss")
    assert of_loss(binary, "binary_cross_entropy_from_probabilities")["probability 0 of what is true"].startswith(
        "34.27"  # the mean of 100, and of -log of the two others
    )
    norm = of_normalization(Here("torch.nn:BatchNorm1d", "normalization"), "batch_norm")
    assert norm["one example"].startswith("refused: ValueError: Expected more than 1 value")
    assert norm["all numbers 3"] == "at most 0"
    drawn = of_initializer(Here("torch.nn.init:xavier_uniform_", "initializer"), "xavier_uniform")
    assert drawn["shape (5,)"].startswith("refused")
    rates = of_schedule(Here("torch.optim.lr_scheduler:CosineAnnealingLR(T_max=100)", "schedule"), "cosine")
    assert rates["step 1000"] == "0.1"  # of 0 at 100, 300, ..., 900


@pytest.mark.parametrize(
    ("target", "component", "edges"),
    [
        ("torch.optim:SGD(weight_decay=0.3)", "l2",
         {"weight 1": "slope 0.3", "bias 1": "slope 0.3", "weight 0": "slope 0"}),
        ("torch.nn.utils:clip_grad_norm_(max_norm=0.5)", "clip_by_global_norm",
         {"3, 4": "0.3, 0.4", "0.3, 0.4": "smaller by 2e-06 of it", "0.03, 0.04": "as it was", "NaN, 1": "NaN, NaN"}),
        ("torch:renorm(p=2, dim=0, maxnorm=0.5)", "max_norm", {"3, 4": "0.3, 0.4", "1e20, 1 in float32": "0, 0"}),
        ("torch.nn.functional:dropout(p=0.3)", "inverted_dropout", {"inf, in training": "inf, NaN"}),
    ],
)  # fmt: skip
def test_edges_of_a_regularizer(target, component, edges):
    found = of_regularizer(Here(target, "regularizer"), component)
    assert {name: found[name] for name in edges} == edges


@pytest.mark.parametrize(
    ("target", "component", "edges"),
    [
        ("torch.nn:MaxPool1d", "max_pool",
         {"gradients of a tie": "0, 1", "NaN in a window": "NaN", "an empty first axis": "taken"}),
        ("torch.nn:Embedding", "embedding", {"index -1": "refused: IndexError: index out of range in self"}),
        ("torch.nn:Dropout", "dropout", {"NaN, in training": "NaN"}),
        ("torch.nn:RNN", "simple_rnn",
         {"an empty first axis": "refused: RuntimeError: Expected sequence length to be larger than 0 in RNN"}),
    ],
)  # fmt: skip
def test_edges_of_a_layer(target, component, edges):
    found = of_layer(Here(target, "layer"), component)
    assert {name: found[name] for name in edges} == edges


def test_of_a_layer_its_starts_and_gates_are_told():
    keywords, starts = {"gates": "rzn", "reset": "after"}, {"W": "orthogonal()", "b": "all 0", "b_h": "all 0"}
    alone = Answer("a:B", "layer", Named("gru", keywords), starts=starts)
    both = Answer("a:B", "layer", Named("bidirectional", {"layer": Named("gru", keywords)}), starts=starts)
    told = {STARTS: "W: orthogonal(); b, b_h: all 0", GATES: "r, z, n", RESET: "after the matrix product"}
    assert traits(alone) == traits(both) == told
    assert traits(identify_layer(Here("torch.nn:Flatten", "layer"))) == {}


def test_a_layer_of_no_table_is_listed_and_asked_if_it_is_named(collector, torch_now):
    asked = []
    collector.evidence = lambda each: asked.append(each.call)
    unknown = collecting._evidence(collector, "torch", ["layer"], lambda line: None, "")
    listed = [each.call for each in unknown if each is not None and each.reason == NOT_ASKED]
    assert "torch.nn.Conv3d" in listed
    assert "torch.nn.Conv3d" not in asked
    assert {"torch.nn.GRU", "torch.nn.RMSNorm"} <= set(asked)
    assert list(collecting._evidence(collector, "torch", ["layer"], lambda line: None, "torch.nn.Conv3d")) == [None]


def test_a_normalisation_stands_once(torch_now):
    of_kind = {kind: [each.call for each in entries("torch", kind, torch_now)] for kind in ("normalization", "layer")}
    assert of_kind["normalization"].count("torch.nn.BatchNorm1d") == 1
    assert "torch.nn.BatchNorm2d" in of_kind["normalization"]
    assert [call for call in of_kind["layer"] if "Norm1d" in call or "LayerNorm" in call] == []


@pytest.mark.parametrize(
    ("call", "formulation"),
    [
        ("cross_entropy(weight=[0.5, 2.0, 1.0])",
         'categorical_cross_entropy(weight_denominator="weights", class_weights=(0.5, 2.0, 1.0))'),
        ("binary_cross_entropy_with_logits(pos_weight=2.5)", "binary_cross_entropy(class_weights=(1.0, 2.5))"),
    ],
)  # fmt: skip
def test_pytorch_s_losses_take_lists_where_they_want_tensors(collector, torch_now, call, formulation):
    found = collector.evidence(entry("loss", f"torch.nn.functional.{call}", torch_now))
    assert (found.formulation, found.agrees) == (formulation, True)


class Made:
    """A target of two arguments, of which one does nothing."""

    target = "made:target"

    def turn_to(self, target, kind):
        self.factor = 2.0 if "used" in target or "late=0.1" in target else 1.0
        if "refused" in target:
            raise BadInput("no such argument")

    def ask(self, question, arrays):
        return {"value": getattr(self, "factor", 1.0) * arrays["a0"]}


def test_an_argument_that_moves_nothing_is_told_and_one_that_is_refused_is_not():
    signature = Signature((), {"used": "0.5", "idle": "0.5", "refused": "True", "name": "'x'", "late": "None"})
    assert without_effect(Made(), "activation", "relu", signature) == ("idle=0.25",)


@pytest.mark.slow
def test_the_gain_of_keras_s_identity_has_an_effect():
    with Questioned("keras.initializers:Identity", "initializer") as asked:
        assert without_effect(asked, "initializer", "orthogonal", Signature((), {"gain": "1.0"})) == ()


def test_a_normalisation_that_takes_its_size_from_the_batch_is_given_none():
    torch = pytest.importorskip("torch")
    lazy, sized = (
        normalized(getattr(torch.nn, name), {"momentum": 0.2}, batches(0))
        for name in ("LazyBatchNorm1d", "BatchNorm1d")
    )
    assert lazy.keys() == sized.keys()
    assert all(np.array_equal(value, sized[name]) for name, value in lazy.items())


def test_the_other_values_of_an_argument():
    found = [list(others("x", text)) for text in ("0.0", "3", "None", "'mean'", "relu")]
    assert found == [[0.5], [4], [True, 0.1], [], []]


def test_pytorch_s_known_faults_are_shown_and_a_snippet_that_fails_says_why():
    found = {row.name: run(row.code) for row in known() if row.framework == "torch"}
    assert {name: one["seen"] for name, one in found.items() if not one["shown"]} == {}
    assert run("import torch\ntorch.no_such_thing") == {
        "shown": None,
        "seen": "AttributeError: module 'torch' has no attribute 'no_such_thing'",
    }


def test_the_questions_ask_for_what_the_atlas_has():
    calls = {each.call for kind in KINDS for each in of_tables(kind)}
    faults = {row.name for row in known()}
    asked = [place for row in questions() for place in row["see"]]
    assert [row for call, row in asked if call == FAULT and row not in faults] == []
    assert [call for call, _ in asked if call not in {*calls, FAULT}] == []
    assert len(questions()) >= 20


def test_pairs_are_ranked_by_how_far_apart_they_train():
    plain = of("torch.optim.Adam", "adam()", keywords={"epsilon": 1e-8, "learning_rate": 0.001})
    near = of("optax.adam", "adam()", keywords={"epsilon": 1e-7})
    far = of("keras.optimizers.Adam", "adam()", keywords={"epsilon": 0.1, "learning_rate": 0.01})
    found = surprises([plain, near, far])
    assert [{one.one, one.other} for one in found][-1] == {"torch.optim.Adam", "optax.adam"}
    assert found[0].change > found[-1].change > 0
    assert any("own rate" in one.component for one in found)
    assert surprises([plain, of("optax.adam", "adam()", keywords={"epsilon": 1e-8})]) == []
