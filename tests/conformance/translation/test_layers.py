"""Layers translated: by what their arguments can say, with which array is which, or by this project's own."""

import dataclasses
import sys
from pathlib import Path

import pytest

from conformance.identification.answer import Answer, Named
from conformance.recipes.layer_dialects import layer_dialects
from conformance.runs.outcome import BadInput
from conformance.translation import layers
from conformance.translation.page import part, rows
from conformance.translation.translate import translate
from conformance.translation.translated import EXACT, IN_FLOAT32, OURS, REFUSED
from conformance.translation.trial import Processes
from reference_numpy.layers import LAYERS

sys.path.insert(0, str(Path(__file__).parent))

from in_this_process import InThisProcess

PAGE = Path(__file__).parents[3] / "docs/translated.md"
DIGITS = {"float64": 15.0, "float32": 6.5}


class Told:
    """A trial in which every target is what is said of it; what is not said cannot be asked."""

    def __init__(self, **answers):
        self.answers = {name.replace("__", ":"): answer for name, answer in answers.items()}
        self.asked = []

    def has(self, framework):
        return True

    def identified(self, framework, target, module, kind):
        self.asked.append(target)
        name = target.partition("(")[0].rpartition(":")[2]
        if name not in self.answers:
            raise BadInput(f"target {target} cannot be had")
        return self.answers[name]


def answer(layer, arrays=None, starts=None, notes=(), **keywords):
    return Answer("a:B", "layer", Named(layer, keywords), DIGITS, notes=notes, arrays=arrays or {}, starts=starts or {})


def test_what_its_arguments_can_say_makes_another_framework_s_layer_the_same():
    trial = Told(
        Conv2d=answer("convolution", {"W": "weight, axes 0, 2, 3, 1"}, channels=2, kernel=(3, 2), stride=2),
        Conv2D=answer("convolution", {"W": "kernel, axes 3, 0, 1, 2"}, channels=2, kernel=(3, 2), stride=(2, 2)),
    )
    found = translate("torch.nn.Conv2d(in_channels=3, out_channels=8, kernel_size=3, stride=2)", to="tf", trial=trial)
    assert (found.outcome, found.digits) == (EXACT, DIGITS)
    assert found.code == "import keras\n\nlayer = keras.layers.Conv2D(filters=8, kernel_size=3, strides=2)"
    assert found.arrays == {"W": ("weight, axes 0, 2, 3, 1", "kernel, axes 3, 0, 1, 2")}
    assert "array       weight, axes 0, 2, 3, 1 -> kernel, axes 3, 0, 1, 2" in str(found)
    assert trial.asked[-1] == "keras.layers:Conv2D(strides=2)"


def test_a_size_that_was_not_said_is_a_name_and_a_cell_stands_in_what_runs_it():
    trial = Told(LSTM=answer("lstm", return_sequences=True), LSTMCell=answer("lstm", return_sequences=True))
    found = translate("keras.LSTM(units=7, return_sequences=True)", to="jax", trial=trial)
    assert found.code.splitlines()[-1] == (
        "layer = nnx.RNN(nnx.LSTMCell(in_features=in_features, hidden_features=7, rngs=nnx.Rngs(0)))"
    )


def test_what_a_layer_was_asked_with_and_nobody_said_is_a_name():
    trial = Told(MaxPool1d=answer("max_pool", window=(3,)), MaxPooling1D=answer("max_pool", window=3))
    found = translate("torch.nn.MaxPool1d", to="tf", trial=trial)
    assert found.code.splitlines()[-1] == "layer = keras.layers.MaxPooling1D(pool_size=pool_size)"
    assert trial.asked[-1] == "keras.layers:MaxPooling1D(pool_size=(3,))"
    found = translate("torch.nn.MaxPool1d(kernel_size=3)", to="tf", trial=trial)
    assert found.code.splitlines()[-1] == "layer = keras.layers.MaxPooling1D(pool_size=(3,))"
    found = translate("torch.nn.MaxPool1d", to="numpy", trial=trial)
    assert found.code.splitlines()[-1] == "layer = max_pool(window=window)"


def test_agreement_in_few_digits_is_told_as_a_condition():
    few = dataclasses.replace(answer("flatten"), digits={"float64": 6.4, "float32": 6.6})
    found = translate("torch.nn.Flatten", to="tf", trial=Told(Flatten=few))
    assert (found.outcome, found.conditions, found.notes) == (EXACT, (IN_FLOAT32,), (layers.FLATTENS,))


