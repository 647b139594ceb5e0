"""Activations, losses, schedules, normalisations and initializers translated, without Keras."""

import sys
from pathlib import Path

import pytest

from conformance.identification.answer import Named
from conformance.recipes.catalogue_page import builtins
from conformance.translation import calls, functions
from conformance.translation.calls import read
from conformance.translation.translate import translate
from conformance.translation.translated import EXACT, OURS, REFUSED

sys.path.insert(0, str(Path(__file__).parent))

from in_this_process import InThisProcess

jax = pytest.importorskip("jax")
pytest.importorskip("optax")
pytest.importorskip("torch")

TRIAL = InThisProcess()


@pytest.fixture(autouse=True)
def in_float64():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "to", "last_line"),
    [
        ("torch.sigmoid", "jax", "activation = jax.nn.sigmoid"),
        slow("jax.nn.gelu", "torch", "activation = functools.partial(torch.nn.functional.gelu, approximate='tanh')"),
        (
            "torch.nn.functional.leaky_relu(negative_slope=0.3)",
            "jax",
            "activation = functools.partial(jax.nn.leaky_relu, negative_slope=0.3)",
        ),
        slow(
            "torch.optim.lr_scheduler.ExponentialLR(gamma=0.9)",
            "jax",
            "schedule = optax.exponential_decay(0.1, transition_steps=1, decay_rate=0.9)",
        ),
        ("torch.optim.lr_scheduler:StepLR(step_size=7, gamma=0.5)", "numpy",
         "schedule = staircase(every=7, learning_rate=0.1)"),
    ],
)  # fmt: skip
def test_a_function_is_found_by_what_it_is_and_run(name, to, last_line):
    found = translate(name, to=to, trial=TRIAL)
    assert found.outcome == (OURS if to == "numpy" else EXACT)
    assert found.code.splitlines()[-1] == last_line
    assert found.digits["float64"] > 13


@pytest.mark.slow
def test_a_loss_has_its_smoothing_and_an_initializer_its_draws():
    found = translate("torch.nn.functional.cross_entropy(label_smoothing=0.2)", to="jax", trial=TRIAL)
    assert found.outcome == OURS
    assert found.code.endswith("loss = functools.partial(categorical_cross_entropy, label_smoothing=0.2)")
    assert found.digits["float64"] > 13
    found = translate("torch.nn.init.kaiming_uniform_", to="jax", trial=TRIAL)
    assert (found.outcome, found.code.splitlines()[-1]) == (EXACT, "initializer = jax.nn.initializers.he_uniform()")


def test_a_normalisation_is_a_layer_with_its_keywords():
    found = translate("torch.nn.BatchNorm1d(eps=0.001)", to="jax", trial=TRIAL)
    assert found.code.splitlines() == [
        "from impl_jax.layers import batch_norm",
        "",
        'normalization = batch_norm(running_variance="unbiased", epsilon=0.001)',
    ]


def test_what_the_catalogue_has_not_is_refused_with_the_nearest():
    found = translate("torch.nn.functional.mish", to="jax", trial=TRIAL)
    assert (found.outcome, found.nearest) == (REFUSED, "swish()")
    assert "away on average" in found.apart


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("torch.nn.functional.reluu", "did you mean 'relu'"),
        ("torch.gellu", "did you mean 'torch.gelu'"),
        ("torch.nn.Conv3d", "the layer takes none of the inputs that were tried"),
        ("torch.sigmoid(x=y)", "must be a name, or a call with literal arguments"),
        ("numpy.tanh", "must be"),
    ],
)
def test_what_is_not_known_is_refused(name, said):
    with pytest.raises(ValueError, match=said):
        functions.translate(name, {}, "jax", TRIAL)


def test_a_function_whose_framework_is_not_installed_cannot_be_asked_and_one_to_it_is_told():
    with pytest.raises(ValueError, match="JAX is not installed"):
        translate("jax.nn.gelu", to="torch", trial=InThisProcess(lacking=("jax",)))
    found = translate("torch.sigmoid", to="jax", trial=InThisProcess(lacking=("jax",)))
    assert (found.outcome, found.digits, found.against) == (EXACT, {}, "not here: JAX is not installed")


def test_a_built_in_that_turns_out_to_be_another_is_not_printed(monkeypatch):
    """The table made wrong on purpose: the identity for the sigmoid."""
    wrong = [row for row in builtins() if row.call == "jax.nn.identity"]
    monkeypatch.setattr(functions, "rows", lambda kind, name, to: iter(wrong))
    assert translate("torch.sigmoid", to="jax", trial=TRIAL).outcome == OURS


def test_formulations_are_the_same_by_all_keywords_and_to_what_float32_rounds():
    assert functions.same("activation", Named("gelu", {}), Named("gelu", {"approximate": False}))
    assert not functions.same("activation", Named("gelu", {}), Named("gelu", {"approximate": True}))
    assert functions.same("activation", Named("elu", {"alpha": 0.1}), Named("elu", {"alpha": 0.10000000149011612}))
    assert not functions.same("activation", Named("elu", {"alpha": 0.1}), Named("elu", {"alpha": 0.1001}))


def test_every_function_of_the_table_of_arguments_is_in_the_catalogue_and_has_its_keywords():
    from conformance.identification.answer import component
    from conformance.recipes.components import POSITIONAL_KEYWORDS, keyword_defaults

    for function in calls._file():
        rows = [row for row in builtins() if row.call.partition("(")[0] == function]
        assert rows, function
        known = {
            keyword
            for row in rows
            for keyword in keyword_defaults(component(calls.KINDS[row.kind], row.component), POSITIONAL_KEYWORDS)
        }
        assert set(calls.arguments_of(function)) <= known, function


def test_a_call_is_read_by_the_end_of_its_name_and_written_with_what_it_needs():
    assert read("optax:piecewise_constant_schedule(0.1, {10: 0.5})").positional == (0.1, {10: 0.5})
    assert (
        str(read("keras.BinaryCrossentropy(from_logits=True)")) == "keras.losses.BinaryCrossentropy(from_logits=True)"
    )
    assert (
        read("torch.nn.BatchNorm1d(eps=0.1)").code("normalization").endswith("torch.nn.BatchNorm1d(features, eps=0.1)")
    )
    assert read("jax.nn.initializers.he_normal()").code("initializer").endswith("= jax.nn.initializers.he_normal()")
