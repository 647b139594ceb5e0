"""Networks of layers in recipes: what is written, filled in, refused, and read again."""

import inspect
import json
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from conformance.data.extents import Extent
from conformance.recipes.bounds import MOST_LAYERS, MOST_NESTED_LAYERS
from conformance.recipes.choosing import find
from conformance.recipes.files import RecipeError, faults, load_recipe
from conformance.recipes.layers import HELD, LayerChoice, all_layers, defaults_of
from conformance.recipes.recipe import Recipe
from conformance.recipes.size import require_bounded
from conformance.recipes.suites import suite
from conformance.recipes.writing import as_toml
from reference_numpy import models
from reference_numpy.layers import LAYERS

IMAGE = {"name": "reshape", "shape": [8, 8, 1]}
CONVOLUTION = {"name": "convolution", "channels": 2, "kernel": [3, 3]}
DENSE = {"name": "dense", "units": 10}
WORDS = {"dataset": {"name": "words"}}
TOKENS = {"name": "embedding", "entries": 27, "units": 3}
GRU = {"name": "gru", "units": 3}
DROPOUT = {"name": "dropout", "keep_probability": 0.5}

# As they were when no recipe had layers.
HASHES = {
    "breast-cancer-logistic": "5cd72a9887c7", "flower-shallow-tanh": "1c591532244c", "moons-deep-relu-momentum":
    "aa6be972a00f", "digits-softmax-adam-dropout-l2": "720d6e1506be", "housing-relu-neuron": "02888079eee6",
    "attributes-multi-task": "100796a92e5b", "digits-batch-norm": "7688f82d0a32", "digits-transfer":
    "66aece4c2d84", "moons-lion-weighted": "a4e270122555", "digits-in-halves": "86f0b97268b6", "showcase-digits":
    "80372d42d0b3", "pair-001": "cc942d8c3b78", "alone-010": "1319667f4960",
}  # fmt: skip


def values(*layers, **settings):
    """What a recipe of these layers on the digits holds, with other settings."""
    return {
        "name": "some", "dataset": {"name": "digits", "examples": 40}, "loss": "categorical_cross_entropy",
        "model": {"name": "network", "layers": list(layers)}, "optimizer": "adam", "batch_size": 20,
    } | settings  # fmt: skip


def recipe(*layers, **settings):
    return Recipe.model_validate(values(*layers, **settings))


def refusals(*layers, **settings):
    """The lines of the refusal of a recipe."""
    with pytest.raises(ValidationError) as refused:
        recipe(*layers, **settings)
    return faults(refused.value)


# --- what is filled in ------------------------------------------------------------------------------------------------


def test_every_keyword_is_filled_in_from_the_reference():
    for layer in all_layers(tuple(layer for made in suite("layers") for layer in made.model.layers)):
        assert set(layer.keywords) == set(defaults_of(layer.name))
        assert not any(value is inspect.Parameter.empty for value in layer.keywords.values())


def test_every_maker_that_takes_layers_is_known_as_one():
    taking = {
        name for name, make in LAYERS.items() if {"layer", "layers"} & set(inspect.signature(make).parameters)
    }  # fmt: skip
    assert set(HELD) == taking


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("flatten", {"name": "flatten", "order": "channels_last"}),
        (CONVOLUTION, CONVOLUTION | {"stride": 1, "dilation": [1, 1], "groups": 1, "bias": True}),
        (CONVOLUTION | {"padding": 1, "stride": 2}, CONVOLUTION | {"padding": [1, 1], "stride": [2, 2]}),
        ({"name": "max_pool", "window": [2, 2]}, {"name": "max_pool", "window": [2, 2], "stride": 2}),
        (
            {"name": "activation", "function": "elu"},
            {"name": "activation", "function": "elu", "options": {"alpha": 1.0}},
        ),
        ({"name": "dropout", "keep_probability": 1}, {"name": "dropout", "keep_probability": 1.0}),
        ({"name": "residual", "layers": ["layer_norm"]}, {"name": "residual", "layers": [{"name": "layer_norm"}]}),
    ],
)
def test_what_is_written_in_two_ways_is_one_training(short, long):
    around = [IMAGE], ["flatten", DENSE]
    one, other = (recipe(*around[0], layer, *around[1]) for layer in (short, long))
    assert one.hash == other.hash
    different = recipe(*around[0], {"name": "activation", "function": "elu", "options": {"alpha": 0.5}}, *around[1])
    assert different.hash != one.hash


