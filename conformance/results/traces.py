"""Files of tensors in a run's folder: the cases, and what was seen where a check did not pass."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from conformance.problems.tensors import Tensors

ORDER = "order of the tensors"  # in the metadata of a file of tensors, whose format keeps none

T = TypeVar("T")


class StoreError(ValueError):
    """A folder that does not hold a run, or whose run cannot be read; the message names the file."""


class Traces:
    """Named tensors in ``FOLDER/traces/NAME.safetensors``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save_tensors(self, name: str, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> None:
        """Write named arrays; the file appears whole or not at all. Raises OSError."""
        target = self.trace(name)
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        arrays = {key: np.asarray(value, order="C") for key, value in tensors.items()}
        try:
            save_file(arrays, part, {**(metadata or {}), ORDER: json.dumps(list(arrays))})
            part.replace(target)
        except SafetensorError as error:
            raise OSError(f"{target}: cannot be written: {error}") from error
        finally:
            part.unlink(missing_ok=True)

    def load_tensors(self, name: str) -> Tensors:
        """Read what :meth:`save_tensors` wrote, in its order. Raises StoreError if it is missing or damaged."""
        tensors = self._read(name, lambda file: {key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
        try:
            return {key: tensors[key] for key in json.loads(self.load_metadata(name)[ORDER])}
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{self.trace(name)}: cannot be read: {error!r}") from error

    def load_metadata(self, name: str) -> dict[str, str]:
        """The metadata written with the tensors of ``name``. Raises StoreError as :meth:`load_tensors`."""
        return self._read(name, lambda file: dict(file.metadata() or {}))

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

    def _read(self, name: str, read: Callable[[Any], T]) -> T:
        if not self.has_tensors(name):
            raise StoreError(f"{self.trace(name)}: is missing")
        try:
            with safe_open(self.trace(name), framework="numpy") as file:
                return read(file)
        except (SafetensorError, OSError, ValueError) as error:
            raise StoreError(f"{self.trace(name)}: cannot be read: {error}") from error
