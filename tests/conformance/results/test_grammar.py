"""The grammar of stored tensors: whatever is written is read again, whatever its names."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.checks.observation import Key, Observation
from conformance.results.grammar import flatten, observations, observed_tree, unflatten
from conformance.results.store import Store, StoreError

names = st.text(alphabet="aW1|%7C {}\"'/\\é", min_size=1, max_size=6)
leaves = st.integers(0, 9).map(lambda number: np.full(2, float(number)))
trees = st.dictionaries(
    names, st.recursive(leaves, lambda inner: st.dictionaries(names, inner, min_size=1, max_size=3), max_leaves=6)
)


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return bool((one == other).all())


@given(trees)
def test_a_tree_survives_its_flat_form(tree):
    assert same(unflatten(flatten(tree)), tree)


def test_no_two_paths_have_one_name():
    tree = {"a|b": {"c": np.zeros(1)}, "a": {"b|c": np.ones(1), "b": {"c": np.full(1, 2.0)}}}
    assert len(flatten(tree)) == 3


@given(
    st.lists(st.builds(Key, names, st.integers(0, 9), names, st.sampled_from(["tensor", "curve"]), names), max_size=4)
)
def test_observations_survive_with_their_keys_and_in_their_order(keys):
    seen = [Observation(key, np.full(2, float(place))) for place, key in enumerate(keys)]
    tree, text = observed_tree(seen)
    again = observations(unflatten(flatten(tree)), text)
    assert [(o.key, o.key.name, o.key.layer) for o in again] == [(o.key, o.key.name, o.key.layer) for o in seen]
    assert all((a.value == b.value).all() for a, b in zip(seen, again, strict=True))


def test_tensors_are_read_in_the_order_in_which_they_were_written(tmp_path):
    store = Store(tmp_path, create=True)
    store.save_tensors("some", {"b": np.zeros(3), "W": np.zeros(9), "a": np.zeros(1, np.float32)})
    assert list(store.load("some")[0]) == ["b", "W", "a"]


@pytest.mark.parametrize("keep", [0, 7, 100])
def test_a_damaged_file_of_tensors_is_named(tmp_path, keep):
    store = Store(tmp_path, create=True)
    store.save_tensors("some", {"a": np.zeros(100)})
    (path,) = (tmp_path / "traces").iterdir()
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StoreError, match=r"some\.safetensors: cannot be read"):
        store.load("some")


def test_a_run_of_another_version_is_refused_and_says_in_what_it_differs(tmp_path):
    store = Store(tmp_path, create=True)
    with closing(sqlite3.connect(store.database)) as connection, connection:
        connection.execute("ALTER TABLE records DROP COLUMN layer")
    with pytest.raises(StoreError, match=r"is of another version: its records differ in layer"):
        Store(tmp_path)
