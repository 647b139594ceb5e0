"""The tables of known faults: what a row becomes, and what is said of one that is wrong."""

import time
import timeit

import pytest

from conformance.faults.injection import PACKAGES, Edit, edited, places
from conformance.faults.mutant import Mutant
from conformance.faults.mutants import MUTANTS
from conformance.faults.tables import LIBRARY, FaultError, load, read

TABLE = """
of = ["momentum"]

[at]
numpy = "optimizers.py: momentum"
torch = "optimizers.py: Momentum.update"
tf = "optimizers.py: momentum"

[settings.longer]
epochs = 4

[[fault]]
name = "momentum: a fault"
checks = ["update", "free_running"]
recipe = { optimizer = "momentum", schedule = "exponential" }
settings = "longer"
dtypes = ["float32"]
numpy = [["a", "b"], ["optimizers.py: CHUNK", "c", "d"]]
alike = ["tf"]
torch = [["e", "f"]]

[[fault]]
name = "every optimizer: a fault"
at = "training.py: fit"
of = []
checks = ["free_running"]
recipe = {}
settings = { seed = 3 }
consistent = true
numpy = [["a", "b"]]
"""

ROW = """
[[fault]]
name = "momentum: a fault"
at = "optimizers.py: momentum"
checks = ["update"]
recipe = { optimizer = "momentum" }
numpy = [["a", "b"]]
"""

SOURCE = '''"""A module."""
import functools

LIMITS = {"low": 1,
          "high": 2}


@functools.cache
def double(x):
    return 2 * x


class Doubler:
    factor: int = 2

    def double(self, x):
        return 2 * x
'''


def test_a_row_has_the_places_of_its_table_and_its_settings_by_name():
    one, other = read(TABLE, "momentum.toml")
    at = "optimizers.py: momentum"
    changes = Edit(at, "a", "b"), Edit("optimizers.py: CHUNK", "c", "d")
    assert one == Mutant(
        "momentum: a fault", changes, {"optimizer": "momentum", "schedule": "exponential"}, ("update", "free_running"),
        ("momentum",), ("float32",), {"epochs": 4},
        {"tf": changes, "torch": (Edit("optimizers.py: Momentum.update", "e", "f"),)},
    )  # fmt: skip
    assert other == Mutant(
        "every optimizer: a fault", (Edit("training.py: fit", "a", "b"),), {}, ("free_running",), settings={"seed": 3},
        consistent=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"update"', '"updates"', "check 'updates' is not known: must be one of initialization, forward"),
        ("{ optimizer =", "{ optimiser =", "factor 'optimiser' is not known: must be one of model, optimizer"),
        ('= "momentum" }', '= "moment" }', "value of optimizer 'moment' is not known: must be one of gradient descent"),
        ("checks =", "check =", "field 'check' is not known: must be one of name, at"),
        ('checks = ["update"]\n', "", "checks is missing: must be there"),
        ("numpy = [", "torch = [", "numpy is missing: must be there"),
        ('[["a", "b"]]', '[["a"]]', r"numpy has \['a'\]: must be \[old, new\] or \[at, old, new\]"),
        ('[["a", "b"]]', '["ab", "b"]', r"numpy has 'ab': must be \[old, new\] or"),
        ('at = "optimizers.py: momentum"\n', "", "at says nothing of numpy: must name the place of 'a'"),
        ("optimizers.py: momentum", "optimizers.py", "at='optimizers.py' is not allowed: must be 'file.py: function'"),
        ("momentum: a fault", "momentum: a|b", r"name='momentum: a\|b' is not allowed: must not hold '\|'"),
        ("numpy = [", 'settings = "longer"\nnumpy = [', "settings 'longer' is not known: must be one of "),
        ("numpy = [", 'dtypes = ["float16"]\nnumpy = [', "dtype 'float16' is not known: must be one of float64"),
        ("numpy = [", 'alike = ["numpy"]\nnumpy = [', "implementation 'numpy' is not known: must be one of torch, tf"),
    ],
)  # fmt: skip
def test_a_row_that_is_wrong_is_an_error_that_names_table_row_and_field(old, new, message):
    assert old in ROW
    with pytest.raises(FaultError, match=rf"momentum\.toml: .*{message}"):
        list(read(ROW.replace(old, new), "momentum.toml"))


