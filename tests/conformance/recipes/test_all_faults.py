"""What a recipe is refused for: all of it at once, each fault in a line with its field, and none that is not there."""

import inspect
import json
import time

import pytest

from conformance.data.datasets import DATA_VARIABLE, DATASETS, DataError, load_dataset
from conformance.recipes.bounds import MOST_AXES
from conformance.recipes.components import NORMALIZATIONS, POSITIONAL_KEYWORDS, TABLES, keyword_defaults
from conformance.recipes.files import MOST_PARTS, RecipeError, faults, load_recipe
from conformance.recipes.layers import HELD, LAYERS, defaults_of
from conformance.recipes.parts import NEEDING_A_PATH
from conformance.recipes.recipe import Recipe
from conformance.recipes.resolving import STAND_INS, resolve
from reference_numpy.activations import ACTIVATIONS
from reference_numpy.layers import reshape
from reference_numpy.regularizers import REGULARIZERS

VALUES = {
    "name": "mine",
    "loss": "binary_cross_entropy",
    "dataset": {"name": "xor"},
    "model": {"name": "deep_network", "hidden_units": [3]},
    "optimizer": "adam",
}
INF, NAN = float("inf"), float("nan")
COMPONENTS = {
    **TABLES,
    "regularizers": REGULARIZERS,
    "model.activation": ACTIVATIONS,
    "model.normalization": NORMALIZATIONS,
}
ROWS = [(field, name) for field, table in COMPONENTS.items() for name in table]


def refusals(**changed):
    """The lines in which a recipe, written and read as JSON, is refused."""
    try:
        Recipe.model_validate(json.loads(json.dumps(VALUES | changed)))
    except ValueError as error:
        return faults(error)
    return []


def network(*layers, **fields):
    return {"model": {"name": "network", "layers": list(layers), **fields}}


def keywords_of(field, name):
    return keyword_defaults(COMPONENTS[field][name], () if field == "schedule" else POSITIONAL_KEYWORDS)


# --- all at once ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("field", "name"), ROWS)
def test_every_keyword_of_a_component_is_refused_beside_all_others(field, name):
    keywords = list(keywords_of(field, name))
    with pytest.raises(ValueError, match="'surplus'") as refused:
        resolve(field, {"name": name, "surplus": 1, **dict.fromkeys(keywords, "no such")}, COMPONENTS[field])
    surplus, *lines = str(refused.value).splitlines()
    assert surplus.startswith(f"{field} keyword='surplus' is not allowed")
    assert sorted(line.removeprefix(field)[1:].strip().partition("=")[0] for line in lines) == sorted(keywords)
    assert all("='no such' is not allowed: " in line for line in lines)


@pytest.mark.parametrize("name", LAYERS)
def test_every_keyword_of_a_layer_is_refused_beside_all_others(name):
    inside = {"layers": ["simple"], "branches": [["simple"]]}
    held = {HELD[name]: inside[HELD[name]]} if name in HELD else {}
    keywords = list(defaults_of(name))
    lines = refusals(**network({"name": name, "surplus": 1, **dict.fromkeys(keywords, "no such"), **held}))
    told = [line.partition("=")[0].removeprefix("model.layers[0]") for line in lines]
    place = {"layers": [".layers[0].name"], "branches": [".branches[0][0].name"], None: []}[HELD.get(name)]
    assert sorted(told) == sorted([" keyword", *place, *(f".{keyword}" for keyword in keywords)])


def test_what_stands_for_a_required_keyword_is_a_value_of_it():
    required = {
        keyword
        for defaults in (*(keywords_of(*row) for row in ROWS), *map(defaults_of, LAYERS))
        for keyword, default in defaults.items()
        if default is inspect.Parameter.empty
    }
    assert required == set(STAND_INS)


