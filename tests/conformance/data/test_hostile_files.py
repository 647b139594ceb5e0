"""Files that declare what they do not hold, lead elsewhere, or are damaged: refused soon, before memory is taken."""

import io
import os
import signal
import struct
import subprocess
import time
import zipfile
import zlib

import h5py
import numpy as np
import pytest
from numpy.lib import format as npy
from PIL import Image

from conformance.data import hdf5
from conformance.data.archives import read_npz
from conformance.data.datasets import load_dataset
from conformance.data.files import DataError, RawData
from conformance.data.hdf5 import read_course_hdf5
from conformance.data.images import read_image_folder

IMAGES = np.arange(6 * 4 * 4 * 3, dtype=np.uint8).reshape(6, 4, 4, 3)
LABELS = np.array([0, 1, 2, 0, 1, 2])
ARCHIVE = {"train_x": IMAGES, "train_y": LABELS, "test_x": IMAGES[:3], "test_y": LABELS[:3]}
HUGE = 2**40


def refused(read, *arguments):
    """The message of the DataError that reading must end in, within seconds."""
    began = time.process_time()
    with pytest.raises(DataError) as caught:
        read(*arguments)
    assert time.process_time() - began < 5
    assert len(str(caught.value)) < 1500
    return str(caught.value)


# --- .npz -------------------------------------------------------------------------------------------------------------


def member(array=None, *, shape=None, descr="<f8", content=b"", version=(1, 0)):
    """The bytes of a ``.npy``: an array's own, or a header that declares what it likes."""
    stream = io.BytesIO()
    if array is not None:
        npy.write_array(stream, np.asarray(array), version, allow_pickle=False)
    else:
        header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
        stream.write(npy.magic(*version) + struct.pack("<H", len(header)) + header + content)
    return stream.getvalue()


def write_archive(folder, compression=zipfile.ZIP_STORED, **members):
    path = folder / "hostile.npz"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for key, content in ({key: member(array) for key, array in ARCHIVE.items()} | members).items():
            archive.writestr(f"{key}.npy", content)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (member(shape=(HUGE,)), "train_x: shape is (1099511627776,) of type float64"),
        (member(shape=(10**400, 2)), "train_x: shape is"),
        (member(shape=(-1, 2)), "train_x: shape is (-1, 2); allowed: lengths of 0 or more"),
        (member(shape=(HUGE, 0)), "train_x: shape is (1099511627776, 0), which is empty"),
        (member(shape=(6, 2)), "train_x: holds 69 bytes; allowed: 165, for which its header calls"),
        (member(shape=(6, 2), content=bytes(10**6)), "allowed: 165, for which its header calls"),
        (member(shape=(6, 2), descr="<U1000000"), "train_x: values have type <U1000000"),
        (member(shape=(6, 2), descr="|V0"), "train_x: values have type |V0"),
        (member(shape=(6, 2), descr="|O"), "never unpickled"),
        (member(shape=(6, 2), descr="<c16", content=bytes(192)), "train_x: values have type complex128"),
        (member(shape=(6, 2), descr="<M8[s]"), "train_x: values have type datetime64[s]"),
        (member(shape=(2,), descr="(6,)<f8"), "train_x: values have type"),
        (member(shape=(6, 2), descr="nonsense"), "train_x cannot be read"),
        (member(np.full((6, 2), 1e300)), "train_x: values are 1e+300 to 1e+300; allowed: -1e+18 to 1e+18"),
        (member(shape="x" * 60_000), "train_x cannot be read"),
        (b"\x93NUMPY\x09\x00", "train_x: header has version (9, 0)"),
        (b"", "train_x cannot be read"),
        (b"not an array", "train_x cannot be read"),
    ],
    ids=range(18),
)
def test_an_array_is_refused_by_what_its_header_declares(content, message, tmp_path):
    assert message in refused(read_npz, write_archive(tmp_path, train_x=content))