def test_a_row_without_a_name_goes_by_its_number():
    with pytest.raises(FaultError, match=r"momentum\.toml: fault 2: name is missing"):
        list(read(ROW + ROW.replace("name =", "nome =").replace("nome = ", "# "), "momentum.toml"))


def test_a_name_that_is_there_twice_is_an_error(tmp_path):
    for table in ("a.toml", "b.toml"):
        (tmp_path / table).write_text(ROW, encoding="utf-8")
    with pytest.raises(FaultError, match=r"b\.toml: name='momentum: a fault' is there already"):
        load(tmp_path)


def test_the_tables_are_read_in_the_order_of_their_names(tmp_path):
    for table in ("b", "a"):
        (tmp_path / f"{table}.toml").write_text(ROW.replace("a fault", table), encoding="utf-8")
    (tmp_path / "README.md").write_text("no table", encoding="utf-8")
    assert [mutant.name for mutant in load(tmp_path)] == ["momentum: a", "momentum: b"]


def test_every_row_of_the_library_is_a_mutant():
    rows = sum(table.read_text(encoding="utf-8").count("[[fault]]") for table in LIBRARY.iterdir())
    assert len(MUTANTS) == rows


def test_the_library_is_loaded_in_a_fifth_of_a_second():
    assert min(timeit.repeat(load, timer=time.process_time, number=1, repeat=5)) < 0.2


def test_a_place_is_a_function_a_class_a_method_or_an_assigned_name():
    found = places(SOURCE)
    assert list(found) == ["LIMITS", "double", "Doubler", "Doubler.factor", "Doubler.double"]
    assert SOURCE[slice(*found["LIMITS"])] == 'LIMITS = {"low": 1,\n          "high": 2}\n'
    assert SOURCE[slice(*found["double"])] == "@functools.cache\ndef double(x):\n    return 2 * x\n"
    assert SOURCE[slice(*found["Doubler.double"])] == "    def double(self, x):\n        return 2 * x\n"


def test_an_edit_is_made_at_its_place_alone():
    changed = edited(SOURCE, [Edit("m.py: Doubler.double", "2 * x", "3 * x"), Edit("m.py: LIMITS", "2", "4")])
    assert changed == SOURCE.replace('"high": 2', '"high": 4').replace("        return 2 * x", "        return 3 * x")


def test_the_same_edit_twice_is_made_once():
    change = Edit("m.py: double", "2 * x", "3 * x")
    assert edited(SOURCE, [change, change]) == edited(SOURCE, [change])


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([Edit("m.py: double", "3 * x", "")], r"pack/m.py: double has '3 \* x' 0 times: must be once"),
        ([Edit("m.py", "2 * x", "")], r"pack/m.py has '2 \* x' 2 times: must be once"),
        ([Edit("m.py: triple", "2 * x", "")], "pack/m.py has no 'triple': must be a function, Class.method or name"),
        (
            [Edit("m.py: double", "2 * x", "3 * x"), Edit("m.py: double", "return 2", "return 4")],
            r"pack/m.py: double has two edits of one text: of 'return 2' and of '2 \* x'",
        ),
    ],
)
def test_an_edit_that_does_not_fit_is_an_error_that_names_file_and_function(edits, message):
    with pytest.raises(ValueError, match=message):
        edited(SOURCE, edits, "pack")


@pytest.mark.parametrize("implementation", PACKAGES)
def test_an_edit_of_the_library_names_the_function_in_which_it_stands(implementation):
    for mutant in MUTANTS:
        for edit in mutant.edits if implementation == "numpy" else mutant.elsewhere.get(implementation, ()):
            assert ".py: " in edit.at, mutant.name