def test_an_embedding_s_usual_scale_is_written_out():
    usual = recipe(TOKENS, "global_max_pool", {"name": "dense", "units": 3}, **WORDS)
    said = recipe(
        TOKENS | {"initializer_options": {"scale": 1.0}}, "global_max_pool", {"name": "dense", "units": 3}, **WORDS
    )
    assert usual.model.layers[0].keywords["initializer_options"] == {"scale": 1.0}
    assert usual.hash == said.hash


def test_the_recipe_s_initializer_is_that_of_layers_that_name_none():
    layers = [
        IMAGE, CONVOLUTION, {"name": "residual", "layers": [DENSE | {"units": 2}, DENSE | {"units": 2}]},
        {"name": "parallel", "branches": [["flatten"], ["flatten", DENSE | {"units": 72, "initializer": "zeros"}]]},
        DENSE,
    ]  # fmt: skip
    made = recipe(*layers, initializer={"name": "scaled_normal", "scale": 0.3})
    named = [
        layer.keywords["initializer"] for layer in all_layers(made.model.layers) if "initializer" in layer.keywords
    ]
    assert named == ["scaled_normal"] * 3 + ["zeros", "scaled_normal"]
    assert made.model.layers[1].keywords["initializer_options"] == {"scale": 0.3}
    assert made.components >= {"scaled_normal", "zeros"}
    assert "he_normal" not in made.components
    assert Recipe.model_validate(made.model_dump() | {"initializer": "zeros"}).hash == made.hash, (
        "every layer has its own"
    )


def test_without_the_recipe_s_initializer_each_layer_has_its_own():
    rows = {"name": "reshape", "shape": [8, 8]}
    layers = recipe(rows, {"name": "attention", "heads": 2}, {"name": "gru", "units": 3}, DENSE).model.layers
    assert [layer.keywords["initializer"] for layer in layers[1:]] == ["xavier_uniform", "xavier_uniform", "he_normal"]
    layers = recipe(rows, {"name": "gru", "units": 3}, DENSE, initializer="orthogonal").model.layers
    assert [layer.keywords["initializer"] for layer in layers[1:]] == ["orthogonal", "orthogonal"]


def test_an_initializer_with_keywords_is_not_for_layers_that_take_a_name_alone():
    rows, gru = {"name": "reshape", "shape": [8, 8]}, {"name": "gru", "units": 3}
    (line,) = refusals(rows, gru, DENSE, initializer={"name": "scaled_normal", "scale": 0.3})
    assert line.startswith(
        "model.layers[1].initializer={'name': 'scaled_normal', 'scale': 0.3} is not allowed: must be"
    )
    recipe(rows, gru | {"initializer": "zeros"}, DENSE, initializer={"name": "scaled_normal", "scale": 0.3})
    recipe(rows, gru, DENSE, initializer={"name": "scaled_normal", "scale": 0.01})  # its default


def test_tokens_are_not_scaled():
    made = recipe(TOKENS, "global_max_pool", {"name": "dense", "units": 3}, **WORDS)
    assert made.dataset.scaling == "none"
    (line,) = refusals(TOKENS, dataset={"name": "words", "scaling": "standardize"})
    assert line == "dataset.scaling='standardize' is not allowed for the tokens of 'words': must be 'none'"


# --- what identifies a recipe -----------------------------------------------------------------------------------------


def test_the_hash_of_a_recipe_without_layers_is_what_it_was_before_there_were_any():
    assert {name: find(name).hash for name in HASHES} == HASHES


def test_a_recipe_without_layers_says_nothing_of_them():
    assert all("layers" not in made.model_dump()["model"] for made in suite("default") if not made.is_network)


@pytest.mark.parametrize("made", suite("layers"), ids=lambda made: made.name)
def test_a_network_survives_json_and_toml(made):
    for again in (
        Recipe.model_validate(json.loads(json.dumps(made.model_dump(mode="json")))),
        Recipe.model_validate(tomllib.loads(as_toml(made))),
    ):
        assert again == made
        assert again.hash == made.hash


def test_a_network_is_written_with_a_line_for_each_layer():
    text = as_toml(recipe(IMAGE, {"name": "residual", "layers": ["batch_norm", "layer_norm"]}, "flatten", DENSE))
    lines = [line.strip() for line in text.splitlines()]
    assert [line.split(",")[0] for line in lines if line.startswith("{ name")] == [
        f'{{ name = "{name}"' for name in ("reshape", "residual", "batch_norm", "layer_norm", "flatten", "dense")
    ]
    assert "hidden_units" not in text
    assert "activation" not in text


