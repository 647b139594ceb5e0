"""Recipe files from outside: whatever they hold, they are a recipe or are refused, soon and in a few words."""

import json
import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.recipes.files import MOST_BYTES, RecipeError, load_recipe
from conformance.recipes.recipe import Recipe
from conformance.recipes.suites import suite

TOML = """
name = "my-xor"
batch_size = 32
epochs = 5
loss = "binary_cross_entropy"
dataset = {name = "xor"}
model = {name = "deep_network", hidden_units = [6, 3], activation = "tanh"}
optimizer = {name = "adam", learning_rate = 0.01}
"""
WRONG = """
epoch = 5
name = "A B"
epochs = 0
loss = "binary_cros_entropy"
dataset = {name = "xors", sed = 1}
model = {name = "deep_net", hidden_units = [1], activation = "tahn"}
optimizer = {name = "adam", learning_rate = -1.0, beta1 = 2.0}
seed = true
regularizers = ["l3", {name = "l2", strength = -1}, {name = "inverted_dropout"}]
schedule = {name = "exponential", bas = 3, base = nan}
transfer = {pretraining_rate = inf}
"""
LINES = (
    "epoch is no field: must be one of 'name', ... did you mean 'epochs'?",
    "name='A B' is not allowed",
    "epochs=0 is not allowed: must be greater than or equal to 1",
    "loss.name='binary_cros_entropy' is not allowed: must be one of ... did you mean 'binary_cross_entropy'?",
    "dataset.name='xors' is not allowed: must be one of ... did you mean 'xor'?",
    "dataset.sed is no field: must be one of ... did you mean 'seed'?",
    "model.name='deep_net' is not allowed: must be one of ... did you mean 'deep_network'?",
    "model.activation.name='tahn' is not allowed: must be one of ... did you mean 'tanh'?",
    "optimizer: learning_rate=-1.0 is not allowed: must be a finite number >= 0",
    "optimizer: beta1=2.0 is not allowed: must be in [0, 1)",
    "seed=True is not allowed: must be an integer",
    "regularizers.0.name='l3' is not allowed: must be one of ... did you mean",
    "regularizers.1: strength=-1 is not allowed: must be a finite number >= 0",
    "regularizers.2.keep_probability is missing: 'inverted_dropout' needs it",
    "schedule keyword='bas' is not allowed for 'exponential': must be one of 'base'; did you mean 'base'?",
    "schedule.base=nan is not allowed: must be a finite number",
    "transfer.pretraining_rate=inf is not allowed: must be a finite number",
)


