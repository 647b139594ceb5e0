"""Files of named arrays from anywhere: safetensors, NumPy archives, HDF5. Nothing is unpickled or run.

What a header declares is looked at before anything is read. Whatever is wrong with a file ends in a
:class:`~conformance.data.files.DataError` that names it.
"""

import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from conformance.adapters.whole_files import part_of
from conformance.data.archives import ALLOWED as NPZ
from conformance.data.archives import read_member
from conformance.data.files import DataError, reading
from conformance.data.hdf5 import read_all
from conformance.data.wording import cut, nearest, shown
from conformance.problems.tensors import Array, Tensors

MOST_TENSORS = 200_000
MOST_BYTES = 2**32  # of a file
MOST_TEXT = 2**20  # bytes of a JSON file
KINDS = {
    ".safetensors": "a safetensors file",
    ".npz": NPZ,
    ".h5": "an HDF5 file of arrays, such as Keras's .weights.h5",
    ".hdf5": "an HDF5 file of arrays",
}
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib")
_OF_THE_SYSTEM = re.compile(r"\(os error (\d+)\)")
_DTYPES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "U16": 2, "U32": 4,
           "U64": 8, "BOOL": 1}  # fmt: skip


def read_tensors(path: Path) -> Tensors:
    """The arrays of a file by name, in its order; bfloat16 as float32. Raises DataError.

    Files of a kind that may hold code, PyTorch's ``.pt`` among them, are refused with what to do instead.
    """
    suffix = path.suffix.lower()
    if not os.path.lexists(path):
        raise DataError(f"{path}: found no such file; allowed: {KINDS.get(suffix, ', '.join(KINDS))}")
    if suffix in PICKLES:
        raise DataError(
            f"{path}: files of the kind {suffix} may hold pickled code and are never opened. Save it as safetensors:"
            f" safetensors.torch.save_file(torch.load({path.name!r}, weights_only=True), 'weights.safetensors')"
        )
    if suffix == ".keras":
        raise DataError(f"{path}: is an archive of a whole model; allowed: what model.save_weights writes, .weights.h5")
    if suffix not in KINDS:
        named = f"has the suffix {cut(suffix)!r}" if suffix else "has no suffix"
        raise DataError(f"{path}: {named}; allowed: {', '.join(KINDS)}{nearest(suffix, KINDS)}")
    with reading(str(path), KINDS[suffix]):
        if not path.is_file():
            found = "a folder" if path.is_dir() else "no such file" if not path.exists() else "no regular file"
            raise DataError(f"{path}: found {found}; allowed: {KINDS[suffix]}")
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path}: has {path.stat().st_size:,} bytes; allowed: at most {MOST_BYTES:,}")
        readers = {".safetensors": _safetensors, ".npz": _npz}
        return dict(readers[suffix](path) if suffix in readers else read_all(path).items())


def write_tensors(path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
    """Write named arrays as safetensors; the file appears whole or not at all. Raises OSError."""
    part = part_of(path)
    arrays = {name: np.array(value, order="C") for name, value in tensors.items()}
    try:
        save_file(arrays, part, None if metadata is None else dict(metadata))
        part.replace(path)
    except SafetensorError as error:  # which says of the system's errors no more than their number
        found = _OF_THE_SYSTEM.search(str(error))
        reason = os.strerror(int(found[1])) if found else str(error)
        raise OSError(f"{path}: cannot be written: {reason}") from error
    finally:
        part.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of bounded size. Raises DataError."""
    with reading(str(path), "a JSON object"):
        if path.stat().st_size > MOST_TEXT:
            raise DataError(f"{path}: has {path.stat().st_size:,} bytes; allowed: at most {MOST_TEXT:,}")
        found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds {shown(found)}; allowed: a JSON object")
    return found


def _safetensors(path: Path) -> Iterator[tuple[str, Array]]:
    # The header is looked at by itself: of a BF16 tensor NumPy has no type, and sizes are known before they cost.
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > path.stat().st_size:
            raise DataError(f"{path}: its header declares {length:,} bytes; allowed: a complete safetensors file")
        header = json.loads(stream.read(length))
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    _check_number(path, len(entries))
    with safe_open(path, framework="numpy") as file:  # which checks that all of it is as the header says
        for name, entry in entries.items():
            if entry["dtype"] == "BF16":
                yield name, _bfloat16(path, length + 8, entry)
                continue
            if entry["dtype"] not in _DTYPES:
                raise DataError(
                    f"{path}: {cut(name)}: values have type {entry['dtype']}; allowed: {', '.join(_DTYPES)}"
                )
            yield name, np.asarray(file.get_tensor(name))


def _bfloat16(path: Path, start: int, entry: dict[str, Any]) -> Array:
    """The upper halves of float32 numbers."""
    first, last = entry["data_offsets"]
    halves = np.fromfile(path, "<u2", (last - first) // 2, offset=start + first)
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])


def _npz(path: Path) -> Iterator[tuple[str, Array]]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_number(path, len(members))
        declared = sum(member.file_size for member in members)
        if declared > MOST_BYTES:
            raise DataError(f"{path}: its members declare {declared:,} bytes; allowed: at most {MOST_BYTES:,}")
        seen = set()
        for member in members:
            if member.filename in seen:
                raise DataError(f"{path}: {cut(member.filename)}: stands in the archive twice; allowed: once")
            seen.add(member.filename)
            name = member.filename.removesuffix(".npy")
            yield name, read_member(archive, member, f"{path}: {cut(name)}")


def _check_number(path: Path, count: int) -> None:
    if count > MOST_TENSORS:
        raise DataError(f"{path}: holds {count:,} arrays; allowed: at most {MOST_TENSORS:,}")
