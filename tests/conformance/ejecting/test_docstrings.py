"""What is left of a docstring when arguments are gone."""

from conformance.ejecting.docstrings import shortened

BEFORE = '''def f(x, *, kind="a", scale=1.0):
    """``f = scale x``, or another formulation.

    ``kind="b"`` adds one. It is rarely meant. ``scale`` stays. Raises ValueError for another kind.

    >>> f(1)
    1
    """
    check_choice("kind", kind, ("a", "b"))
'''


def test_sentences_of_what_is_gone_go_with_those_that_go_on_from_them():
    after = BEFORE.replace(', kind="a"', "").replace(
        '    check_choice("kind", kind, ("a", "b"))\n', "    return scale * x\n"
    )
    found = shortened(after, BEFORE, {"kind": "a"})
    assert found == (
        'def f(x, *, scale=1.0):\n    """``f = scale x``, or another formulation.\n\n    ``scale`` stays.\n\n'
        '    Here: ``kind="a"``.\n    """\n    return scale * x\n'
    )


def test_a_choice_that_is_not_the_default_is_said_to_be_other_than_the_formula():
    after = BEFORE.replace(', kind="a"', "")
    assert 'Here, other than above: ``kind="b"``.' in shortened(after, BEFORE, {"kind": "b"})


def test_a_single_line_leaves_room_for_the_quotes_behind_it():
    said = " ".join(["word"] * 22) + " ab."  # 113 characters, with the margin and both quotes 123
    before = (
        f'def f(x):\n    """{said}\n\n    Raises ValueError for another kind.\n    """\n    check(x)\n    return x\n'
    )
    after = before.replace("    check(x)\n", "")
    found = shortened(after, before, {})
    assert "Raises" not in found
    assert max(map(len, found.splitlines())) <= 117


def test_parts_of_a_sentence_of_what_was_not_chosen_go():
    before = """def f(x, *, kind="a", top=None):
    \"\"\"``x``; ``top`` is a limit; ``g`` as in ``h``.

    Slots ``m``, with AMSGrad ``v``. ``kind`` is of ``x``: ``"a"``; ``"b"``, rounded; ``"c"``.
    As ``h``, which is not here. Source: the course, course 1 week 2.
    \"\"\"
    return x
"""
    after = before.replace(', *, kind="a", top=None', "")
    found = shortened(after, before, {"kind": "a", "top": None}, {"h"})
    assert '"""``x``.\n' in found
    assert '``kind`` is of ``x``: ``"a"``.' in found
    assert "``h``" not in found
    assert "Source: Ng, Deep Learning Specialization, course 1 week 2." in " ".join(found.split())


def test_a_slot_of_amsgrad_is_told_of_where_it_is_there():
    before = 'def f(x, *, amsgrad=None):\n    """One.\n\n    Slots ``m``, with AMSGrad ``v``.\n    """\n    return x\n'
    after = before.replace(", *, amsgrad=None", "")
    assert "Slots ``m``.\n" in shortened(after, before, {"amsgrad": None})
    assert "Slots ``m``, with AMSGrad ``v``.\n" in shortened(after, before, {"amsgrad": "raw_max"})


def test_a_field_that_is_gone_is_not_told_of_but_shapes_stay():
    before = (
        '@dataclass\nclass C:\n    """Pool; ``padded``: with zeros.\n\n    ``W``: ``(units, n)``.\n    """\n\n'
        "    padded: bool\n    units: int\n    size: int\n"
    )
    found = shortened(before.replace("    padded: bool\n    units: int\n", ""), before, {})
    assert '"""Pool.\n\n    ``W``: ``(units, n)``.' in found


def test_a_default_is_said_where_the_docstring_speaks_of_it():
    before = 'def f(x, *, kind="a", per="m"):\n    """One.\n\n    Or another formulation of f, ``kind``.\n    """\n'
    found = shortened(before.replace(', *, kind="a", per="m"', ""), before, {"kind": "a", "per": "m"})
    assert found == 'def f(x):\n    """One.\n\n    Here: ``kind="a"``.\n    """\n'


def test_a_first_line_leaves_room_for_the_quotes_before_it():
    said = " ".join(["word"] * 22) + " Source: the course, course 2 week 2."
    before = f'def f(x):\n    """{said}\n\n    Raises ValueError for another kind.\n    """\n    return x\n'
    assert max(map(len, shortened(before, before, {}).splitlines())) <= 120
