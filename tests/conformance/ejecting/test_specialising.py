"""What a program is simplified to: small texts, before and after."""

import ast
from pathlib import Path
from textwrap import dedent

import pytest

from conformance.ejecting.expressions import Folding, is_docstring
from conformance.ejecting.parameters import Parameters
from conformance.ejecting.program import empty_bases
from conformance.ejecting.statements import Pruning
from conformance.ejecting.text import Source
from conformance.ejecting.values import Values
from conformance.ejecting.writing import without_brackets
from conformance.faults.injection import PACKAGES

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("package", PACKAGES.values())
def test_every_statement_of_a_package_defines_a_name_and_so_goes_with_it(package):
    """One that changes what another defined would be left behind."""
    kinds = ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign
    files = sorted((ROOT / package).glob("*.py"))
    bodies = {file.name: ast.parse(file.read_text(encoding="utf-8")).body for file in files}
    others = [
        f"{name}: {ast.unparse(node)}"
        for name, body in bodies.items()
        for node in body
        if not isinstance(node, kinds) and not is_docstring(node)
    ]
    assert files
    assert others == []


def settled(text, given=(), kept=("main",)):
    """A text simplified until nothing changes; ``kept`` functions keep their arguments."""
    text = dedent(text)
    while True:
        values = Values(Source(text), dict(given))
        edits = [*Folding(values, {"TABLE": {"f": "m__f"}}).edits(), *Pruning(values, {"check"}).edits()]
        edits = edits or list(Parameters(values, kept, "skeleton__", {}).edits())
        if not edits:
            return text
        text = values.source.edited(edits)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def main(x):\n    return x if MODE == 'a' else -x\n", "def main(x):\n    return x\n"),
        ("def main(x):\n    if MODE == 'b':\n        x = 1\n    elif MODE == 'a':\n        x = 2\n    return x\n",
         "def main(x):\n    return 2\n"),
        ("def main(x):\n    if x:\n        x = 1\n    elif MODE == 'b':\n        x = 2\n    else:\n        x = 3\n"
         "    return x\n",
         "def main(x):\n    if x:\n        x = 1\n    else:\n        x = 3\n    return x\n"),
        ("def main(x):\n    # why\n    if MODE == 'a':\n        x += 1  # what\n    return x\n",
         "def main(x):\n    x += 1  # what\n    return x\n"),
        ("def main(x):\n    check('x', x)\n    return x\n", "def main(x):\n    return x\n"),
        ("def main(x):\n    (a, b), c = g(x)\n    return a\n", "def main(x):\n    (a, _b), _c = g(x)\n    return a\n"),
        ("def main(x):\n    return TABLE['f'](x)\n", "def main(x):\n    return m__f(x)\n"),
        ("def main(x):\n    return g(x, **{'a': 1, 'b': x})\n", "def main(x):\n    return g(x, a=1, b=x)\n"),
        ("def main(x):\n    more = {'a': 1}\n    return g(x, **more)\n", "def main(x):\n    return g(x, a=1)\n"),
        ("def main(x):\n    return {'a': x / 2, 'b': x}[MODE]\n", "def main(x):\n    return x / 2\n"),
        ("def main(x):\n    gain = 1.0 if MODE == 'a' else 0.5\n    return gain * x\n", "def main(x):\n    return x\n"),
        ("def f(x, s):\n    x -= s / x.shape[1]\n    return g(x)\ndef main(x):\n    return f(x, 0.0)\n",
         "def f(x):\n    return g(x)\ndef main(x):\n    return f(x)\n"),
        ("def main(x):\n    return g(x, x > 0 if MODE == 'a' else x)\n", "def main(x):\n    return g(x, x > 0)\n"),
        ("def main(x):\n    b = float(0.5)\n    return b * x\n", "def main(x):\n    b = 0.5\n    return b * x\n"),
        ("class C:\n    pass\ndef made(a, f, g):\n    return C(f, g)\ndef main(x):\n    return made(1, x, h)\n",
         "class C:\n    pass\ndef made(f, g):\n    return C(f, g)\ndef main(x):\n    return C(x, h)\n"),
        ("def main(x):\n    for i, a in enumerate(x):\n        g(a)\n",
         "def main(x):\n    for a in x:\n        g(a)\n"),
    ],
)  # fmt: skip
def test_what_is_decided_is_not_asked(before, after):
    assert settled(before, {"MODE": "a"}) == after


def test_an_argument_that_every_call_gives_alike_goes():
    before = """\
        def power(x, *, squared=False):
            return x * x if squared else x
        def main(x):
            return power(x, squared=True) + power(x + 1, squared=True)
        """
    assert settled(before) == "def power(x):\n    return x * x\ndef main(x):\n    return power(x) + power(x + 1)\n"


