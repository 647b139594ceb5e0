"""What is kept in the user's cache folder: bounded, and never in the way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.adapters.cache import prune

# The values of two small programs, whether they are kept, and how many had to be compiled.
PROGRAM = """
import json, jax, numpy
from conformance.adapters.jax import JaxAdapter
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
kept = JaxAdapter("cpu").settings()["compilation_cache"]
x = numpy.linspace(-1, 1, 50, dtype=numpy.float32)
values = [jax.jit(lambda x: jax.numpy.tanh(x) / 3)(x).tolist(), jax.jit(lambda x: (x * x).sum())(x).tolist()]
print(json.dumps([kept, events.count("/jax/compilation_cache/cache_misses"), values]))
"""


def _run(cache: Path, **variables: str) -> tuple[str, int, list[object]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment = clean | {"XDG_CACHE_HOME": str(cache), "PYTHONWARNINGS": "ignore"} | variables
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    kept, missed, values = json.loads(done.stdout)
    return kept, missed, values


def test_a_compiled_program_is_kept_and_gives_the_same_bits(tmp_path):
    kept, compiled, values = _run(tmp_path)
    assert kept == "on"
    assert os.listdir(tmp_path / "framework-conformance" / "jax")
    assert compiled == 2
    assert _run(tmp_path) == (kept, 0, values)


@pytest.mark.slow
def test_a_damaged_program_is_compiled_again(tmp_path):
    _, _, values = _run(tmp_path)
    for file in (tmp_path / "framework-conformance" / "jax").glob("*-cache"):
        file.write_bytes(file.read_bytes()[:-40])
    assert _run(tmp_path)[2] == values


@pytest.mark.parametrize("without", ["the variable", "a folder"])
def test_nothing_is_kept_without(without, tmp_path):
    cache = tmp_path / "cache"
    variables = {"JAX_ENABLE_COMPILATION_CACHE": "false"} if without == "the variable" else {}
    if without == "a folder":
        cache.write_text("a file stands where the folder would")
    assert _run(cache, **variables)[0] == "off"
    assert not cache.is_dir()


def test_the_oldest_files_go_once_a_folder_holds_too_much(tmp_path):
    for age in range(10):
        (tmp_path / f"{age}").write_bytes(bytes(100))
        os.utime(tmp_path / f"{age}", (1000 - age, 1000 - age))
    assert prune(tmp_path, 1000)
    assert len(list(tmp_path.iterdir())) == 10
    assert prune(tmp_path, 999)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0", "1", "2", "3"]


def test_a_folder_that_is_not_there_is_made(tmp_path):
    assert prune(tmp_path / "new" / "folder", 10)
    assert (tmp_path / "new" / "folder").is_dir()
