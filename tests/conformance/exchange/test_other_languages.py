"""The dump helpers of docs/traces.md: the one that is not Python's, and that each framework's is short."""

import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

import conformance
from conformance.cli.app import app
from conformance.exchange.trace import FACTS

PAGE = (Path(__file__).parents[3] / "docs" / "traces.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL))


@pytest.mark.parametrize("name", ["dump_torch.py", "dump_keras.py", "dump_jax.py"])
def test_a_dump_helper_has_less_than_thirty_lines(name):
    assert len(FILES[name].splitlines()) < 30


def test_the_schema_on_the_page_has_the_fields_that_are_read():
    assert set(re.findall(r'^    "(\w+)": \{', PAGE, re.MULTILINE)) == set(FACTS)


def test_a_training_without_python_passes(tmp_path, monkeypatch, node_path):
    for name in ("xor.toml", "train.mjs"):
        (tmp_path / name).write_text(FILES[name])
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["record", "--recipe", "xor.toml", "-o", "xor-tape"]).exit_code == 0
    subprocess.run([node_path, "train.mjs"], check=True, timeout=120)
    ended = CliRunner().invoke(
        app, ["run", "--recipe", "xor.toml", "--implementation", "trace:node.safetensors", "--output", "run", "--quiet"]
    )
    assert ended.exit_code == 0, ended.output
    records = conformance.load_run(tmp_path / "run").records
    passed = records[records.verdict == "pass"]
    assert {"teacher_forced", "free_running"} <= set(passed.check)
    assert {"dW1", "W1", "b1", "cost"} <= set(passed.tensor)
