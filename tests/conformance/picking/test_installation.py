"""The size of an installation: of everything that is required, directly or not, and of nothing else."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest

from conformance.picking import installation
from conformance.picking.installation import installed_bytes, needed

REQUIRES = {
    "framework-conformance": ["numpy<3,>=2.0.2", "torch<3; extra == 'torch'", "jax; extra == 'jax'"],
    "numpy": [],
    "torch": ["Typing_Extensions>=4", "sympy[fast]>=1.13 ; python_version > '3'", "mkl; extra == 'mkl'"],
    "typing-extensions": None,
    "sympy": ["gmpy2; extra == 'fast'", "pytest; extra == 'dev'", "torch"],
    "gmpy2": ["absent"],
    "jax": [], "mkl": [], "pytest": [],
}  # fmt: skip


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Distributions of one file each, of as many bytes as its name has letters."""

    def find(name):
        if name not in REQUIRES:
            raise PackageNotFoundError(name)
        file = tmp_path / name
        file.write_text(name)
        gone = SimpleNamespace(locate=lambda: tmp_path / "gone")
        return SimpleNamespace(requires=REQUIRES[name], files=[SimpleNamespace(locate=lambda: file), gone])

    monkeypatch.setattr(installation, "distribution", find)
    return find


def test_what_is_required_is_followed_with_the_extras_that_are_asked_for(installed):
    found = needed(installed("framework-conformance"), {"torch"})
    assert set(found) == {"numpy", "torch", "typing-extensions", "sympy", "gmpy2"}
    assert installed_bytes("torch") == sum(map(len, found))
    assert installed_bytes("numpy") == len("numpy")


def test_without_a_record_of_files_the_size_is_not_known(installed, monkeypatch):
    without = lambda name: SimpleNamespace(requires=installed(name).requires, files=None)  # noqa: E731
    monkeypatch.setattr(installation, "distribution", without)
    assert installed_bytes("numpy") is None

    def find(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installation, "distribution", find)
    assert installed_bytes("numpy") is None


def test_numpy_is_as_large_as_its_files():
    import numpy as np

    there = sum(path.stat().st_size for path in Path(np.__file__).parent.rglob("*") if path.suffix in (".py", ".so"))
    assert installed_bytes("numpy") >= 0.9 * there