@pytest.mark.parametrize(
    ("changed", "lines"),
    [
        (
            {"optimizer": {"name": "adam", "bta1": 0.9, "learning_rate": -1, "beta2": 5}},
            [
                "optimizer keyword='bta1' is not allowed for 'adam': ...; did you mean 'beta1'?",
                "optimizer: learning_rate=-1 is not allowed: must be a finite number >= 0",
                "optimizer: beta2=5 is not allowed: must be in [0, 1)",
            ],
        ),
        (
            {"optimizer": {"dialect": "keras.Adam", "name": "lion", "bta1": 3, "beta2": 5}},
            [
                "optimizer.name='lion' is not allowed for 'keras.Adam': must be one of 'adam'",
                "optimizer keyword='bta1' is not allowed for 'adam': ...",
                "optimizer: beta2=5 is not allowed: ...",
            ],
        ),
        (
            {"optimizer": {"name": "adam", "epsilon_position": "outside_rot", "beta1": INF}},
            [
                "optimizer.beta1=inf is not allowed: must be a finite number",
                "optimizer: epsilon_position='outside_rot' is not allowed: ...; did you mean 'outside_root'?",
            ],
        ),
        (
            {"schedule": {"name": "inverse_time", "unit": "epoh", "decay_rate": "x"}},
            [
                "schedule.unit='epoh' is not allowed: must be one of 'epoch', 'step'; did you mean 'epoch'?",
                "schedule: decay_rate='x' is not allowed: must be a finite number >= 0",
            ],
        ),
        (
            {"schedule": {"name": "exponentiall", "unit": []}},
            [
                "schedule.name='exponentiall' is not allowed: ...; did you mean 'exponential'?",
                "schedule.unit=[] is not allowed: ...",
            ],
        ),
        (
            {"schedule": {"name": "warmup", "after": "exponential", "steps": 0,
                          "after_options": {"bas": 3, "base": -1}}},
            [
                "schedule.after_options keyword='bas' is not allowed for 'exponential': must be one of 'base'...",
                "schedule: steps=0 is not allowed: must be an integer >= 1",
                "schedule.after_options: base=-1 is not allowed: must be a finite number >= 0",
            ],
        ),
        (
            {"loss": {"name": "categorical_cross_entropy", "label_smoothing": 2, "weights": INF,
                      "class_weights": [-1]}},
            [
                "loss keyword='weights' is not allowed for 'categorical_cross_entropy': ...",
                "loss: label_smoothing=2 is not allowed: must be in [0, 1)",
                "loss: class_weights=[-1] is not allowed: must be 1 finite numbers >= 0",
            ],
        ),
        (
            {"regularizers": [{"name": "l2", "strenth": 1, "convention": "x"},
                              {"name": "inverted_dropout", "kep": 1, "keep_probability": [0.5, 2]}]},
            [
                "regularizers.0 keyword='strenth' is not allowed for 'l2': ...; did you mean 'strength'?",
                "regularizers.0.strength is missing: 'l2' needs it",
                "regularizers.0: convention='x' is not allowed: must be 'course', 'half' or 'full'",
                "regularizers.1 keyword='kep' is not allowed for 'inverted_dropout': ...",
                "regularizers.1: keep_probability=[0.5, 2] is not allowed: must be in (0, 1]",
            ],
        ),
        (
            network({"name": "dense", "units": -3, "bias": "no", "biass": 1, "initializer": "he_norml"},
                    {"name": "convolution", "chanels": 2, "kernel": [0, 3], "stride": [1, -1], "groups": 3}),
            [
                "model.layers[0] keyword='biass' is not allowed for 'dense': ...; did you mean 'bias'? "
                "(layer 1 of 2, dense)",
                "model.layers[0].bias='no' is not allowed: must be true or false (layer 1 of 2, dense)",
                "model.layers[0].units=-3 is not allowed: must be an integer >= 1 (layer 1 of 2, dense)",
                "model.layers[0].initializer='he_norml' is not allowed: ...; did you mean 'he_normal'? "
                "(layer 1 of 2, dense)",
                "model.layers[1] keyword='chanels' is not allowed for 'convolution': ...; did you mean 'channels'? "
                "(layer 2 of 2, convolution)",
                "model.layers[1].channels is missing: 'convolution' needs it (layer 2 of 2, convolution)",
                "model.layers[1].kernel=[0, 3] is not allowed: must be a list of one or two integers >= 1...",
                "model.layers[1].stride=[1, -1] is not allowed: must be an integer >= 1, or a list of 2 (layer 2 of 2, "
                "convolution)",
            ],
        ),
        (
            network("flatten", output="sofmax", hidden_units=[3], activation="tanh", bias="no",
                    normalization="layer_norm", surplus=1),
            [
                "model.output='sofmax' is not allowed: must be 'sigmoid', 'softmax', 'identity' or 'relu'",
                "model.hidden_units=[3] is not allowed for 'network': must be left out; 'dense' layers have units",
                "model.activation='tanh' is not allowed for 'network': must be left out; 'activation' is a layer",
                "model.normalization='layer_norm' is not allowed for 'network': must be left out; ...",
                "model.bias='no' is not allowed for 'network': must be left out; it is a keyword of layers",
                "model.surplus is no field: ...",
            ],
        ),
        (
            {"model": {"name": "single_neuron", "hidden_units": [2], "activation": "tanh", "output": "rel",
                       "layers": ["flatten"]}},
            [
                "model.hidden_units=[2] is not allowed: single_neuron has 0 hidden layers",
                "model.activation='tanh': single_neuron has no hidden layer to use it",
                "model.output='rel' is not allowed: ...",
                "model.layers is not allowed for 'single_neuron': must be left out",
            ],
        ),
        (
            {"dataset": {"name": "words", "path": "x", "seed": -1, "scaling": "unit", "examples": 10**6}},
            [
                "dataset.path='x' is not allowed for 'words': it is embedded",
                "dataset.seed=-1 is not allowed: ...",
                "dataset.scaling='unit' is not allowed for the tokens of 'words': must be 'none'",
                "dataset.examples=1000000 is not allowed: 'words' has 540",
            ],
        ),
    ],
    ids=lambda value: json.dumps(value)[:40],
)  # fmt: skip
def test_faults_of_every_kind_in_a_component_are_told_at_once(changed, lines):
    found = refusals(**changed)
    for line in lines:
        start, end = line.partition("...")[::2]
        assert any(told.startswith(start) and told.endswith(end) for told in found), (line, found)
    assert len(found) == len(lines)


