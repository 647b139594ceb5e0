"""Ejected files put under test: by their own functions, as they are and with a fault in them."""

import tomllib

import pytest

from conformance.adapters.registry import load, resolve
from conformance.ejecting.eject import eject
from conformance.recipes.recipe import Recipe
from conformance.recipes.suites import suite

# A little of everything that a file can do beside the forward pass.
RECIPE = """
name = "small"
loss = "binary_cross_entropy"
dataset = { name = "moons", examples = 26, test_examples = 12, scaling = "standardize" }
model = { name = "shallow_network", hidden_units = [5], activation = "tanh", normalization = "batch_norm" }
initializer = "xavier_normal"
optimizer = { name = "momentum", learning_rate = 0.1 }
schedule = { name = "inverse_time", decay_rate = 0.5 }
example_weights = "drawn"
regularizers = [
  { name = "inverted_dropout", keep_probability = 0.5 },
  { name = "l2", strength = 0.1 },
  { name = "clip_by_global_norm", limit = 0.5 },
  { name = "max_norm", limit = 1.0 },
  { name = "early_stopping", patience = 1 },
]
batch_size = 10
epochs = 2
fit = "twice"
dtypes = ["float64"]
"""
SMALL = Recipe.model_validate(tomllib.loads(RECIPE))
# The same of a network of layers, in lines.
LAYERS = """model = { name = "network", output = "sigmoid", layers = [
  { name = "dense", units = 5, bias = false },
  { name = "batch_norm" },
  { name = "activation", function = "tanh" },
  { name = "dropout", keep_probability = 0.5 },
  { name = "dense", units = 1 },
] }"""
OF_DENSE = ("model =", "initializer =", '  { name = "inverted_dropout"')
OTHERS = [line for line in RECIPE.splitlines() if not line.startswith(OF_DENSE)]
NETWORK = Recipe.model_validate(tomllib.loads("\n".join([*OTHERS, LAYERS])))
OFFERED = {
    "numpy": {"initialization", "forward", "loss", "gradients", "gradient_check", "update", "teacher_forced",
              "free_running"},
}  # fmt: skip
OFFERED["torch"] = OFFERED["numpy"]
NETWORKS = [recipe for name in ("layers", "showcases") for recipe in suite(name) if recipe.is_network]
LEARNING = {"update", "teacher_forced", "free_running"}


@pytest.fixture(scope="module")
def ejected():
    """The text of a file of each framework that is asked for."""
    texts = {}
    return lambda framework: texts.get(framework) or texts.setdefault(framework, eject(framework, SMALL))


def adapter(text, folder, name):
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    return load(resolve(str(path)))


@pytest.mark.parametrize("framework", ["numpy", pytest.param("torch", marks=pytest.mark.slow)])
def test_an_ejected_file_passes_every_check_of_its_recipe(framework, ejected, judged, tmp_path):
    found = judged(adapter(ejected(framework), tmp_path, f"whole_{framework}"), SMALL)
    assert found.wrong == {}, found.causes
    assert set(found.of("pass")) == OFFERED[framework]


@pytest.mark.parametrize(
    "framework", ["numpy", *(pytest.param(f, marks=pytest.mark.slow) for f in ("torch", "tf", "jax"))]
)
def test_a_file_with_a_network_of_layers_passes_every_check(framework, judged, tmp_path):
    found = judged(adapter(eject(framework, NETWORK), tmp_path, f"layers_{framework}"), NETWORK)
    assert found.wrong == {}, found.causes
    assert {"forward", "loss", "gradients"} | LEARNING <= set(found.of("pass"))


@pytest.mark.parametrize(
    ("right", "wrong", "seen_by"),
    [
        ("v *= beta", "v *= 0.99 * beta", LEARNING),
        ("EPOCHS = 2", "EPOCHS = 2\nBATCH_SIZE = 13", {"free_running"}),
    ],
)
def test_a_fault_in_a_file_is_seen(right, wrong, seen_by, ejected, judged, tmp_path):
    text = ejected("numpy")
    assert right in text
    found = judged(adapter(text.replace(right, wrong), tmp_path, "faulty"), SMALL)
    assert set(found.wrong) == seen_by


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("framework", ["numpy", "torch", "tf", "jax"])
@pytest.mark.parametrize("recipe", [*suite("default"), *NETWORKS], ids=lambda recipe: recipe.name)
def test_every_ejected_file_passes_every_check_of_its_recipe(framework, recipe, judged, tmp_path):
    for dtype in recipe.dtypes:
        text = eject(framework, recipe, dtype=dtype)
        name = f"{recipe.name.replace('-', '_')}_{dtype}_{framework}"
        found = judged(adapter(text, tmp_path, name), recipe, dtype)
        assert found.wrong == {}, found.causes
        goes_on = recipe.fit == "in_halves"  # which a file does not offer
        assert LEARNING | {"loss", "gradients"} <= set(found.of("pass")) | ({"free_running"} if goes_on else set())
