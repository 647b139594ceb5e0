"""Steps of a training as CUDA graphs: what a GPU does in one is recorded once, and then played.

A small step takes a GPU as long as its kernels take to be launched, some hundred of them, one by one from Python. A
graph launches all at once: the same kernels, with the same numbers, on the same places in memory. So what is recorded

* reads its batch where the recorded one stood; every batch is copied there,
* computes with Python's numbers as they were, so nothing of it may change from step to step but tensors in place,
* must not wait for the device, or take anything from the host's memory.

What is recorded is held to what it was recorded from: :class:`Recorded` makes its first calls without a graph, then two
both ways, and plays only what gave the same values twice. Otherwise all calls are made as if there were no graphs.

This file needs PyTorch only.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

Function = Callable[..., Sequence[Tensor]]

# Calls without a graph: a training of no more gains less by one than it takes to record. The first of them make what
# libraries and optimizers keep, which may not be made while recording.
BY_ITSELF = 100
BOTH_WAYS = 2


class Recorder(ABC):
    """What records the work that a device is given, once, and gives it the same again."""

    @abstractmethod
    def record(self, function: Callable[[], Sequence[Tensor]]) -> Sequence[Tensor]:
        """What ``function`` returns, computed by no more than :meth:`play`. Raises RuntimeError if it waits."""

    @abstractmethod
    def play(self) -> None:
        """Do what was recorded."""

    @abstractmethod
    def refusing_to_wait(self) -> AbstractContextManager[None]:
        """Within this, to wait for the device raises RuntimeError."""


class CudaGraph(Recorder):
    """A ``torch.cuda.CUDAGraph``, on one GPU."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.graph = device, torch.cuda.CUDAGraph()

    def record(self, function: Callable[[], Sequence[Tensor]]) -> Sequence[Tensor]:
        # The outer stream is what torch.cuda.graph leaves behind, if it is left by an error.
        stays = torch.cuda.stream(torch.cuda.current_stream(self.device))
        with torch.cuda.device(self.device), stays, torch.cuda.graph(self.graph):
            return function()

    def play(self) -> None:
        with torch.cuda.device(self.device):
            self.graph.replay()

    @contextmanager
    def refusing_to_wait(self) -> Iterator[None]:
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)


RECORDERS: dict[str, Callable[[torch.device], Recorder]] = {"cuda": CudaGraph}  # by the type of a device


class Recorded:
    """A function of tensors of the same shapes at every call, which is recorded and played where that is the same.

    ``function`` returns tensors; ``changed`` lists those that it changes in place, the same ones at every call.
    ``recording`` is entered to record. What a call returns stays as it is until the next.
    """

    def __init__(
        self,
        function: Function,
        changed: Callable[[], Sequence[Tensor]],
        recorder: Recorder,
        recording: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._function, self._changed, self._recording = function, changed, recording
        self._recorder: Recorder | None = recorder
        self._calls = 0
        self._given: Sequence[Tensor] = ()
        self._returned: Sequence[Tensor] = ()

    @property
    def is_played(self) -> bool:
        """Whether further calls play what was recorded."""
        return self._recorder is not None and self._calls >= BY_ITSELF + BOTH_WAYS

    def __call__(self, *given: Tensor) -> Sequence[Tensor]:
        if self.is_played:
            return self._play(given)
        self._calls += 1
        if self._recorder is None or self._calls <= BY_ITSELF:
            return self._function(*given)
        return self._both_ways(given, self._recorder)

    def _both_ways(self, given: Sequence[Tensor], recorder: Recorder) -> Sequence[Tensor]:
        """The function's own result, after which it is played no more if the graph's is another, or there is none."""
        before: list[Tensor] = []
        try:
            before = _copies(self._changed())
            with recorder.refusing_to_wait():
                expected = _copies(self._function(*given))
            after = _copies(self._changed())
        except RuntimeError:  # it waits, or there is no memory for the copies
            self._recorder = None
            if before:
                _set(self._changed(), before)
            return self._function(*given)
        _set(self._changed(), before)
        try:
            if not self._given:
                self._record(given, recorder)
            same = _same([*self._play(given), *self._changed()], [*expected, *after])
        except RuntimeError:
            same = False
        if not same:
            self._recorder = None
            _set(self._changed(), after)
        return expected

    def _record(self, given: Sequence[Tensor], recorder: Recorder) -> None:
        self._given = [tensor.detach().clone() for tensor in given]
        with self._recording():
            self._returned = recorder.record(lambda: self._function(*self._given))

    def _play(self, given: Sequence[Tensor]) -> Sequence[Tensor]:
        assert self._recorder is not None
        _set(self._given, given)
        self._recorder.play()
        return self._returned


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


@torch.no_grad()
def _set(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


def _same(tensors: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    pairs = zip(tensors, others, strict=True)
    return all(torch.allclose(tensor, other, rtol=0, atol=0, equal_nan=True) for tensor, other in pairs)
