"""Known faults: ``faults.toml``, and whether the installed versions show them."""

import json
import os
import subprocess
import tempfile
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from conformance.atlas.evidence import Fault
from conformance.data.wording import cut, one_line
from conformance.runs.interpreter import Interpreter

FILE = Path(__file__).with_name("faults.toml")
SECONDS = 300.0  # that all snippets of a framework may take
LONGEST = 160  # characters of what was seen


class Known(NamedTuple):
    """A row of ``faults.toml``."""

    framework: str
    name: str
    told: str
    code: str


@cache
def known() -> tuple[Known, ...]:
    """All rows, in their order.

    >>> known()[0].name
    'fused-adam-with-other-strides'
    """
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return tuple(
        Known(framework, name, row["told"], row["code"].strip())
        for framework, rows in tables.items()
        for name, row in rows.items()
    )


def seen(rows: Sequence[Known], interpreter: Interpreter) -> list[Fault]:
    """Whether some of them, all of one framework, are shown. A process that cannot be had shows none of them."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        answer = Path(folder) / "answer.json"
        command = [interpreter.python, "-m", "conformance.atlas.snippets", str(answer)]
        given, environment = json.dumps([row.code for row in rows]), interpreter.environment(Path(folder))
        try:
            done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=SECONDS,
                                  env=os.environ | dict(environment), check=False)  # fmt: skip
            said = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        except (OSError, subprocess.TimeoutExpired) as error:
            said = [str(error)]
        found = (
            json.loads(answer.read_text(encoding="utf-8"))
            if answer.exists()
            else [{"shown": None, "seen": said[0]} for _ in rows]
        )
    return [
        Fault(row.name, (row.framework,), row.told, row.code, one["shown"], cut(one_line(one["seen"]), LONGEST))
        for row, one in zip(rows, found, strict=True)
    ]
