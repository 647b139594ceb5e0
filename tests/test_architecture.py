"""Imports go one way. The rules are stated here once and walked over the source; nothing is executed for them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FRAMEWORKS = {
    "reference_numpy": {"numpy"},
    "impl_torch": {"numpy", "torch"},
    "impl_tf": {"numpy", "tensorflow", "keras"},
    "impl_jax": {"numpy", "jax", "optax"},
}

# A room of the harness imports only from rooms on earlier lines, and from itself; rooms on one line do not import each
# other.
ROOMS = (
    {"data"},
    {"recipes"},
    {"problems"},
    {"adapters"},
    {"wrappers"},
    {"checks"},
    {"faults"},
    {"verdicts"},
    {"results"},
    {"reports", "diagnosis"},
    {"exchange"},
    {"parallel", "converting"},
    {"runs", "vectors"},
    {"audit", "ejecting", "equivalence", "identification", "picking", "testing"},
    {"translation"},
    {"atlas"},
    {"cli"},
)

# The files beside the rooms, and the room that each belongs to.
FRONT_DOORS = {"adapter.py": "adapters", "api.py": "cli", "__main__.py": "cli"}
# What goes with a package's optimizers, which can be copied out with it.
WITH_OPTIMIZERS = ("._common.", ".arithmetic.")

ADAPTERS = {
    "numpy": {"numpy", "reference_numpy"},
    "torch": {"numpy", "torch", "impl_torch"},
    "tf": {"numpy", "tensorflow", "keras", "impl_tf"},
    "jax": {"numpy", "jax", "optax", "impl_jax"},
}
# Files of wrappers, ``torch.py`` or ``torch_hooks.py``, beside what all of them share.
WRAPPERS = {
    "torch": {"numpy", "torch", "impl_torch"},
    "keras": {"numpy", "tensorflow", "keras", "reference_numpy"},
    "jax": {"numpy", "jax", "optax", "reference_numpy"},
}


def imports(path):
    """Absolute names of everything a file imports, at any depth of indentation; relative ones start with a dot."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            separator = "" if module.endswith(".") else "."
            yield from (f"{module}{separator}{alias.name}" for alias in node.names)


def violations(root):
    """Every import that runs the wrong way, as ``file imports name``."""
    found = []
    for package, allowed in FRAMEWORKS.items():
        for path in sorted((root / package).glob("**/*.py")):
            for name in imports(path):
                top = name.split(".")[0]
                if name.startswith("."):
                    alone = path.name in ("optimizers.py", "_common.py", "arithmetic.py")
                    wrong = name.startswith("..") or (alone and not name.startswith(WITH_OPTIMIZERS))
                else:
                    wrong = top not in allowed | {package} | sys.stdlib_module_names
                if wrong:
                    found.append(f"{package}/{path.name} imports {name}")
    for path in sorted((root / "conformance").glob("**/*.py")):
        found += harness_violations(path.relative_to(root / "conformance"), set(imports(path)))
    return found


def harness_violations(path, names):
    room = path.parts[0]
    if room == "__init__.py":  # the public Python API, which loads what is asked for
        return []
    room = FRONT_DOORS.get(room, room)
    own = {
        "adapters": ADAPTERS.get(path.stem, set()),
        "wrappers": WRAPPERS.get(path.stem.split("_")[0], {"reference_numpy"}),
    }
    of_a_framework = ADAPTERS.get(path.stem, set()) if "frameworks" in path.parts else {"reference_numpy"}
    own = own.get(room, of_a_framework)
    foreign = set().union(*FRAMEWORKS.values(), FRAMEWORKS) - {"numpy"} - own
    line = next(number for number, rooms in enumerate(ROOMS) if room in rooms)
    earlier = set().union(*ROOMS[:line], {room})
    wrong = [name for name in names if name.split(".")[0] in foreign]
    inside = [name for name in names if name.startswith("conformance.") and name != "conformance.__version__"]
    wrong += [name for name in inside if name.split(".")[1] not in earlier]
    return [f"conformance/{path} imports {name}" for name in wrong]