def test_the_order_of_gates_and_the_start_make_no_other_layer_and_are_told():
    alike = {"return_sequences": True, "biases": 2}
    source = answer("gru", {"b": "bias_ih"}, {"b": "uniform"}, ("its data: steps first",), **alike)
    asked = iter((source, answer("gru", {"b": "bias[0]"}, {"b": "all 0"}, gates="zrn", **alike)))
    trial = Told()
    trial.identified = lambda *_: next(asked)
    found = translate("torch.nn.GRU", to="tf", trial=trial)
    assert found.code.splitlines()[-1] == "layer = keras.layers.GRU(units=units, return_sequences=True)"
    assert found.notes == (
        "a.B: its data: steps first",
        "the gates lie in the order rzn; in keras.layers.GRU in the order zrn: their blocks change places",
        "b starts as uniform; with keras.layers.GRU as all 0",
    )


def test_a_layer_that_turns_out_to_be_another_is_not_printed():
    trial = Told(Linear=answer("dense", units=2), Dense=answer("dense", units=2, bias=False))
    found = translate("torch.nn.Linear", to="tf", trial=trial)
    assert (found.outcome, found.code.splitlines()[0]) == (OURS, "from impl_tf.layers import dense")


def test_what_no_argument_can_say_is_this_projects_own_and_it_is_told_why():
    found = translate("torch.nn.LSTM(hidden_size=16)", to="tf", trial=Told(LSTM=answer("lstm", biases=2)))
    assert (found.outcome, found.component) == (OURS, "lstm")
    assert found.code == "from impl_tf.recurrent import lstm\n\nlayer = lstm(units=16, biases=2)"
    assert found.notes == (layers.TWO_BIASES, "keras.LSTM has biases=1, not 2, and no argument for it")


def test_two_biases_of_a_gru_are_no_sum():
    found = translate(
        "torch.nn.GRU(hidden_size=16)", to="jax", trial=Told(GRU=answer("gru", biases=2, return_sequences=True))
    )
    assert found.notes == ("flax.GRUCell has biases=1, not 2, and no argument for it",)


def test_what_the_catalogue_has_not_is_refused_with_the_nearest():
    none = Answer("a:B", "layer", None, nearest=Named("dense", {"units": 2}), distance=0.125)
    found = translate("keras.Dense(units=2, activation='relu')", to="jax", trial=Told(Dense=none))
    assert (found.outcome, found.nearest, found.apart) == (REFUSED, "dense()", "1.2e-01 away on average")
    assert found.reason.endswith(layers.INSIDE)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("torch.nn.GRU(7)", "arguments of a layer must be given by name, as units=4"),
        ("torch.nn.GRU(units=f(7))", "must be a name, or a call with literal arguments"),
        ("torch.nn.GRU", "target torch.nn:GRU cannot be had"),
    ],
)
def test_what_is_not_allowed_is_refused(name, said):
    with pytest.raises(ValueError, match=said):
        translate(name, to="tf", trial=Told())


def test_every_spelling_is_of_a_dialect_and_of_a_keyword_of_its_layer():
    import inspect

    known = {}
    for dialect in layer_dialects():
        known.setdefault((dialect.framework, dialect.builtin.partition("(")[0]), set()).add(dialect.layer)
    table = layers._file()
    assert {(framework, function) for framework, own in table.items() for function in own} <= known.keys()
    for (framework, function), of in known.items():
        keywords = {name for layer in of for name in inspect.signature(LAYERS[layer]).parameters}
        assert set(layers.spelled(framework, function).keywords) <= keywords, function


def test_layers_of_pytorch_are_run_here_and_their_arrays_told():
    pytest.importorskip("torch")
    trial = InThisProcess()
    found = translate("torch.nn.Linear(out_features=7)", to="numpy", trial=trial)
    assert found.code.endswith("layer = dense(units=7)")
    assert found.arrays == {"W": ("weight", "W"), "b": ("bias", "b")}
    found = translate("torch.nn.Dropout(p=0.2)", to="numpy", trial=trial)
    names = {}
    exec(compile(found.code, "translated", "exec"), names)
    assert names["layer"].keep_probability == 0.8


def rows_of(page):
    """The rows of a page's tables of built-ins, without the digits, of which the last is chance's."""
    return [line.rsplit("|", 2)[0] for line in page.splitlines() if line.startswith("| `")]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_layer_in_every_framework_is_had_or_refused():
    """Which raises for a layer that cannot be asked, and tells as exact only what was asked and is the same."""
    pytest.importorskip("keras")
    pytest.importorskip("flax")
    with Processes() as trial:
        found = list(rows("layer", trial))
    assert {row.found.outcome for row in found} == {EXACT, OURS}
    for row in found:
        if row.found.outcome == EXACT and row.found.digits:
            assert row.found.digits["float64"] > (5 if IN_FLOAT32 in row.found.conditions else 13), row
    told = rows_of(part("layer", found))
    assert len(told) == len(found)
    assert set(told) <= set(rows_of(PAGE.read_text(encoding="utf-8"))), "python -m conformance.translation.page layer"
