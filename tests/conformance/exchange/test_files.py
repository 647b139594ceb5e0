"""Files from anywhere: what is damaged, too large, or may hold code, is refused by name, and nothing is unpickled."""

import json
import pickle
import zipfile

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from conformance.cli.app import app
from conformance.data.files import DataError
from conformance.exchange import files
from conformance.exchange.files import read_tensors


def header(text, start=0):
    return len(text).to_bytes(8, "little") + text.encode() + b"\0" * start


DAMAGED = {
    "empty.safetensors": b"",
    "short.safetensors": (2**62).to_bytes(8, "little") + b"{",
    "text.safetensors": b"no tensors at all",
    "list.safetensors": header("[1]"),
    "huge.safetensors": header('{"a":{"dtype":"F64","shape":[1073741824,1024],"data_offsets":[0,8796093022208]}}'),
    "type.safetensors": header('{"a":{"dtype":"F8","shape":[1],"data_offsets":[0,1]}}', 1),
    "text.npz": b"PK no archive",
    "text.h5": b"\x89HDF\r\n\x1a\nno more",
    "code.pt": pickle.dumps({"a": 1}),
    "code.npz": None,
    "model.keras": b"",
    "weights.onnx": b"",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused_by_its_name(tmp_path, name):
    path = tmp_path / name
    if name == "code.npz":
        np.savez(path, a=np.array([{}], dtype=object))
    else:
        path.write_bytes(DAMAGED[name])
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        read_tensors(path)
    assert CliRunner().invoke(app, ["diff", str(path), str(path)]).exit_code == 2


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_tensors(tmp_path / "none.npz")


def test_a_pickle_is_refused_with_what_to_do_instead(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"")
    with pytest.raises(DataError, match=r"weights_only=True"):
        read_tensors(tmp_path / "a.pt")


def test_a_member_that_stands_there_twice_is_refused(tmp_path):
    path = tmp_path / "twice.npz"
    np.savez(path, a=np.zeros(1))
    with zipfile.ZipFile(path) as archive:
        content = archive.read("a.npy")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(DataError, match="twice"):
        read_tensors(path)


def test_too_many_arrays_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_TENSORS", 1)
    save_file({"a": np.zeros(1), "b": np.zeros(1)}, tmp_path / "many.safetensors")
    with pytest.raises(DataError, match="holds 2 arrays"):
        read_tensors(tmp_path / "many.safetensors")


def test_every_kind_of_file_gives_its_arrays_back(tmp_path):
    arrays = {"layers/dense/kernel": np.arange(6.0, dtype="float32").reshape(2, 3), "steps": np.arange(3)}
    save_file(arrays, tmp_path / "a.safetensors")
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        for name, value in arrays.items():
            file[name] = value
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/a")
    for name in ("a.safetensors", "a.npz", "a.weights.h5"):
        found = read_tensors(tmp_path / name)
        assert found.keys() == arrays.keys()
        for key, value in arrays.items():
            np.testing.assert_array_equal(found[key], value)


def test_bfloat16_is_read_as_float32(tmp_path):
    entry = {"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    text = json.dumps(entry).ljust(64)
    path = tmp_path / "b.safetensors"
    path.write_bytes(header(text) + np.array([0x3F80, 0xC040], "<u2").tobytes())
    np.testing.assert_array_equal(read_tensors(path)["a"], np.array([1.0, -3.0], "float32"))