@pytest.mark.parametrize(
    ("changed", "lines"),
    [
        ({"optimizer": {"name": "momentum", "accumulation": "sum", "dampening": 0.5, "beta": 5}},
         ["optimizer: beta=5"]),
        ({"optimizer": {"name": "momentum", "accumulation": "su", "dampening": 0.5}}, ["optimizer: accumulation='su'"]),
        ({"optimizer": {"name": "momentum", "accumulation": True, "dampening": 0.5}}, ["optimizer.accumulation=True"]),
        ({"schedule": {"name": "piecewise", "boundaries": [1, 2, 3], "factors": [1, 1, "x"]}}, ["schedule: factors="]),
        ({"schedule": {"name": "piecewise", "boundaries": [2, 1, 3], "factors": [1, 1, -1]}},
         ["schedule: factors=", "schedule: boundaries="]),
        ({"schedule": {"name": "warmup", "after": "cosin", "after_options": {"final": 0.5}}},
         ["schedule: after='cosin'"]),
        (network({"name": "convolution", "channels": 0, "kernel": [3, 3], "groups": 3}),
         ["model.layers[0].channels=0"]),
        (network({"name": "max_pool", "window": "x", "stride": [2, 2]}), ["model.layers[0].window='x'"]),
    ],
    ids=lambda value: json.dumps(value)[:60],
)  # fmt: skip
def test_what_is_right_beside_a_fault_is_not_refused(changed, lines):
    found = refusals(**changed)
    assert len(found) == len(lines)
    assert all(told.startswith(line) for told, line in zip(found, lines, strict=True)), found


