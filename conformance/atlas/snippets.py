"""The snippets that show known faults, run in a process of the environment that is asked.

``python -m conformance.atlas.snippets ANSWER < snippets``: a JSON list of codes there, of what came of each here.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any


def run(code: str) -> dict[str, Any]:
    """``shown`` and ``seen`` of a snippet; ``shown`` is None where it could not be run, and ``seen`` says why."""
    names: dict[str, Any] = {}
    try:
        exec(compile(code, "snippet", "exec"), names)
        return {"shown": bool(names["shown"]), "seen": str(names["seen"])}
    except Exception as error:  # whatever a version that the snippet does not know raises
        return {"shown": None, "seen": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    found = [run(code) for code in json.load(sys.stdin)]
    Path(sys.argv[1]).write_text(json.dumps(found), encoding="utf-8")
    os._exit(0)  # as the worker of a target ends
