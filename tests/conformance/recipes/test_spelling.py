"""How frameworks spell the keywords of their optimizers, against the signatures of the built-ins themselves."""

import inspect
import os

import pytest

from conformance.recipes import spelling
from conformance.recipes.resolving import speak
from conformance.recipes.spelling import NoFormulation, formulated, functions_of, parse, read, written

FRAMEWORKS = ("torch", "keras", "optax")
FORMS = {f"{framework}.{written(form.call)}": form for framework in FRAMEWORKS for form in spelling.forms(framework)}
TAKEN = ("params", "kwargs")  # by every call, and no argument by name


def module_of(framework):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it once, when it is imported
    names = {"torch": "torch.optim", "keras": "keras", "optax": "optax"}
    module = pytest.importorskip(names[framework])
    return module.optimizers if framework == "keras" else module


def arguments_of(form):
    """The arguments that a form's table knows, by function, without the places of tuples."""
    known = [name for names in form.numbers.values() for name in names] + [*form.others, *form.idle]
    found = {}
    for name in known:
        function, _, argument = name.partition("[")[0].rpartition(".")
        found.setdefault(function, set()).add(argument)
    return found


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_argument_of_every_built_in_is_in_the_table_and_no_other_is(framework):
    module = module_of(framework)
    single = [form for form in spelling.forms(framework) if not form.call.builtin.startswith("chain")]
    for form in single:
        parameters = set(inspect.signature(getattr(module, form.call.builtin)).parameters) - set(TAKEN)
        told = arguments_of(form)[""]
        assert parameters <= told, (form.call, parameters - told)
        assert told - parameters <= set(form.idle), (form.call, told - parameters)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_a_call_leaves_out_is_the_built_ins_default(framework):
    module = module_of(framework)
    for form in spelling.forms(framework):
        if form.call.builtin.startswith("chain"):
            continue
        defaults = {n: p.default for n, p in inspect.signature(getattr(module, form.call.builtin)).parameters.items()}
        for name, value in form.others.items():
            if name not in form.call.arguments and name in defaults:
                assert defaults[name] == value, (form.call, name)


def test_the_arguments_of_a_chain_are_those_of_its_functions():
    optax = module_of("optax")
    chains = [form for form in spelling.forms("optax") if form.call.builtin.startswith("chain")]
    assert len(chains) > 10
    for form in chains:
        told = arguments_of(form)
        functions = {call.builtin for call in functions_of(form.call)}
        assert set(told) - {""} <= functions
        for function in set(told) - {""}:
            assert told[function] <= set(inspect.signature(getattr(optax, function)).parameters), (form.call, function)


@pytest.mark.parametrize("name", FORMS)
def test_a_call_is_read_as_it_is_written(name):
    form = FORMS[name]
    assert formulated(form.call)[2:4] == form.dialect[2:4]
    assert read(form.call.framework, written(form.call)) == form.call


@pytest.mark.parametrize(
    ("name", "optimizer", "keywords"),
    [
        ("torch.optim.Adam(betas=(0.8, 0.9))", "adam", {"beta1": 0.8, "beta2": 0.9}),
        ("torch.optim:SGD(momentum=0.8, dampening=0.1)", "momentum", {"beta": 0.8, "dampening": 0.1}),
        ("tf.keras.optimizers.SGD(momentum=0.5, nesterov=True)", "momentum", {"beta": 0.5, "nesterov": True}),
        ("keras.Adam(weight_decay=0.5)", "adamw", {"weight_decay": 0.5, "epsilon_position": "before_correction"}),
        ("keras.Adam(weight_decay=None)", "adam", {"weight_decay": 0.0}),
        ("optax.adabelief(eps=1e-08, eps_root=1e-08)", "adabelief", {"epsilon": 1e-8}),
        ("optax.chain(add_decayed_weights(0.5), sgd(momentum=0.5))", "momentum", {"beta": 0.5, "weight_decay": 0.5}),
    ],
)
def test_arguments_are_the_keywords_of_a_formulation(name, optimizer, keywords):
    found = formulated(parse(name))
    assert found.optimizer == optimizer
    assert found.keywords == found.keywords | keywords