# --- paths and texts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, data in DATASETS.items() if data.kind == "files"])
@pytest.mark.parametrize("path", ["", "a\0b.npz", "\ud800.npz"])
def test_a_path_that_no_file_has_is_refused(name, path):
    (line,) = refusals(dataset={"name": name, "path": path})
    assert line.startswith(f"dataset.path={path!r} is not allowed: must be the path of a file or folder")


def test_data_without_a_place_of_their_own_need_a_path(tmp_path, monkeypatch):
    """A place of their own: the folder that an environment variable names."""
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    without = []
    for name, data in DATASETS.items():
        if data.kind == "files":
            with pytest.raises(DataError) as refused:
                load_dataset(name)
            without += [name] if "no path is given" in str(refused.value) else []
    assert tuple(without) == NEEDING_A_PATH
    for name in without:
        assert refusals(dataset={"name": name}) == [f"dataset.path is missing: {name!r} needs it"]
    assert not any("path" in line for line in refusals(dataset={"name": "signs_files"}))


def test_a_description_that_no_file_can_hold_is_refused():
    assert refusals(description="\ud800") == ["description='\\ud800' is not allowed: must be Unicode text"]
    assert not refusals(description="Zwölf\n🙂")


@pytest.mark.parametrize(
    "changed",
    [
        {"a\nb": 1},
        {"dataset": {"name": "xor", "a\n\x1b[31mb": 1}},
        {"optimizer": "ad\nam"},
        {"optimizer": {"name": "adam", "a\u2028b": 1}},
        {"optimizer": {"name": "adam", "beta1": {"a\nb": INF}}},
        {"optimizer": {"name": "adam", "epsilon_position": "a\nb"}},
        network({"name": "activation", "function": "elu", "options": {"a\nb": 1}}),
        network({"name": "den\nse"}),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_a_name_of_several_lines_is_told_in_one(tmp_path, changed):
    path = tmp_path / "a\nb.json"
    path.write_text(json.dumps(VALUES | changed))
    with pytest.raises(RecipeError) as refused:
        load_recipe(path)
    (line,) = str(refused.value).splitlines()
    assert line.isprintable()
    assert "a\\nb.json: " in line


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"optimizer": {"name": "adam", "learning_rate": 10**400}},
         "optimizer.learning_rate=an integer of 1329 bits is not allowed: must be a finite number"),
        ({"optimizer": {"name": "adam", "beta1": 10**200}},
         "optimizer: beta1=an integer of 665 bits is not allowed: must be in [0, 1)"),
        (network({"name": "dropout", "keep_probability": 10**200}),
         "model.layers[0].keep_probability=an integer of 665 bits is not allowed: must be in (0, 1] "
         "(layer 1 of 1, dropout)"),
        (network({"name": "reshape", "shape": [2, 10**200]}),
         "model.layers[0].shape.1=an integer of 665 bits is not allowed: must be at most 65,536 "
         "(layer 1 of 1, reshape)"),
        (network({"name": "reshape", "shape": []}),
         "model.layers[0].shape=[] is not allowed: must be a list of 1 to 32 integers >= 1 (layer 1 of 1, reshape)"),
        (network({"name": "reshape", "shape": [1] * 200}),
         "model.layers[0].shape=a list of 200, [1, 1, 1, 1, 1, ...] is not allowed: must be a list of 1 to 32 integers"
         " >= 1 (layer 1 of 1, reshape)"),
        ({"dtypes": ["float64"] * 1000},
         "dtypes=a list of 1000, ['float64', 'float64', 'float64', 'float64', 'float64', ...] is not allowed: must name"
         " 'float64' once"),
        ({"dtypes": ["float32", "float64", "float32"]},
         "dtypes=['float32', 'float64', 'float32'] is not allowed: must name 'float32' once"),
        ({"regularizers": ["l9"] * 50_000},
         "regularizers=a list of 50000, ['l9', 'l9', 'l9', 'l9', 'l9', ...] is not allowed: must be at most 20"),
    ],
    ids=range(9),
)  # fmt: skip
def test_what_is_too_much_is_refused_with_the_limit(changed, line):
    assert refusals(**changed) == [line]