def test_a_bomb_is_refused_before_it_is_decompressed(tmp_path):
    path = tmp_path / "bomb.npz"
    zeros = bytes(2**20)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("train_x.npy", "w", force_zip64=True) as stream,
    ):
        stream.write(member(shape=(150 * 2**20, 1), descr="|u1"))
        for _ in range(150):
            stream.write(zeros)
    assert path.stat().st_size < 2**21
    assert "shape is (157286400, 1)" in refused(read_npz, path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_compression_is_refused(compression, tmp_path):
    assert "compression is of kind" in refused(read_npz, write_archive(tmp_path, compression))


def test_a_key_is_named_with_the_nearest_and_stands_there_once(tmp_path):
    path = write_archive(tmp_path, train_X=member(IMAGES))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("test_y.npy", member(LABELS))
    assert "test_y: stands in the archive 2 times" in refused(read_npz, path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_X.npy", member(IMAGES))
    assert "key train_x is missing, found 'train_X'; did you mean 'train_X'?" in refused(read_npz, path)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "pipe", tmp_path / "loop", tmp_path, "/dev/zero", "a\0b", "x" * 5000):
        with pytest.raises(DataError, match=r"allowed: an \.npz archive"):
            load_dataset("npz", path=path)


# --- HDF5 -------------------------------------------------------------------------------------------------------------


def write_course(folder, part="train", change=lambda file, key: None):
    with h5py.File(folder / f"{part}_toy.h5", "w") as file:
        file[f"{part}_set_x"], file[f"{part}_set_y"], file["list_classes"] = IMAGES, LABELS, [b"none", b"one", b"two"]
        change(file, f"{part}_set_x")
    return folder


def replaced(**declared):
    def change(file, key):
        del file[key]
        file.create_dataset(key, **declared)

    return change


def linked(make):
    def change(file, key):
        del file[key]
        file[key] = make()

    return change


def virtual(file, key):
    del file[key]
    layout = h5py.VirtualLayout((6, 4, 4, 3), np.uint8)
    layout[:] = h5py.VirtualSource("other.h5", "x", (6, 4, 4, 3))
    file.create_virtual_dataset(key, layout)


def dense_names(dtype, data):
    def change(file, key):
        del file["list_classes"]
        file.create_dataset("list_classes", data=data, dtype=dtype)

    return change


HOSTILE = {
    "too many values": (replaced(shape=(HUGE, 4, 4, 3), dtype="u1", chunks=(1, 4, 4, 3)), "52776558133248 values"),
    "a bomb": (replaced(shape=(2**20, 16, 16, 3), dtype="u1", compression="gzip", fillvalue=0), "values; allowed"),
    "a large chunk": (
        replaced(shape=(6, 4, 4, 3), maxshape=(None, 4, 4, 3), dtype="f8", chunks=(2**22, 4, 4, 3)), "a chunk: shape",
    ),
    "values elsewhere": (
        replaced(shape=(6, 4, 4, 3), dtype="u1", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)]),
        "train_set_x: values lie in other files",
    ),
    "a virtual data set": (virtual, "train_set_x: values lie in other files"),
    "an external link": (linked(lambda: h5py.ExternalLink("test_toy.h5", "test_set_x")), "is a link to elsewhere"),
    "a dangling link": (linked(lambda: h5py.ExternalLink("/dev/zero", "x")), "is a link to elsewhere"),
    "a soft link": (linked(lambda: h5py.SoftLink("/list_classes")), "is a link to elsewhere"),
    "nothing": (linked(lambda: h5py.Empty("f8")), "shape is none at all"),
    "complex numbers": (replaced(shape=(6, 4, 4, 3), dtype="c16"), "values have type complex128"),
    "lists of numbers": (replaced(shape=(6,), dtype=h5py.vlen_dtype(np.float64)), "values have type object"),
    "references": (replaced(shape=(3,), dtype=h5py.ref_dtype), "object"),
    "names of numbers": (dense_names("f8", [1.0, 2.0, 3.0]), "names have type float64"),
    "a long name": (dense_names(h5py.string_dtype(), ["x" * 2000, "b", "c"]), "a name has 2000 characters"),
    "names that are long": (dense_names("S2000", [b"x" * 2000] * 3), "2000"),
    "numbers that are too large": (replaced(data=np.full((6, 4, 4, 3), 1e30)), "allowed: -1e+18 to 1e+18"),
}  # fmt: skip


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_hostile_course_file_is_refused_before_its_values_are_read(fault, tmp_path):
    change, message = HOSTILE[fault]
    write_course(tmp_path, "test")
    write_course(tmp_path, "train", change)
    found = refused(read_course_hdf5, tmp_path, "toy")
    assert message in found
    assert "train_toy.h5" in found


