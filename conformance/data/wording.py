"""How a refusal writes what it found: cut where it is long, and with the known name that is nearest."""

import difflib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

LONGEST_VALUE = 80  # characters of a value in a message
LONGEST_LINE = 1000  # of what somebody's code says
LONGEST_COMPARED = 100  # difflib's time grows with the square of a name's length
LEAST_LIKENESS = 0.6  # "torch" is 0.55 like "nosuch"
SHORT, LEAST_OF_SHORT = 3, 0.5  # characters of a short name; "l3" is 0.5 like "l2"
LEAST_CONTAINED = 3  # characters of a name that is a part of others
ABOUT_AS_LIKE = 0.1  # as the nearest, and named beside it
NAMES_SHOWN = 40  # of a long list of what is allowed


def cut(text: str, limit: int = LONGEST_VALUE) -> str:
    """``text``, of which only the two ends are left where it is longer than ``limit``.

    >>> cut("abcdefghij" * 100, 20)
    'abcdefgh...ghij (1000 characters)'
    """
    if len(text) <= limit:
        return text
    return f"{text[: limit * 2 // 5]}...{text[-limit // 5 :]} ({len(text)} characters)"


def shown(value: Any) -> str:
    """The value as Python writes it, cut where that is long. A long string or list is cut before it is written.

    >>> shown([1, "two"]), shown("x" * 10**6)
    ("[1, 'two']", "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxx' (1000000 characters)")
    """
    if isinstance(value, str) and len(value) > LONGEST_VALUE:
        ends = value[: LONGEST_VALUE * 2 // 5 - 1], value[-(LONGEST_VALUE // 5) + 1 :]
        return f"{'...'.join(ends)!r} ({len(value)} characters)"
    if isinstance(value, (list, tuple)) and len(value) > LONGEST_VALUE:
        return f"a list of {len(value)}, {cut(repr(value[:5])[:-1])}, ...{']' if isinstance(value, list) else ')'}"
    if isinstance(value, dict) and len(value) > LONGEST_VALUE:
        return f"a table of {len(value)} keys"
    if isinstance(value, int) and abs(value) >= 10**LONGEST_VALUE:
        return f"an integer of {value.bit_length()} bits"  # Python refuses to write one of more than 4300 digits
    return cut(repr(value))


def one_line(text: str, limit: int = LONGEST_LINE) -> str:
    r"""What somebody's code says, as a line that every file and terminal can hold: escaped, and cut where it is long.

    >>> one_line("red: \x1b[31m,\n  no text: \ud800")
    'red: \\x1b[31m, no text: \\ud800'
    """
    return escaped(cut(" ".join(text.split()), limit))


def escaped(name: object) -> str:
    """A name from outside, such that it stays within a line.

    >>> print(escaped("two\\nlines"))
    two\\nlines
    """
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(name))


def nearest(name: str, known: Collection[str]) -> str:
    """What a message ends with where some known name is like ``name``, else nothing.

    >>> nearest("adamm", ["adam", "adagrad", "lion"])
    "; did you mean 'adam'?"
    >>> nearest("sgd", ["adam"]), nearest("gru", ["RNN", "GRU"])
    ('', "; did you mean 'GRU'?")
    >>> nearest("nosuch", ["torch"]), nearest("xor", ["moons-twice", "xor-mse-half"])
    ('', "; did you mean 'xor-mse-half'?")
    """
    if len(name) > LONGEST_COMPARED:
        return ""
    least = LEAST_OF_SHORT if len(name) <= SHORT else LEAST_LIKENESS
    found = [other for other in known if other.casefold() == name.casefold()]
    found = found or difflib.get_close_matches(name, known, n=3, cutoff=least)
    found = found or _containing(name, known)
    likeness = [difflib.SequenceMatcher(None, other, name).ratio() for other in found]
    near = [other for other, ratio in zip(found, likeness, strict=True) if ratio > likeness[0] - ABOUT_AS_LIKE]
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def _containing(name: str, known: Collection[str]) -> list[str]:
    """Of the known names that have ``name`` as a part the three most like it; none if that is short."""
    if len(name) < LEAST_CONTAINED:
        return []
    found = [other for other in known if name.casefold() in other.casefold()]
    return sorted(found, key=len)[:3]


def listed(names: Collection[Any]) -> str:
    """Names one after the other, of many only the first.

    >>> listed(["adam", "lion"])
    "'adam', 'lion'"
    """
    chosen = list(names)[:NAMES_SHOWN]
    more = f" and {len(names) - len(chosen)} more" if len(names) > len(chosen) else ""
    return ", ".join(map(shown, chosen)) + more


def in_columns(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> Iterator[str]:
    """The lines of a table without rules, with the columns named in ``right`` aligned there.

    >>> list(in_columns(["check", "records"], [["update", "12"]], right=["records"]))
    ['check   records', 'update       12']
    """
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        padded = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, cell, width in zip(columns, row, widths, strict=True)
        )
        yield "  ".join(padded).rstrip()
