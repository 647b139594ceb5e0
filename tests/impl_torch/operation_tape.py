"""What stands for a CUDA graph on a CPU: a tape of PyTorch's operations.

As a graph it holds Python's numbers as they were and tensors by their place; what is recorded is not done before it is
played; and what would wait for a device, or take numbers from the host's memory, raises RuntimeError.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from impl_torch.graphs import Recorder

ATEN = torch.ops.aten
WAITING = {ATEN._local_scalar_dense.default, ATEN.equal.default, ATEN.nonzero.default, ATEN.lift_fresh.default}


class OperationTape(Recorder):
    """Every tape that was made is in ``made``, with how often it was played."""

    made: ClassVar[list["OperationTape"]] = []

    def __init__(self, device: torch.device) -> None:
        self.operations: list[Any] = []
        self.plays = 0
        self.made.append(self)

    def record(self, function):
        recording = _Recording(self.operations)
        try:
            with recording:
                return function()
        finally:
            recording.undo()

    @torch.no_grad()
    def play(self) -> None:
        self.plays += 1
        for operation, args, kwargs, returned in self.operations:
            for old, new in zip(returned, tree_leaves(operation(*args, **kwargs)), strict=True):
                if torch.is_tensor(old) and place(old) != place(new):
                    old.copy_(new)

    @contextmanager
    def refusing_to_wait(self) -> Iterator[None]:
        with _Refusing():
            yield


class _Refusing(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in WAITING:
            raise RuntimeError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


class _Recording(_Refusing):
    def __init__(self, operations: list[Any]) -> None:
        super().__init__()
        self.operations = operations
        self.own: set[int] = set()
        self.before: dict[int, tuple[Any, Any]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        for given, formal in zip([*args, *kwargs.values()], self._formals(func, args, kwargs), strict=True):
            if formal.alias_info is not None and formal.alias_info.is_write:
                for tensor in filter(torch.is_tensor, tree_leaves(given)):
                    self._keep(tensor.untyped_storage())
        known = {place(tensor) for tensor in filter(torch.is_tensor, tree_leaves((args, kwargs)))}
        returned = super().__torch_dispatch__(func, types, args, kwargs)
        leaves = [leaf.detach() if torch.is_tensor(leaf) else leaf for leaf in tree_leaves(returned)]
        self.own |= {place(leaf) for leaf in leaves if torch.is_tensor(leaf)} - known
        self.operations.append((func, args, kwargs, leaves))
        return returned

    def undo(self) -> None:
        """What stood there before is as it was; nothing has happened yet."""
        for storage, value in self.before.values():
            storage.copy_(value)

    @staticmethod
    def _formals(func, args, kwargs):
        formals = func._schema.arguments
        return [*formals[: len(args)], *(next(f for f in formals if f.name == name) for name in kwargs)]

    def _keep(self, storage) -> None:
        if storage.data_ptr() not in self.own and storage.data_ptr() not in self.before:
            self.before[storage.data_ptr()] = storage, storage.clone()


def place(tensor: torch.Tensor) -> int:
    """Where the numbers of a tensor, or of what it is a view of, are in memory."""
    return tensor.untyped_storage().data_ptr()
