"""An interrupted atlas: its processes end at once, and say nothing."""

import multiprocessing
import signal

import pytest

from conformance.atlas import making
from conformance.atlas.survey import FRAMEWORKS


class Process:
    """A process of the pool."""

    def __init__(self):
        self.ended = False

    def terminate(self):
        self.ended = True


class Pool:
    """A pool of processes whose first answer is an interrupt."""

    def __init__(self, *arguments, initializer, initargs):
        assert (initializer, initargs) == (signal.signal, (signal.SIGINT, signal.SIG_DFL))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def submit(self, *work):
        return self

    def result(self):
        raise KeyboardInterrupt


def test_at_an_interrupt_nobody_is_waited_for(monkeypatch):
    processes = [Process(), Process()]
    monkeypatch.setattr(making, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(multiprocessing, "active_children", lambda: processes)
    with pytest.raises(KeyboardInterrupt):
        making.make(FRAMEWORKS, ["schedule"], progress=print)
    assert all(process.ended for process in processes)
