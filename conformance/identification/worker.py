"""The process in which a target lives: it loads it, says of what kind it is, and answers what it is asked.

Started by ``conformance/identification/process.py`` as ``python -m conformance.identification.worker KIND NAME TARGET
SCRATCH``. Arrays go through files in the scratch folder, as NumPy writes them, without pickles.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from conformance.identification import asking
from conformance.identification.frameworks import Refused
from conformance.identification.kinds import subject
from conformance.identification.target import KINDS, parse
from conformance.runs.messages import MessageStream

REQUEST, ANSWER = "request.npz", "answer.npz"


class Stream(MessageStream):
    """What the worker of a target says beside what every worker says."""

    def described(self, **facts: Any) -> None:
        """The target is loaded: of what kind it is, and what it says of itself."""
        self._send(kind="described", **facts)

    def answered(self) -> None:
        """The answer lies in the scratch folder."""
        self._send(kind="answered")

    def declined(self, text: str) -> None:
        """The target does not take what it was given."""
        self._send(kind="declined", text=text)


def work(kind: str, target: str, scratch: Path) -> None:
    """Load the target and answer requests until there are no more. A request may turn to another target."""
    stream = Stream()
    os.environ.setdefault("JAX_ENABLE_X64", "1")  # read when JAX is imported, with the target
    sys.path.append(str(scratch))
    asked = _loaded(stream, target, kind)
    for request in stream.requests():
        if "target" in request:
            asked = _loaded(stream, request["target"], request["kind"])
        elif asked is not None:
            _answer(stream, asked, request["ask"], scratch)


def _loaded(stream: Stream, target: str, kind: str) -> asking.Asked | None:
    try:
        asked = asking.Asked(subject(parse(target), kind if kind in KINDS else None))
    except ValueError as error:
        stream.lost(str(error))
        return None
    stream.described(target_kind=asked.subject.kind, **asked.facts())
    return asked


def _answer(stream: Stream, asked: asking.Asked, ask: str, scratch: Path) -> None:
    with np.load(scratch / REQUEST, allow_pickle=False) as held:
        arrays = {name: held[name] for name in held.files}
    try:
        found = asked.answer(ask, arrays)
    except Exception as error:  # whatever somebody's code raises
        stream.declined(str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}")
        return
    np.savez(scratch / ANSWER, **found)  # type: ignore[arg-type]
    stream.answered()


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[3], Path(sys.argv[4]))
    os._exit(0)  # frameworks take up to a second to tear themselves down, and nothing is left to lose