@pytest.mark.slow
def test_a_file_on_which_the_library_goes_round_in_a_circle_is_refused(tmp_path, monkeypatch):
    """Found by fuzzing, with HDF5 1.14.6: the length of the last text of a heap reaches into what is free of it."""
    monkeypatch.setattr(hdf5, "SECONDS", 10.0)
    for part in ("train", "test"):
        write_course(tmp_path, part)
    path = tmp_path / "train_toy.h5"
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 72] = 150
    path.write_bytes(content)
    try:
        found = read_course_hdf5(tmp_path, "toy")
    except DataError as error:
        found = str(error)
    if h5py.version.hdf5_version == "1.14.6":
        assert found == f"{path}: reading it does not end in 10 s; allowed: a complete HDF5 file"
    else:  # another version may see what is wrong, or not mind
        assert isinstance(found, RawData) or str(path) in found


def test_a_file_that_ends_the_process_which_reads_it_is_refused(tmp_path, monkeypatch):
    for part in ("train", "test"):
        write_course(tmp_path, part)
    ended = subprocess.CompletedProcess([], -signal.SIGSEGV)
    monkeypatch.setattr(hdf5.subprocess, "run", lambda *arguments, **options: ended)
    assert "reading it ends a process by signal 11" in refused(read_course_hdf5, tmp_path, "toy")


def test_a_missing_key_is_named_with_the_nearest(tmp_path):
    write_course(tmp_path, "test")
    write_course(tmp_path, "train", lambda file, key: file.move(key, "train_sex_x"))
    assert "did you mean 'train_sex_x' or 'train_set_y'?" in refused(read_course_hdf5, tmp_path, "toy")


# --- images -----------------------------------------------------------------------------------------------------------


def png(width, height, rows=b"", kind=2):
    """A PNG that declares a size."""

    def chunk(name, content):
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.fixture
def image_folder(tmp_path):
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            Image.new("RGB", (8, 6), (9, 8, 7)).save(tmp_path / part / name / "0.png")
            Image.new("RGB", (8, 6), (9, 8, 7)).save(tmp_path / part / name / "1.jpg")
    return tmp_path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(9000, 9000), "has 9000 x 9000 pixels; allowed: at most 67,108,864 of them"),
        (png(100_000, 100_000), "cannot be read: DecompressionBombError"),
        (png(2**31 - 1, 2**31 - 1), "cannot be read: DecompressionBombError"),
        (png(8, 6), "cannot be read"),
        (png(8, 6, bytes(20)), "cannot be read"),
        (png(0, 6), "cannot be read"),
    ],
    ids=range(6),
)
def test_an_image_is_refused_by_the_size_that_it_declares(content, message, image_folder):
    path = image_folder / "train" / "cat" / "0.png"
    path.write_bytes(content)
    found = refused(read_image_folder, image_folder)
    assert message in found
    assert str(path) in found


def test_a_pipe_among_the_images_is_not_waited_for(image_folder):
    os.mkfifo(image_folder / "train" / "cat" / "2.png")
    assert "2.png: is no file" in refused(read_image_folder, image_folder)