def test_a_shape_has_as_many_sizes_as_the_reference_takes():
    assert reshape((1,) * MOST_AXES).shape == (1,) * MOST_AXES
    with pytest.raises(ValueError, match="shape="):
        reshape((1,) * (MOST_AXES + 1))


PREFIX = ".".join(["a"] * (MOST_PARTS - 1))
SOON = 5  # seconds of a processor: without their limits these take minutes, or all memory


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x" + ".a" * 10_000 + "=1", "holds the key 'x.a.a."),
        ("x" + " .\ta" * 40_000 + "=1", "of 40001 parts; must be at most 10"),
        ("x" + '."a"' * 40_000 + "=1", "of 40001 parts; must be at most 10"),
        ("x" + ".'a.b'" * 30_000 + "=1", "of 30001 parts; must be at most 10"),
        ("[" + "a." * 100_000 + "a]", "of 100001 parts"),
        ("[[" + "a." * 100_000 + "a]]", "of 100001 parts"),
        ("x = {" + "a." * 50_000 + "a = 1}", "of 50001 parts"),
        ('x = {a = """\\"#""""", b' + ".b" * 50_000 + " = 1}", "of 50001 parts"),
        ("x = {a = '''\\''''', b" + ".b" * 50_000 + " = 1}", "of 50001 parts"),
        ('x = \'#\'\ny = "\\"#"\nb' + ".b" * 50_000 + " = 1", "of 50001 parts"),
        ("\n".join(f"{PREFIX}.k{i} = 1" for i in range(9_000)), "holds a table of 9000 fields"),
        ("\n".join(f"[k{i}.{PREFIX}]" for i in range(3_000)), "holds a table of 3000 fields"),
        ('"""\\"' * 50_000, "not valid TOML"),
        ("'\n" * 100_000, "not valid TOML"),
        (f"a = [0x{'f' * 20_000}]", "an integer has too many digits"),
    ],
    ids=range(15),
)
def test_a_small_file_that_is_long_to_read_is_refused_soon(tmp_path, text, message):
    path = tmp_path / "r.toml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(RecipeError) as refused:
        load_recipe(path)
    assert time.process_time() - began < SOON
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        f"# {'a.' * 500}",
        f"description = '{'a.' * 500}' # {'a.' * 500}",
        f'description = """a\\"""{".a" * 500}""""" # "\ndataset.seed = 1',
        f"description = '''a\\{'.a' * 500}''''' # '\ndataset.seed = 1",
        f'description = "\\"{".a" * 500}\\\\"\n"dataset".\'seed\' = 1',
        f"loss.class_weights = [{'0.5, ' * 500}1.5]",
        "optimizer.learning_rate = 1.5e-3\nschedule.after_options.after_options.base = 0.5",
    ],
    ids=range(7),
)
def test_dots_of_texts_comments_and_numbers_are_no_key_s(tmp_path, text):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match="name is missing"):  # it has been read
        load_recipe(path)


@pytest.mark.parametrize(
    ("history", "units", "told"),
    [(10**7, 3, "optimizer.history=10000000 is not allowed: must be at most 1,000"), (1000, 60_000, "optimizer state")],
)
def test_differences_that_would_cost_too_much_are_refused(tmp_path, history, units, told):
    model = {"name": "deep_network", "hidden_units": [units, 8], "activation": "tanh"}
    values = VALUES | {"optimizer": {"name": "lbfgs", "history": history}, "model": model}
    file = tmp_path / "kept.json"
    file.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(RecipeError) as refused:
        load_recipe(file)
    assert told in str(refused.value)
