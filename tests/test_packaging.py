"""What others install: ranges that were tried, extras that bring what they say, and a wheel that holds everything."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conformance import __main__ as command
from conformance.audit import matrix
from conformance.cli.display import Exit

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("conformance", "reference_numpy", "impl_torch", "impl_tf", "impl_jax")
FRAMEWORKS = {"torch": {"torch"}, "tf": {"tensorflow-cpu", "tensorflow"}, "jax": {"jax", "optax"}}


def extra(name):
    """The requirements of an extra."""
    return [Requirement(text) for text in PROJECT["optional-dependencies"][name]]


def ranges():
    """The range of each package of the base, the frameworks' extras and the harness, by name."""
    requirements = [Requirement(text) for text in PROJECT["dependencies"]]
    requirements += [one for name in (*FRAMEWORKS, "conformance") for one in extra(name)]
    return {one.name: one.specifier for one in requirements}


def constraints():
    """What ``constraints.txt`` pins, by name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {one.name: one for one in requirements}


def tried():
    """The versions of each package in the environments of the matrix."""
    found = {}
    for environment in matrix.environments():
        for text in environment.requirements:
            one = Requirement(text)
            found.setdefault(one.name, []).append(str(one.specifier).removeprefix("=="))
    return found


def release(version):
    """A version as numbers; ``0.8`` and ``0.8.0`` are one."""
    numbers = [int(number) for number in version.split(".")]
    return numbers + [0] * (4 - len(numbers))


def test_an_implementation_alone_needs_numpy_and_its_framework():
    assert [Requirement(text).name for text in PROJECT["dependencies"]] == ["numpy"]
    assert {name: {one.name for one in extra(name)} for name in FRAMEWORKS} == FRAMEWORKS


def test_all_is_every_framework_and_the_harness():
    (everything,) = extra("all")
    assert everything.name == PROJECT["name"]
    assert everything.extras == {*FRAMEWORKS, "conformance", "parquet", "history", "plot", "eject"}


def test_every_range_begins_with_the_oldest_version_of_the_matrix_and_holds_the_newest():
    for name, specifier in ranges().items():
        versions = sorted(tried()[name], key=release)
        (lowest,) = (bound.version for bound in specifier if bound.operator == ">=")
        assert release(lowest) == release(versions[0]), name
        assert specifier.contains(versions[-1]), name


def test_every_environment_of_the_matrix_names_versions_of_all_that_it_tries():
    packages = {"numpy": {"numpy"}} | FRAMEWORKS
    for environment in matrix.environments():
        named = {Requirement(text).name for text in environment.requirements}
        assert set().union(*(packages[name] for name in environment.implementations)) <= named
        assert all(re.search("==[0-9.]+(;|$)", text) for text in environment.requirements)


def test_constraints_pin_every_direct_requirement_within_its_range():
    pinned = constraints()
    further = [one for name in ("parquet", "history", "plot", "dask", "docs", "dev") for one in extra(name)]
    asked = ranges() | {one.name: one.specifier for one in further if one.name != PROJECT["name"]}
    for name, specifier in asked.items():
        (pin,) = pinned[name].specifier
        assert pin.operator == "==", name
        assert specifier.contains(pin.version), name


def test_constraints_are_names_and_versions_only():
    assert constraints()["torch"].specifier == Requirement("torch==2.13.0").specifier
    for one in constraints().values():
        assert one.url is None
        assert re.fullmatch(r"==[0-9.]+", str(one.specifier)), one.name


def test_the_newest_release_of_the_changelog_is_the_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (\d+\.\d+\.\d+) - \d{4}-\d{2}-\d{2}$", text, re.MULTILINE)
    assert versions[0] == PROJECT["version"]


def test_the_command_looks_for_what_the_extra_of_the_harness_brings():
    distributions = packages_distributions()
    looked_for = [canonicalize_name(name) for module in command.NEEDED for name in set(distributions[module])]
    assert looked_for == [one.name for one in extra("conformance")]
    assert command.BAD_INPUT == Exit.BAD_INPUT


@pytest.mark.parametrize("arguments", [["run"], ["list", "optimizers"], []])
def test_without_the_harness_s_packages_the_command_says_in_one_line_how_to_get_them(arguments):
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['pandas', 'pydantic', 'typer']))\n"  # None: not to be found
        "from conformance.__main__ import main\n"
        f"sys.argv[1:] = {arguments!r}; main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stdout == ""
    needs = "the harness needs: pip install '.[conformance]'"
    assert ended.stderr == f"conformance: pandas, pydantic, typer not found; {needs}\n"


def test_the_harness_can_be_imported_without_its_packages():
    code = f"import sys; sys.modules.update(dict.fromkeys({command.NEEDED!r}))\nimport conformance"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("newer", "environment='newer' is not allowed: must be one of 'oldest', 'between'"),
        ("", "environment='' is not"),
    ],
)
def test_an_unknown_environment_of_the_matrix_is_refused(tmp_path, capsys, name, words):
    wheel = tmp_path / "a.whl"
    wheel.touch()
    assert matrix.main([str(wheel), name]) == 2
    assert words in capsys.readouterr().err


def test_without_names_the_matrix_leaves_out_what_is_large():
    assert [one.name for one in matrix.chosen([])] == ["oldest", "between", "newest"]
    assert [one.name for one in matrix.chosen(["torch-newest"])] == ["torch-newest"]


def test_an_environment_that_cannot_be_made_is_a_row_that_says_why(tmp_path):
    environment = matrix.Environment("future", "9.9", ("numpy", "jax"), ("numpy==9",))
    (table,) = matrix.tables([environment], tmp_path / "a.whl", tmp_path)
    assert list(table.columns) == matrix.COLUMNS
    assert list(table["implementation"]) == ["numpy", "jax"]
    assert set(table["verdict"]) == {"not made: no Python 9.9 was found"}


def test_a_command_of_the_matrix_that_fails_is_told_with_its_last_words(tmp_path):
    with pytest.raises(matrix.NotMade, match=r"exit status 1: ValueError: no such thing$"):
        matrix._call([sys.executable, "-c", "raise ValueError('no such thing')"], tmp_path)


def make_wheel(folder):
    """Build the wheel from this source into a folder."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return make_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A new environment with the wheel, which sees this one's other packages behind its own; its ``bin``."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    site = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    install = ["-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet", "--no-deps",
               "--force-reinstall", "--ignore-installed", str(wheel)]  # fmt: skip
    subprocess.run([sys.executable, *install], check=True, capture_output=True, text=True)
    return folder / "bin"


def call(arguments, folder):
    """Run a command where nothing of this source can be imported; its standard output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run([str(one) for one in arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel):
    source = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == source
    assert {f"{package}/py.typed" for package in PACKAGES} <= held
    assert {"conformance/audit/matrix.toml", "conformance/recipes/covering_array.csv"} <= held


@pytest.mark.slow
@pytest.mark.parametrize("start", [["conformance"], ["python", "-m", "conformance"]])
def test_the_installed_command_says_its_version(installed, tmp_path, start):
    said = call([installed / start[0], *start[1:], "--version"], tmp_path)
    assert PROJECT["version"] in said


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_installed_command_runs_the_quick_suite(installed, tmp_path):
    where = call([installed / "python", "-c", "import conformance; print(conformance.__file__)"], tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    run = [installed / "conformance", "run", "--suite", "quick", "--implementation", "numpy", "--output", "made"]
    assert "pass records" in call(run, tmp_path)
    assert (tmp_path / "made" / "summary.md").is_file()