def refused(path, content):
    """The message of the refusal that reading must end in, within seconds."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    began = time.process_time()
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert time.process_time() - began < 5
    message = str(caught.value)
    assert all(line.startswith(str(path)) for line in message.splitlines())
    assert len(message.replace(str(path), "")) < 5000
    return message


def test_all_faults_of_a_file_are_told_at_once_one_a_line_with_the_nearest_name(tmp_path):
    lines = refused(tmp_path / "r.toml", WRONG).splitlines()
    assert len(lines) == len(LINES)
    for expected in LINES:
        parts = expected.split("...")
        assert any(all(part.strip() in line for part in parts) for line in lines), expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 5", "epochs = true", "epochs=True is not allowed: must be an integer"),
        ("epochs = 5", 'epochs = "5"', "epochs='5' is not allowed: must be an integer"),
        ("learning_rate = 0.01", "learning_rate = true", "optimizer.learning_rate=True is not allowed"),
        ("learning_rate = 0.01", "amsgrad = true", "optimizer.amsgrad=True is not allowed"),
        ('{name = "adam",', '{name = "momentum", nesterov = 1,', "nesterov=1 is not allowed: must be true or false"),
        ("learning_rate = 0.01", "learning_rate = inf", "optimizer.learning_rate=inf is not allowed"),
        ("epochs = 5", "epochs = 5\ndtypes = []", "dtypes=[] is not allowed"),
        ("epochs = 5", f"epochs = {'9' * 5000}", "an integer has too many digits"),
        ("epochs = 5", f"epochs = {'9' * 4000}", "epochs=an integer of 13288 bits is not allowed"),
        ("epochs = 5", f"description = {[1] * 50000}", "description=a list of 50000"),
        ('"my-xor"', f'"{"x" * 200_000}"', "(200000 characters)"),
        ('"adam"', f'"{"x" * 200_000}"', "(200000 characters)"),
        ("epochs = 5", "epochs = 1000000", "epochs=1000000 is not allowed: must be less than or equal to 100000"),
        ("[6, 3]", "[10000000]", "model.hidden_units.0=10000000 is not allowed"),
        ("[6, 3]", f"{[6] * 100}", "model.hidden_units=a list of 100, [6, 6, 6, 6, 6, ...] is not allowed"),
        ("[6, 3]", "[60000, 60000]", "parameters; allowed: at most 20,000,000"),
        ("batch_size = 32\nepochs = 5", "batch_size = 1\nepochs = 100000", "40,000,000 steps; allowed: at most"),
        ("batch_size = 32", 'batch_size = 7\nregularizers = [{name = "inverted_dropout", keep_probability = true}]',
         "regularizers.0.keep_probability=True is not allowed"),
        ('{name = "xor"}', '{name = "xor", examples = 401}', "dataset.examples=401 is not allowed: 'xor' has 400"),
        ('{name = "xor"}', '{name = "xor", path = "x"}', "dataset.path='x' is not allowed for 'xor'"),
        ('{name = "xor"}', "7", "dataset=7 is not allowed: must be a table"),
        ('activation = "tanh"', 'normalization = {name = "batch_norm", epsilon = -1}', "normalization: epsilon=-1"),
        ("epochs = 5", "\n".join(f"k{i} = 1" for i in range(20_000)), "holds a table of 20006 fields"),
        ("epochs = 5", f"a = {'[' * 40} {']' * 40}", "is nested more than 30 deep"),
        ("epochs = 5", f"a = {'[' * 20_000} {']' * 20_000}", "nested too deep"),
        ("epochs = 5", f"a = {'[' * 100_000} {']' * 100_000}", "nested too deep"),
        ("epochs = 5", "\n".join(f"k{i} = 1" for i in range(10**6)), f"is larger than {MOST_BYTES} bytes"),
        ("epochs = 5", "name = 'again'", "not valid TOML: Cannot overwrite a value"),
        ("my-xor", "my\0xor", "not valid TOML: Illegal character"),
    ],
    ids=lambda value: str(value)[:25],
)  # fmt: skip
def test_a_value_that_no_training_has_is_refused_by_name(tmp_path, old, new, message):
    assert message in refused(tmp_path / "r.toml", TOML.replace(old, new, 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"name": 1, "name": 2}', "not valid JSON: the key 'name' stands there twice"),
        ('{"epochs": NaN}', "epochs=nan is not allowed: must be an integer"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "not valid JSON: nested too deep"),
        ("[1, 2]", "holds [1, 2]; must be a table of fields"),
        ("", "not valid JSON"),
        (b"\xff\xfe\x00", "cannot be read: not UTF-8 at byte 0"),
    ],
    ids=range(6),
)
def test_json_is_read_as_strictly(tmp_path, text, message):
    assert message in refused(tmp_path / "r.json", text)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("r.yaml", "is YAML: must be TOML or JSON"),
        ("r.yml", "is YAML: must be TOML or JSON"),
        ("r.txt", "has the suffix '.txt': must be TOML or JSON"),
        ("r", "has no suffix: must be TOML or JSON"),
    ],
)
def test_another_kind_of_file_is_refused_as_what_it_is(tmp_path, name, message):
    assert message in refused(tmp_path / name, TOML)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "device.toml").symlink_to("/dev/zero")
    (tmp_path / "dangling.toml").symlink_to("nowhere")
    (tmp_path / "file.toml").write_text("")
    messages = {
        "folder.toml": "is a folder", "pipe.toml": "is no file", "device.toml": "is no file",
        "dangling.toml": "No such file", "file.toml/below.toml": "Not a directory", "a\0b.toml": "null byte",
        f"{'x' * 300}.toml": "File name too long",
    }  # fmt: skip
    for name, message in messages.items():
        with pytest.raises(RecipeError, match=message):
            load_recipe(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path):
    (tmp_path / "r.toml").write_text(TOML)
    (tmp_path / "r.toml").chmod(0)
    with pytest.raises(RecipeError, match="Permission denied"):
        load_recipe(tmp_path / "r.toml")


def test_a_mark_of_the_byte_order_is_passed_over(tmp_path):
    (tmp_path / "r.toml").write_text(TOML, encoding="utf-8-sig")
    assert load_recipe(tmp_path / "r.toml").name == "my-xor"


# --- fuzzing ----------------------------------------------------------------------------------------------------------

RECIPES = (*suite("default"), *suite("layers"))
VALUES = st.recursive(
    st.sampled_from([None, *Recipe.model_fields]) | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def read_or_refused(path, content):
    path.write_bytes(content)
    try:
        read = load_recipe(path)
    except RecipeError as error:
        read = str(error)
    assert isinstance(read, Recipe) or str(path) in read


@st.composite
def mutated_tables(draw):
    """A recipe some of whose fields, at any depth, hold anything."""
    values = json.loads(json.dumps(draw(st.sampled_from(RECIPES)).model_dump(mode="json")))
    for _ in range(draw(st.integers(1, 3))):
        place = values
        while True:
            key = draw(st.sampled_from(sorted(place)) if isinstance(place, dict) else st.integers(0, len(place) - 1))
            if not (isinstance(place[key], (dict, list)) and place[key] and draw(st.booleans())):
                break
            place = place[key]
        place[key] = draw(VALUES)
    return json.dumps(values).encode()


def fuzz(examples, folder):
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(mutated_tables())
    def once(content):
        read_or_refused(folder / "r.json", content)

    once()


def test_a_changed_recipe_is_read_or_refused(tmp_path):
    fuzz(150, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_changed_recipes_are_read_or_refused(tmp_path):
    fuzz(8_000, tmp_path)
