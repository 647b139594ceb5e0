"""A folder in which runs are made by the command, with implementations that misbehave."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

import conformance

RECIPE = """
name = "{name}"
batch_size = 16
seed = {seed}
loss = "binary_cross_entropy"
dataset = {{name = "xor", examples = 40, test_examples = 10}}
model = {{name = "shallow_network", hidden_units = [3], activation = "tanh"}}
optimizer = {{name = "adam", learning_rate = 0.01}}
"""


class Place:
    """A folder with two recipes and implementations that misbehave."""

    def __init__(self, folder: Path, plugin: str) -> None:
        self.folder = folder
        (folder / "tmp").mkdir(parents=True)
        for seed in (1, 2):
            (folder / f"s{seed}.toml").write_text(RECIPE.format(name=f"s{seed}", seed=seed), encoding="utf-8")
        (folder / "plug.py").write_text(plugin, encoding="utf-8")
        path = os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])
        self.environment = os.environ | {"PYTHONPATH": path, "TMPDIR": str(self.folder / "tmp")}

    def start(self, *arguments):
        command = [sys.executable, "-m", "conformance", *map(str, arguments)]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *arguments):
        """Exit status, standard output and error of a command."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=240)
        assert "Traceback" not in err
        return process.returncode, out, err

    def begin(self, implementations, *more, recipes=("s1", "s2"), output="out"):
        """The arguments of a run in float64, whose failures are not explained."""
        chosen = [word for name in recipes for word in ("--recipe", f"{name}.toml")]
        common = ["--dtype", "float64", "--output", output, "--fresh", "--no-explain"]
        return ["run", *chosen, "--implementation", implementations, *common, *more]

    def await_the_hanging_one(self, process):
        until = time.monotonic() + 200
        while not (self.folder / "hanging").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.1)

    def left_behind(self):
        """Processes that still work in this folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(self.folder):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def await_the_end(self):
        """Of all processes, whose report is written when nobody is left."""
        until = time.monotonic() + 60
        while self.left_behind():
            assert time.monotonic() < until, self.left_behind()
            time.sleep(0.1)

    def records(self, output="out"):
        return pd.read_csv(self.folder / output / "records.csv", keep_default_na=False, na_values=["nan", ""])

    def load(self, output="out"):
        return conformance.load_run(self.folder / output)

    def summary(self, output="out"):
        return (self.folder / output / "summary.md").read_text(encoding="utf-8")


@pytest.fixture
def place(tmp_path, request):
    """A folder, with the implementations that the test's module has as ``PLUGIN``."""
    made = Place(tmp_path / "place", request.module.PLUGIN)
    yield made
    for process in made.left_behind():
        process.kill()


@pytest.fixture(scope="session")
def place_at():
    """Makes such a folder, of a path and the text of the implementations."""
    return Place