def test_files_may_nest_layers_as_deep_as_recipes_may(tmp_path):
    layers = [DENSE]
    for _ in range(MOST_NESTED_LAYERS):
        layers = [{"name": "parallel", "branches": [layers]}]
    for name, text in (("r.toml", as_toml(recipe(*layers))), ("r.json", json.dumps(values(*layers)))):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert load_recipe(tmp_path / name).model.layers == recipe(*layers).model.layers
    deeper = {"name": "parallel", "branches": [layers]}
    assert refusals(deeper) == [f"model.layers is nested more than {MOST_NESTED_LAYERS} deep"]


def test_a_network_is_built_as_the_reference_would():
    pool, flat = {"name": "max_pool", "window": [2, 2], "stride": 1}, {"name": "flatten", "order": "channels_first"}
    norm = {"name": "parallel", "join": "concatenate", "branches": [["layer_norm"], ["batch_norm", flat]]}
    of = models.LAYERS
    made = recipe(IMAGE, pool, flat, norm, DENSE | {"initializer": "zeros"}).build_model(
        models, features=64, classes=10
    )
    branches = of["layer_norm"](), of["sequence"](of["batch_norm"](), of["flatten"](order="channels_first"))
    joined = of["parallel"](*branches, join="concatenate")
    layers = [of["reshape"]((8, 8, 1)), of["max_pool"]((2, 2), stride=1), of["flatten"](order="channels_first"), joined]
    assert made == models.network([*layers, of["dense"](10, initializer="zeros")], (64,), output="softmax")


@pytest.mark.parametrize("package", ["impl_torch", "impl_tf", "impl_jax"])
def test_every_layer_of_a_recipe_can_be_made_by_every_package(package):
    makers = pytest.importorskip(f"{package}.layers").LAYERS
    for made in suite("layers"):
        for layer in made.model.layers:
            assert layer.build(makers) is not None


def test_one_layer_inside_is_itself_and_several_are_a_sequence():
    one = LayerChoice(name="residual", layers=[{"name": "dense", "units": 2}])
    several = LayerChoice(name="residual", layers=[{"name": "dense", "units": 2}] * 2)
    assert one.build(LAYERS) == LAYERS["residual"](LAYERS["dense"](2))
    dense = LAYERS["dense"](2)
    assert several.build(LAYERS) == LAYERS["residual"](LAYERS["sequence"](dense, dense))


# --- several targets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "hidden"), [("shallow_network", [3]), ("deep_network", [4, 3])])
def test_a_dense_network_has_an_output_for_each_target(name, hidden):
    made = Recipe.model_validate(
        values(loss="mean_squared_error", dataset={"name": "diabetes"}, model={"name": name, "hidden_units": hidden})
    )
    assert made.build_model(models, features=10, classes=0, targets=5).layer_sizes == (10, *hidden, 5)
    assert made.build_model(models, features=10, classes=0).layer_sizes == (10, *hidden, 1)


def test_data_of_several_targets_are_refused_where_a_model_has_one_output():
    made = Recipe.model_validate(
        values(loss="mean_squared_error", dataset={"name": "npz", "path": "x.npz"}, model={"name": "single_neuron"})
    )
    require_bounded(made, Extent(20, 10, 4, 0))
    with pytest.raises(ValueError, match=r"model.name='single_neuron' is not allowed for the 3 targets of 'npz'"):
        require_bounded(made, Extent(20, 10, 4, 0, targets=3))