TABLE = """\
        def m__f(x, mode):
            return x if mode == "a" else -x
        def m__g(x, then):
            if then not in TABLE:
                raise ValueError
            return TABLE[then](x, "a")
        TABLE = {h.__name__: h for h in (m__f, m__g)}
"""


def test_a_function_in_a_table_is_known_by_what_is_taken_from_it():
    found = settled(TABLE + "        def main(x):\n            return m__g(x, 'f')\n")
    assert found.startswith("def m__f(x):\n    return x\ndef m__g(x):\n    return x\n")
    assert found.endswith("def main(x):\n    return x\n")


def test_a_table_of_which_anything_may_be_taken_keeps_its_functions_as_they_are():
    text = dedent(TABLE + "        def main(x, y):\n            return m__g(x, y)\n")
    assert settled(text) == text


def test_an_argument_that_calls_give_otherwise_stays():
    before = "def f(x, n):\n    return x if n else -x\ndef main(x):\n    return f(x, True) + f(x, False)\n"
    assert settled(before) == before


def test_a_condition_on_numbers_is_decided_where_all_of_them_agree():
    before = "def f(x, b):\n    return x**b if b > 0 else 1.0\ndef main(x):\n    return f(x, 0.9) + f(x, 0.99)\n"
    assert settled(before) == "def f(x, b):\n    return x**b\ndef main(x):\n    return f(x, 0.9) + f(x, 0.99)\n"


@pytest.mark.parametrize(
    "text",
    [
        "def main(x):\n    held = []\n    for a in x:\n        held.append(a)\n    return held if held else None\n",
        "def main(x):\n    a = 1\n    for _ in x:\n        a = a + 1\n    return a == 1\n",
        "def main(x):\n    a = True\n    if x:\n        a = False\n    return g(a)\n",
        "def main(x):\n    a = g(x)\n    a += 1\n    return h(a)\n",
        "def main(x):\n    held = {}\n    held[0], b = g(x)\n    return h(held, b)\n",
        "def main(x):\n    return x * 0.0 + x\n",
    ],
)
def test_what_may_change_is_left_alone(text):
    assert settled(text) == text


def test_a_first_answer_that_always_comes_leaves_the_rest_out():
    before = """\
        def weights(y, given):
            if given is None:
                return None
            given = given / given.sum()
            return given
        def main(y):
            w = weights(y, None)
            return y if w is None else y * w
        """
    assert settled(before).endswith("def main(y):\n    return y\n")


def test_brackets_that_make_a_tuple_or_a_call_stay():
    assert without_brackets("a = (b,)\nc = f(b)\nd = (a + b) * c\n") == "a = (b,)\nc = f(b)\nd = (a + b) * c\n"


def test_a_type_under_another_name_may_have_none_in_it():
    text = (
        "m__Weights = tuple | None\n"
        "def f(w: m__Weights):\n    if w is None:\n        return 0\n    return g(w)\n"
        "def main(w: m__Weights):\n    return f(w)\n"
    )
    assert settled(text) == text
    assert "is None" not in settled(text.replace("tuple | None", "tuple"))


def test_an_argument_that_is_given_a_constant_has_no_default_left():
    before = (
        "def f(x, n: int | None = None):\n    if n is not None and x > n:\n        raise ValueError\n    return x\n"
        "def main(x):\n    return f(x, N)\n"
    )
    assert settled(before, {"N": 3}) == (
        "def f(x, n: int):\n    if x > n:\n        raise ValueError\n    return x\ndef main(x):\n    return f(x, N)\n"
    )


def test_a_field_of_a_base_is_given_where_what_is_derived_from_it_is_made():
    before = (
        "@dataclass\nclass Base:\n    bias: bool\n    unused: int\n"
        "    def add(self, x):\n        return x + 1 if self.bias else x\n"
        "@dataclass\nclass Derived(Base):\n    size: int\n"
        "def main(x):\n    return Derived(bias=True, unused=7, size=2).add(x)\n"
    )
    assert "return x + 1\n" in settled(before)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('class A:\n    """With nothing."""\nclass B(A):\n    x: int\nclass C(A, D):\n    y: int\n',
         "class B:\n    x: int\nclass C(D):\n    y: int\n"),
        ('class A(E):\n    """With nothing."""\nclass B(A):\n    x: int\n', "class B(E):\n    x: int\n"),
        ('class A:\n    """With nothing."""\nclass B(A):\n    x: A\n', None),
        ('class A:\n    """With nothing."""\n    x: int\nclass B(A):\n    y: int\n', None),
        ('class A:\n    """With nothing."""\n', None),
    ],
)  # fmt: skip
def test_a_base_that_has_nothing_is_left_out(before, after):
    source = Source(before)
    assert source.edited(empty_bases(source)) == (before if after is None else after)
