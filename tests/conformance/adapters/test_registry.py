"""How implementations are found: what is said where one of them cannot be imported."""

import subprocess
import sys
from types import ModuleType

import pytest

from conformance.adapters import registry


def refused(target):
    with pytest.raises(ValueError, match="cannot be loaded") as error:
        registry.load(target)
    return str(error.value)


def test_a_framework_that_is_not_installed_is_told_with_how_it_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "conformance.adapters.torch", raising=False)
    assert refused("conformance.adapters.torch:TorchAdapter").endswith("(pip install '.[torch]')")


def test_what_hides_a_framework_is_named(monkeypatch):
    hiding = ModuleType("torch")
    hiding.__file__ = "/mine/torch.py"

    def fails(module):
        raise ModuleNotFoundError("No module named 'torch.nn'; 'torch' is not a package", name="torch.nn")

    monkeypatch.setitem(sys.modules, "torch", hiding)
    monkeypatch.setattr(registry.importlib, "import_module", fails)
    assert refused("conformance.adapters.torch:TorchAdapter").endswith(
        "(/mine/torch.py hides it: must have another name)"
    )


@pytest.mark.slow
def test_a_file_that_hides_a_framework_is_named(tmp_path):
    (tmp_path / "jax.py").write_text("", encoding="utf-8")
    loading = "from conformance.adapters.registry import load; load('conformance.adapters.jax:JaxAdapter')"
    ended = subprocess.run([sys.executable, "-c", loading], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "cannot be loaded: " in ended.stderr
    assert ended.stderr.endswith(f"({tmp_path / 'jax.py'} hides it: must have another name)\n")


def test_what_a_module_lacks_is_not_to_be_installed():
    assert refused("numpy:nothing") == (
        "implementation 'numpy:nothing' cannot be loaded: module 'numpy' has no attribute 'nothing'"
    )
