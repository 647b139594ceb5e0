"""Every reader of files from anywhere: however a file is damaged, it is read or refused by a message that names it.

`make fuzz` gives each reader ten minutes; otherwise each has two seconds. What is changed in the n-th file is drawn by
the key n, so that the number which a failure tells makes the same file again.
"""

import json
import os
import re
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from typer.testing import CliRunner

import conformance
from conformance.adapters.session import State
from conformance.cli.app import app
from conformance.converting.formats import FORMATS
from conformance.converting.model_layers import ModelLayer, model_layers
from conformance.converting.placing import placed_in
from conformance.data import hdf5
from conformance.data.archives import read_npz
from conformance.data.hdf5 import read_course_hdf5
from conformance.data.images import read_image_folder
from conformance.exchange.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from conformance.exchange.files import read_tensors
from conformance.exchange.recording import record
from conformance.exchange.trace import load_trace
from conformance.exchange.weights import load_weights
from conformance.problems.preparation import prepare
from conformance.recipes.choosing import find
from conformance.recipes.files import load_recipe
from conformance.recipes.suites import suite
from conformance.recipes.writing import as_toml
from conformance.results.history import history
from conformance.results.known import load_known
from conformance.results.schema import FRAMES
from conformance.vectors.answers import SCHEMA, judge

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0.25"))
LONGEST = 1500  # characters of a line of a message
WORD = re.compile(rb"[\w.+-]+")
WORDS = (
    b"nan", b"-inf", b"1e999", b"-1", b"0", b"9" * 30, b"true", b"null", b"[[", b"{}", b'""', b"\xff", b"\0", b"../x"
)  # fmt: skip
IMAGES = np.arange(6 * 4 * 4 * 3, dtype=np.uint8).reshape(6, 4, 4, 3)
LABELS = np.array([0, 1, 2, 0, 1, 2])
ARCHIVE = {"train_x": IMAGES, "train_y": LABELS, "test_x": IMAGES[:3], "test_y": LABELS[:3]}
WEIGHTS = {"a": np.linspace(0, 1, 12).reshape(3, 4), "b": np.arange(3), "c": np.float32([1.5])}


def mutated(content: bytes, number: int) -> bytes:
    """A damaged file: bytes are others, words are exchanged, a piece stands elsewhere too, or the end is lacking."""
    generator = np.random.Generator(np.random.Philox(number))

    def place(length: int) -> int:
        """Anywhere, or near one of the ends, where headers and tables stand."""
        near = int(generator.integers(min(length, 300)))
        return (int(generator.integers(length)), near, length - 1 - near)[generator.integers(3)]

    changed = bytearray(content)
    for _ in range(generator.integers(1, 4)):
        kind, start = generator.choice(4, p=(0.3, 0.1, 0.1, 0.5)), place(len(changed))
        if kind == 0:
            changed[start] = generator.choice([0, 1, 127, 128, 255, generator.integers(256)])
        elif kind == 1:
            changed[start : start + generator.integers(8)] = bytes(generator.integers(0, 256, 4, np.uint8))
        elif kind == 2:
            piece = changed[start : start + int(generator.integers(1, 200))]
            changed[(other := place(len(changed))) : other] = piece
        elif word := WORD.search(changed, start):
            others = [*WORDS, *WORD.findall(content[:20_000])]
            changed[word.start() : word.end()] = others[generator.integers(len(others))]
    return bytes(changed[: place(len(changed)) + 1] if generator.random() < 0.2 else changed)


class Reader(NamedTuple):
    """What writes good files into a folder and names the ones to damage, and what reads them."""

    write: Callable[[Path], list[Path]]
    read: Callable[[Path], Any]


def archive(save: Callable[..., None]) -> Callable[[Path], list[Path]]:
    def write(folder: Path) -> list[Path]:
        save(folder / "data.npz", **ARCHIVE)
        return [folder / "data.npz"]

    return write


def course(folder: Path) -> list[Path]:
    for part in ("train", "test"):
        with h5py.File(folder / f"{part}_toy.h5", "w") as file:
            file[f"{part}_set_x"], file[f"{part}_set_y"], file["list_classes"] = IMAGES, LABELS, [b"no", b"a", b"b"]
    return [folder / "train_toy.h5"]


def images(suffix: str) -> Callable[[Path], list[Path]]:
    def write(folder: Path) -> list[Path]:
        for part in ("train", "test"):
            for name in ("cat", "dog"):
                (folder / part / name).mkdir(parents=True)
                Image.new("RGB", (8, 6), (9, 8, 7)).save(folder / part / name / f"0{suffix}")
        return [folder / "train" / "cat" / f"0{suffix}"]

    return write


def recipes(suffix: str) -> Callable[[Path], list[Path]]:
    def write(folder: Path) -> list[Path]:
        files = []
        for number, recipe in enumerate((suite("default")[0], suite("layers")[0], suite("layers")[-1])):
            files.append(folder / f"{number}{suffix}")
            text = as_toml(recipe) if suffix == ".toml" else json.dumps(recipe.model_dump(mode="json"))
            files[-1].write_text(text, encoding="utf-8")
        return files

    return write


def weights(suffix: str) -> Callable[[Path], list[Path]]:
    def write(folder: Path) -> list[Path]:
        file = folder / f"weights{suffix}"
        if suffix == ".safetensors":
            save_file(WEIGHTS, file)
        elif suffix == ".npz":
            np.savez(file, **WEIGHTS)
        else:
            with h5py.File(file, "w") as stream:
                for name, value in WEIGHTS.items():
                    stream[f"layer/{name}"] = value
        return [file]

    return write