@pytest.mark.parametrize(
    ("name", "said", "without"),
    [
        ("keras.Adam(use_ema=True)", "use_ema=True of keras.Adam is none", "keras.Adam"),
        ("keras.Nadam(weight_decay=0.1)", "weight_decay=0.1 of keras.Nadam is none", "keras.Nadam"),
        ("optax.adabelief(eps=1e-08)", "eps=1e-08 of optax.adabelief is none", "optax.adabelief"),
        ("torch.LBFGS", "torch.LBFGS without max_iter=1 is none", "torch.LBFGS(max_iter=1)"),
        ("torch.SGD(lr=0.5, maximize=True)", "maximize=True of torch.SGD is none", "torch.SGD(lr=0.5)"),
    ],
)
def test_what_is_no_formulation_is_told_with_the_call_that_is_one(name, said, without):
    with pytest.raises(NoFormulation, match=said) as caught:
        formulated(parse(name))
    assert str(caught.value.without) == without


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("keras.Adm", "did you mean 'keras.Adam'"),
        ("adamm", "must be an optimizer of torch, keras or optax with its framework"),
        ("keras.Adam(0.1)", "every argument must be given by name"),
        ("keras.Adam(learning_rate=rate)", "learning_rate must be a literal"),
        ("keras.Adam(", "must be a name, or a call"),
        ("keras.Adam(beta1=0.8)", "did you mean 'beta_1'"),
        ("keras.Adam(betas=(0.8, 0.9))", "it is the spelling of torch.*here it is 'beta_1'"),
        ("torch.Adam(lr=True)", "lr=True of torch.Adam is not allowed: must be a number"),
    ],
)
def test_what_is_no_call_of_a_built_in_is_refused(name, said):
    with pytest.raises(ValueError, match=said):
        formulated(parse(name))


@pytest.mark.parametrize(
    ("beside", "keywords"),
    [
        ({"dialect": "keras.Adam", "beta_1": 0.8}, {"name": "adam", "beta1": 0.8, "epsilon": 1e-7}),
        ({"dialect": "torch.optim.Adam", "betas": [0.8, 0.9], "lr": 0.1}, {"beta1": 0.8, "learning_rate": 0.1}),
        ({"dialect": "torch.Adam", "amsgrad": True, "beta1": 0.8}, {"amsgrad": "raw_max", "beta1": 0.8}),
        ({"dialect": "keras.SGD", "momentum": 0.5, "nesterov": True}, {"name": "momentum", "beta": 0.5}),
        ({"dialect": "torch.RMSprop", "alpha": 0.8, "momentum": 0.1}, {"beta": 0.8, "momentum": 0.1}),
        ({"dialect": "keras.Adam", "weight_decay": 0.0}, {"name": "adam", "weight_decay": 0.0}),
        ({"dialect": "keras.SGD(momentum=0.9)", "beta": 0.5}, {"name": "momentum", "beta": 0.5}),
    ],
)
def test_a_recipe_spells_what_stands_beside_a_dialect_as_its_framework_does(beside, keywords):
    found = speak(beside)
    assert found == found | keywords


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"dialect": "keras.Adam", "eps": 1e-8}, "it is the spelling of torch and optax.*here it is 'epsilon'"),
        ({"dialect": "keras.Adam", "beta_1": 0.8, "beta1": 0.7}, "beta1 is said twice"),
        ({"dialect": "keras.Adam", "use_ema": True}, "use_ema=True of keras.Adam is none"),
        ({"dialect": "keras.Adam", "weight_decay": 0.1}, "weight_decay of keras.Adam is decoupled"),
        ({"dialect": "keras.Adam(bta_1=0.8)"}, "bta_1 is no argument of keras.Adam.*did you mean 'beta_1'"),
    ],
)
def test_what_a_recipe_says_wrongly_beside_a_dialect_is_refused(beside, said):
    with pytest.raises(ValueError, match=f"^optimizer.dialect='{beside['dialect'].replace('(', '[(]')[:10]}.*{said}"):
        speak(beside)