def test_an_autoencoder_gives_as_many_numbers_as_it_takes():
    layers = [{"name": "dense", "units": 2}, {"name": "dense", "units": 4}]
    made = recipe(*layers, loss="mean_squared_error", dataset={"name": "npz", "path": "x.npz"})
    require_bounded(made, Extent(20, 10, 4, 0, targets=4))
    message = r"model.layers: the last layer gives \(4,\); must give \(5,\), one for each of the targets of 'npz'"
    with pytest.raises(ValueError, match=message):
        require_bounded(made, Extent(20, 10, 4, 0, targets=5))


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        ({"name": "convolutin"}, ".name='convolutin' is not allowed: must be one of ...; did you mean 'convolution'?"),
        (7, "=7 is not allowed: must be a table with the 'name' of a layer, or its 'dialect'"),
        ({"units": 3}, "={'units': 3} is not allowed: must be a table with the 'name' of a layer, or its 'dialect'"),
        ("dense", ".units is missing: 'dense' needs it"),
        (DENSE | {"bais": True}, " keyword='bais' is not allowed for 'dense': ...; did you mean 'bias'?"),
        (DENSE | {"bias": 1}, ".bias=1 is not allowed: must be true or false"),
        (DENSE | {"units": True}, ".units=True is not allowed: must be no truth value"),
        (DENSE | {"units": 0}, ".units=0 is not allowed: must be an integer >= 1"),
        (DENSE | {"units": 10**6}, ".units=1000000 is not allowed: must be at most 65,536"),
        (DENSE | {"layers": []}, " keyword='layers' is not allowed for 'dense': must be one of ..."),
        (DENSE | {"initializer": "he_norml"}, ".initializer='he_norml' is not allowed: ...; did you mean 'he_normal'?"),
        (DENSE | {"initializer_options": {"truncatd": True}},
         ".initializer_options keyword='truncatd' is not allowed for 'he_normal': must be one of 'truncated'; ..."),
        (DENSE | {"initializer_options": {"truncated": 3}}, ".initializer_options.truncated=3 is not allowed: ..."),
        (DENSE | {"initializer_options": 3}, ".initializer_options=3 is not allowed: must be a table of keywords"),
        (CONVOLUTION | {"kernel": [3, 3, 3]}, ".kernel=[3, 3, 3] is not allowed: must be a list of one or two ..."),
        (CONVOLUTION | {"groups": 3}, ".channels=2 is not allowed with groups=3: must be a multiple of them"),
        (CONVOLUTION | {"padding": "sam"}, ".padding='sam' is not allowed: ...; did you mean 'same'?"),
        (CONVOLUTION | {"stride": [1, 0]}, ".stride=[1, 0] is not allowed: must be an integer >= 1, or a list of 2"),
        ({"name": "activation", "function": "rel"}, ".function='rel' is not allowed: ...; did you mean 'relu'?"),
        ({"name": "activation", "function": "elu", "options": {"slope": 1}},
         ".options keyword='slope' is not allowed for 'elu': must be one of 'alpha'"),
        ({"name": "activation", "function": "elu", "options": {"alpha": "a"}}, ".options.alpha='a' is not allowed..."),
        ({"name": "dropout", "keep_probability": 0}, ".keep_probability=0 is not allowed: must be in (0, 1]"),
        (GRU | {"gates": "rz"}, ".gates='rz' is not allowed: must be the letters of 'rzn' in any order..."),
        (GRU | {"biases": 3}, ".biases=3 is not allowed: must be one of 0, 1, 2"),
        ({"name": "bidirectional", "layers": [DENSE]}, ".layers=['dense'] is not allowed: must be a recurrent layer"),
        ({"name": "bidirectional", "layers": [GRU, GRU]},
         ".layers=['gru', 'gru'] is not allowed: must be a recurrent layer"),
        ({"name": "residual"}, ".layers is missing: 'residual' needs it"),
        ({"name": "residual", "layers": []}, ".layers=[] is not allowed: must be a list of layers, at least one"),
        ({"name": "parallel", "branches": [[DENSE], []]}, ".branches[1]=[] is not allowed: must be a list of ..."),
        ({"name": "parallel", "branches": 3}, ".branches=3 is not allowed: must be a list of branches, ..."),
        ({"name": "residual", "layers": [DENSE, {"name": "parallel", "branches": [["flaten"]]}]},
         ".layers[1].branches[0][0].name='flaten' is not allowed: ...; did you mean 'flatten'?"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_layer_is_refused_by_its_place_with_the_value_and_what_is_allowed(layer, line):
    (found,) = refusals(IMAGE, layer)
    assert found.startswith("model.layers[1]")
    named = layer if isinstance(layer, str) else dict(layer).get("name") if isinstance(layer, dict) else None
    told = f", {named}" if named in LAYERS else ""  # by its number, counted from 1, and its name if it has one
    assert found.endswith(f" (layer 2 of 2{told})")
    rest = found.removeprefix("model.layers[1]").removesuffix(f" (layer 2 of 2{told})")
    parts = line.split("...")
    assert rest.startswith(parts[0])
    assert rest.endswith(parts[-1])


def test_all_faults_of_a_network_are_told_at_once():
    found = refusals(
        CONVOLUTION | {"padding": "sam", "initializer": "zero", "kernel": [0]},
        {"name": "activation", "function": "leaky_relu", "options": {"slope": "a"}}, {"name": "flaten"},
        {"name": "parallel", "join": "su", "branches": [[DENSE | {"units": 0}], [GRU | {"reset": "befor"}]]},
    )  # fmt: skip
    assert [line.partition("=")[0] for line in found] == [
        "model.layers[0].kernel", "model.layers[0].padding", "model.layers[0].initializer",
        "model.layers[1].options.slope", "model.layers[2].name",
        "model.layers[3].branches[0][0].units", "model.layers[3].branches[1][0].reset",
        "model.layers[3].join",
    ]  # fmt: skip


@pytest.mark.parametrize("layers", [7, "dense", {}, {"name": "dense"}, None])
def test_what_is_no_list_of_layers_is_refused(layers):
    assert refusals(model={"name": "network", "layers": layers}) == [
        f"model.layers={layers!r} is not allowed: must be a list"
    ]


@pytest.mark.parametrize(
    ("layers", "line"),
    [
        ([{"name": "dense", "units": 8}],
         "model.layers: the last layer gives (8,); must give (10,), one for each of the classes of 'digits'"),
        ([IMAGE, CONVOLUTION],
         "model.layers: the last layer gives (6, 6, 2); must give (10,), one for each of the classes of 'digits'"),
        ([CONVOLUTION], "model.layers: layer 1 (convolution) cannot take examples of shape (64,): must be (h, w, n);"
                        " shapes: input (64,)"),
        ([IMAGE, {"name": "residual", "layers": ["global_max_pool", GRU]}],
         "model.layers: layer 2.2 (gru) cannot take examples of shape (1,): must be (t, n);"
         " shapes: input (64,), 1 reshape (8, 8, 1)"),
        ([IMAGE, {"name": "parallel", "branches": [[CONVOLUTION], ["flatten", GRU]]}],
         "model.layers: layer 2.2.2 (gru) cannot take examples of shape (64,): must be (t, n);"
         " shapes: input (64,), 1 reshape (8, 8, 1)"),
        ([{"name": "residual", "layers": [DENSE]}],
         "model.layers: layer 1 (residual) cannot take examples of shape (64,): must be what its layer gives, which is"
         " (10,); shapes: input (64,)"),
        ([TOKENS], "model.layers: layer 1 (embedding) is given numbers: must be tokens; shapes: input (64,)"),
    ],
    ids=range(7),
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_how_the_shapes_go(layers, line):
    assert refusals(*layers) == [line]


def test_of_a_long_network_the_last_shapes_are_shown():
    (line,) = refusals(*[{"name": "dense", "units": 4}] * 50, GRU)
    assert line.endswith("shapes: input (64,), ..., " + ", ".join(f"{place} dense (4,)" for place in range(44, 51)))


@pytest.mark.parametrize(
    ("settings", "layers", "line"),
    [
        ({"dataset": {"name": "words"}}, [{"name": "dense", "units": 3}],
         "model.layers: layer 1 (dense) is given tokens: must be numbers, as 'embedding' gives them;"
         " shapes: input (12,)"),
        ({"dataset": {"name": "words"}}, [TOKENS | {"entries": 20}, "global_max_pool", {"name": "dense", "units": 3}],
         "model.layers: layer 1 (embedding) has entries=20; must be 27 or more for 'words'"),
        ({"dataset": {"name": "words"}, "regularizers": ["gaussian_noise"]},
         [TOKENS, "global_max_pool", {"name": "dense", "units": 3}],
         "regularizers names 'gaussian_noise': the inputs of 'words' are tokens"),
        ({"dataset": {"name": "moons"}, "loss": "binary_cross_entropy"}, [{"name": "dense", "units": 2}],
         "model.layers: the last layer gives (2,); must give (1,), one number of 'moons'"),
        ({"dataset": {"name": "attributes"}, "loss": "binary_cross_entropy"}, [{"name": "dense", "units": 1}],
         "model.layers: the last layer gives (1,); must give (3,), one for each of the labels of 'attributes'"),
        ({"dataset": {"name": "attributes"}, "loss": {"name": "binary_cross_entropy", "class_weights": [1, 2]}},
         [{"name": "dense", "units": 3}], "loss.class_weights is not allowed for several outputs: must be left out"),
        ({"transfer": {}}, [DENSE], "transfer is not allowed for 'network': must be left out"),
        ({"frozen_biases": True}, [DENSE | {"bias": False}], "frozen_biases=True is not allowed: no layer has biases"),
        ({"regularizers": [{"name": "inverted_dropout", "keep_probability": 0.5}]}, [DENSE],
         "regularizers names 'inverted_dropout': must be a layer, 'dropout', in a 'network'"),
        ({"every_epoch": True}, ["batch_norm", DENSE], "every_epoch=True is not allowed with 'batch_norm': no epoch's"
         " running averages are kept but the last's"),
        ({"batch_size": 13}, [{"name": "batch_norm", "running_variance": "unbiased"}, DENSE],
         "batch_size=13 is not allowed for 40 examples with layer 1 (batch_norm): a batch of one has no unbiased"
         " variance"),
        ({"model": {"name": "deep_network"}, "loss": "binary_cross_entropy", "dataset": {"name": "brackets"}}, [],
         "model.name='deep_network' is not allowed for the tokens of 'brackets': must be 'network'"),
        ({"model": {"name": "network"}}, [], "model.layers is missing: 'network' needs it"),
        ({"model": {"name": "softmax_classifier", "layers": [DENSE]}}, [],
         "model.layers is not allowed for 'softmax_classifier': must be left out"),
    ],
    ids=range(14),
)  # fmt: skip
def test_what_does_not_go_together_is_refused_by_name(settings, layers, line):
    assert refusals(*layers, **settings) == [line]


def test_what_layers_say_is_not_said_of_the_model_too():
    model = {"hidden_units": [3], "activation": "relu", "normalization": "batch_norm", "bias": False}
    found = refusals(model={"name": "network", "layers": [DENSE]} | model)
    assert [line.partition("=")[0] for line in found] == [f"model.{field}" for field in model]
    assert all("is not allowed for 'network': must be left out" in line for line in found)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "mean_squared_error"])