def checkpoint(folder: Path) -> list[Path]:
    parameters = {"W1": np.linspace(0, 1, 12).reshape(3, 4), "b1": np.ones(3)}
    state = State(3, {"velocity": parameters})
    save_checkpoint(folder / "checkpoint.safetensors", Checkpoint(parameters, state, {"running_mean1": np.ones(3)}))
    return [folder / "checkpoint.safetensors"]


def state_dict(folder: Path) -> list[Path]:
    generator = np.random.default_rng(0)
    shapes = {
        "0.weight": (8, 2),
        "0.bias": (8,),
        "2.weight": (5, 8),
        "2.bias": (5,),
        "4.weight": (1, 5),
        "4.bias": (1,),
    }
    save_file({name: generator.standard_normal(shape) for name, shape in shapes.items()}, folder / "net.safetensors")
    return [folder / "net.safetensors"]


@cache
def layers_of_net() -> list[ModelLayer]:
    return model_layers(prepare(find("moons-deep-relu-momentum"), "float64"))


def trace(folder: Path) -> list[Path]:
    return record(suite("quick")[0], "float32", folder)[1:]


def answers(folder: Path) -> list[Path]:
    from conformance.vectors.writing import chosen, write

    write(folder / "vectors", chosen(("schedule/exp*", "dropout/*")))
    given = {}
    for file in sorted((folder / "vectors").glob("[ds]*/*.json")):
        tests = [test for group in json.loads(file.read_text())["groups"] for test in group["tests"]]
        name = file.relative_to(folder / "vectors").as_posix()
        given[name] = {test["id"]: {output: [0.5] for output in test["outputs"]} for test in tests if "outputs" in test}
    file = folder / "answers.json"
    file.write_text(json.dumps({"schema": SCHEMA, "dtype": "float64", "answers": given}))
    return [file, *sorted((folder / "vectors").glob("*/*.json"))]


def known_differences(folder: Path) -> list[Path]:
    file = folder / "known.toml"
    row = {"subject": "mine", "recipe": "*", "check": "update", "reason": "it rounds", "link": "https://example.org"}
    file.write_text("[[difference]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in row.items()))
    return [file]


def run(folder: Path) -> list[Path]:
    conformance.run(suite("quick")[0], implementations=["numpy"], dtypes=["float64"], output=folder / "run")
    return [folder / "run" / "run.sqlite"]


def read_run(folder: Path) -> None:
    found = conformance.load_run(folder / "run")
    assert {name for name, _ in found.frames()} == set(FRAMES)


def past_runs(folder: Path) -> list[Path]:
    run(folder)
    CliRunner().invoke(app, ["report", str(folder / "run")])
    return [folder / "run" / "environment.json", folder / "run" / "records.parquet"]


def read_history(folder: Path) -> None:
    skipped = history(folder).skipped
    if skipped:
        raise ValueError(skipped[0].reason)


READERS = {
    "npz": Reader(archive(np.savez), lambda folder: read_npz(folder / "data.npz")),
    "deflated npz": Reader(archive(np.savez_compressed), lambda folder: read_npz(folder / "data.npz")),
    "course HDF5": Reader(course, lambda folder: read_course_hdf5(folder, "toy")),
    "PNG": Reader(images(".png"), read_image_folder),
    "JPEG": Reader(images(".jpg"), read_image_folder),
    "recipe TOML": Reader(recipes(".toml"), lambda folder: [load_recipe(file) for file in sorted(folder.iterdir())]),
    "recipe JSON": Reader(recipes(".json"), lambda folder: [load_recipe(file) for file in sorted(folder.iterdir())]),
    "weights safetensors": Reader(weights(".safetensors"), lambda folder: load_weights(folder / "weights.safetensors")),
    "weights npz": Reader(weights(".npz"), lambda folder: load_weights(folder / "weights.npz")),
    "weights HDF5": Reader(weights(".h5"), lambda folder: load_weights(folder / "weights.h5")),
    "checkpoint": Reader(checkpoint, lambda folder: load_checkpoint(folder / "checkpoint.safetensors")),
    "state_dict": Reader(
        state_dict,
        lambda folder: placed_in(
            FORMATS["torch"], layers_of_net(), read_tensors(folder / "net.safetensors"), str(folder / "net.safetensors")
        ),
    ),
    "trace": Reader(trace, load_trace),
    "vectors and answers": Reader(answers, lambda folder: judge(folder / "answers.json", folder / "vectors")),
    "known differences": Reader(known_differences, lambda folder: load_known(folder / "known.toml")),
    "run": Reader(run, read_run),
    "history": Reader(past_runs, read_history),
}


@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "SECONDS", 10.0)
    reader = READERS[name]
    good = {file: file.read_bytes() for file in reader.write(tmp_path)}
    reader.read(tmp_path)
    ends, number, refused = time.monotonic() + SECONDS, 0, 0
    while time.monotonic() < ends or number < len(good):
        file, content = list(good.items())[number % len(good)]
        file.write_bytes(mutated(content, number))
        message = None
        try:
            reader.read(tmp_path)
        except ValueError as error:
            message = str(error)
        except BaseException as error:
            error.add_note(f"{file}, damaged by the key {number}")
            raise
        if message is not None:
            assert str(tmp_path) in message, number
            assert max(map(len, message.splitlines())) < LONGEST, number
            refused += 1
        file.write_bytes(content)
        number += 1
    print(f"{name}: {number} files, {refused} refused")
    assert refused or number < 10
