"""Files of tensors in a run's folder: the cases, and what was seen where a check did not pass."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from conformance.adapters.whole_files import part_of
from conformance.data.wording import one_line
from conformance.problems.tensors import Tensors

ORDER = "order of the tensors"  # in the metadata of a file of tensors, whose format keeps none
LONGEST_ERROR = 300  # characters of what a library says


class StoreError(ValueError):
    """A folder that does not hold a run, or whose run cannot be read; the message names the file."""


def told(error: Exception) -> str:
    """An error that another library raised, in a line: its kind and its message, cut where that is long.

    >>> told(KeyError("format"))
    "KeyError: 'format'"
    """
    return f"{type(error).__name__}: {one_line(str(error), LONGEST_ERROR)}"


class Traces:
    """Named tensors in ``FOLDER/traces/NAME.safetensors``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save_tensors(self, name: str, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> None:
        """Write named arrays; the file appears whole or not at all. Raises OSError."""
        target = self.trace(name)
        part = part_of(target)
        arrays = {key: np.asarray(value, order="C") for key, value in tensors.items()}
        try:
            save_file(arrays, part, {**(metadata or {}), ORDER: json.dumps(list(arrays))})
            part.replace(target)
        except SafetensorError as error:
            raise OSError(f"{target}: cannot be written: {error}") from error
        finally:
            part.unlink(missing_ok=True)

    def load(self, name: str) -> tuple[Tensors, dict[str, str]]:
        """What :meth:`save_tensors` wrote, in its order, and its metadata. Raises StoreError if missing or damaged."""
        if not self.has_tensors(name):
            raise StoreError(f"{self.trace(name)}: is missing")
        try:
            with safe_open(self.trace(name), framework="numpy") as file:
                metadata: dict[str, str] = dict(file.metadata() or {})
                return {key: file.get_tensor(key) for key in json.loads(metadata[ORDER])}, metadata
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{self.trace(name)}: cannot be read: {told(error)}") from error

    def has_tensors(self, name: str) -> bool:
        """Whether anything was saved under ``name``."""
        return self.trace(name).is_file()

    def digest(self, name: str) -> str:
        """Digest of the file of ``name``, by which it is known whether anybody changed it since. Raises StoreError."""
        try:
            with self.trace(name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise StoreError(f"{self.trace(name)}: cannot be read: {error}") from error

    def delete(self, name: str) -> None:
        """Remove the file of ``name``, if there is one."""
        self.trace(name).unlink(missing_ok=True)

    def trace(self, name: str) -> Path:
        """The file of ``name``."""
        return self.folder / "traces" / f"{name}.safetensors"