def test_a_network_on_classes_is_of_a_softmax_or_is_refused(loss):
    assert any("model.output" in line or "loss.name" in line for line in refusals(DENSE, loss=loss))
    softmax = {"name": "network", "layers": [DENSE], "output": "softmax"}
    assert recipe(loss="mean_squared_error", model=softmax).decides_classes


@pytest.mark.parametrize("number", [MOST_LAYERS + 1, 100_000])
def test_too_many_layers_are_refused_at_once(number):
    (line,) = refusals(*[DENSE] * number)
    assert line == f"model.layers holds {number} layers or more: must be at most {MOST_LAYERS}"


def test_layers_that_hold_themselves_are_refused():
    layer = {"name": "residual"}
    layer["layers"] = [layer]
    assert refusals(layer) == [f"model.layers is nested more than {MOST_NESTED_LAYERS} deep"]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([{"name": "dense", "units": 60_000}, {"name": "dense", "units": 60_000}, DENSE], "3,604,560,010 parameters"),
        ([IMAGE, CONVOLUTION | {"padding": 60_000}, "global_max_pool", DENSE], "bytes of layers' values"),
        ([IMAGE, CONVOLUTION | {"padding": "same", "dilation": 60_000}, "global_max_pool", DENSE], "of layers' values"),
        ([IMAGE, CONVOLUTION | {"padding": 60_000, "stride": 60_000}, "global_max_pool", DENSE], "of layers' values"),
        ([IMAGE, CONVOLUTION | {"padding": 3000}, DROPOUT, "global_max_pool", DENSE], "bytes of random draws"),
    ],
    ids=["parameters", "values", "dilated", "strided", "draws"],
)  # fmt: skip
def test_what_is_too_large_is_refused_before_it_costs_anything(tmp_path, layers, message):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(values(*layers)), encoding="utf-8")
    with pytest.raises(RecipeError, match="the training is too large") as refused:
        load_recipe(path)
    assert message in str(refused.value)


def test_of_tokens_in_files_all_is_known_when_they_are():
    made = recipe(TOKENS, "global_max_pool", DENSE, dataset={"name": "npz", "path": "x.npz"})
    require_bounded(made, Extent(20, 10, 7, 10, vocabulary=27))
    for extent, message in (
        (Extent(20, 10, 7, 10), "is given numbers"),
        (Extent(20, 10, 7, 10, vocabulary=28), "must be 28 or more for 'npz'"),
        (Extent(20, 10, 7, 9, vocabulary=27), r"must give \(9,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            require_bounded(made, extent)


def test_the_page_of_fields_names_every_layer():
    page = (Path(__file__).parents[3] / "docs" / "reference" / "recipe_schema.md").read_text(encoding="utf-8")
    assert all(f"\n| `{name}` |" in page for name in LAYERS)