def test_every_import_runs_in_the_allowed_direction():
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line", "reported"),
    [
        ("impl_torch/losses.py", "import reference_numpy", "impl_torch/losses.py imports reference_numpy"),
        ("impl_jax/models.py", "import torch", "impl_jax/models.py imports torch"),
        ("impl_tf/optimizers.py", "from . import losses", "impl_tf/optimizers.py imports .losses"),
        ("reference_numpy/models.py", "from conformance import data", "reference_numpy/models.py imports conformance"),
        ("conformance/data/drawn.py", "def f():\n    import torch", "conformance/data/drawn.py imports torch"),
        ("conformance/data/drawn.py", "import conformance.cli", "conformance/data/drawn.py imports conformance.cli"),
        (
            "conformance/reports/summary.py",
            "import conformance.diagnosis.explain",
            "conformance/reports/summary.py imports",
        ),
        ("conformance/adapters/jax.py", "import impl_torch", "conformance/adapters/jax.py imports impl_torch"),
        ("conformance/results/frames.py", "import impl_jax", "conformance/results/frames.py imports impl_jax"),
    ],
)
def test_an_import_in_the_wrong_direction_is_found(tmp_path, file, line, reported):
    """In the file that has it, beside which none of its package is needed."""
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text((ROOT / file).read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    assert any(violation.startswith(reported) for violation in violations(tmp_path))


def private_names(source):
    """Names with an underscore that a file of the harness takes from the reference, by import or by attribute."""
    tree = ast.parse(source)
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    taken = [(node.module, a.asname or a.name) for node in froms for a in node.names if node.module[:9] == "reference"]
    modules = {name for _, name in taken}
    used = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    attributes = [(node.value.id, node.attr) for node in used if node.value.id in modules]
    return [f"{module}.{name}" for module, name in taken + attributes if name.startswith("_")]


def test_the_harness_knows_the_public_names_of_the_reference_alone():
    paths = sorted((ROOT / "conformance").glob("**/*.py"))
    found = {str(path.relative_to(ROOT)): private_names(path.read_text(encoding="utf-8")) for path in paths}
    assert {path: names for path, names in found.items() if names} == {}


def test_a_private_name_of_the_reference_is_found():
    source = "from reference_numpy import losses\nfrom reference_numpy.models import _try\nlosses._weighted(1, 2)"
    assert private_names(source) == ["reference_numpy.models._try", "losses._weighted"]


def test_every_module_of_the_harness_has_a_room():
    modules = {path.stem for path in (ROOT / "conformance").glob("*.py")}
    folders = {path.name for path in (ROOT / "conformance").iterdir() if path.is_dir()} - {"__pycache__"}
    assert {f"{module}.py" for module in modules} == {"__init__.py", *FRONT_DOORS}
    assert folders == set().union(*ROOMS)


def dependencies(root):
    """Which modules of the five packages each of them imports, by name."""
    paths = {}
    for top in (*FRAMEWORKS, "conformance"):
        for path in (root / top).glob("**/*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    found = {}
    for module, path in paths.items():
        package = module if path.stem == "__init__" else module.rpartition(".")[0]
        names = {f"{package}{name}" if name.startswith(".") else name for name in imports(path)}
        names |= {name.rpartition(".")[0] for name in names if name not in paths}
        found[module] = (names & paths.keys()) - {module}
    return found


def circle(graph):
    """Modules that import each other in a circle, or nothing."""
    done = set()

    def walk(module, path):
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for other in sorted(graph[module]):
            found = walk(other, [*path, module])
            if found:
                return found
        done.add(module)
        return []

    return next((found for module in graph if (found := walk(module, []))), [])


def test_no_modules_import_each_other_in_a_circle():
    assert circle(dependencies(ROOT)) == []


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_no_module_of_the_harness_is_long():
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "conformance").rglob("*.py")
    }
    assert [path for path, length in lengths.items() if length > 400] == []


@pytest.mark.parametrize("arguments", [["--help"], ["list", "optimizers"], ["list", "implementations"]])
def test_help_and_list_import_no_framework(arguments):
    code = (
        "import sys; from conformance.adapters import probing; from conformance.cli import app\n"
        "probe_all = probing.probe_all\n"
        "probing.probe_all = lambda targets: probe_all({'numpy': targets['numpy']})\n"
        f"try: app({arguments!r})\n"
        "except SystemExit: pass\n"
        "heavy = 'torch tensorflow jax optax keras sklearn pandas matplotlib duckdb jinja2'.split()\n"
        "loaded = set(heavy) & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    "package", [pytest.param(name, marks=pytest.mark.slow) if name == "impl_tf" else name for name in FRAMEWORKS]
)
def test_an_implementation_works_where_no_other_framework_and_nothing_else_of_the_project_is(package):
    files = (
        "activations initializers losses normalization regularizers layers convolution recurrent attention models"
        " optimizers schedules training"
    ).split()
    others = sorted((set(FRAMEWORKS) | {"conformance", "torch", "tensorflow", "jax"}) - FRAMEWORKS[package] - {package})
    code = (
        f"import sys, importlib\nsys.modules.update(dict.fromkeys({others!r}))\n"  # None makes an import fail
        f"for file in {files!r}: importlib.import_module(f'{package}.{{file}}')"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
