"""Docstrings that say no more than is left of what they describe.

Sentences are left out that are of arguments which a function no longer has, of choices that were not made, and of
errors that it no longer raises; so are examples. What was chosen is said instead. The first sentence stays.
"""

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from textwrap import fill
from typing import Any

from conformance.ejecting.expressions import is_docstring
from conformance.ejecting.scopes import arguments
from conformance.ejecting.text import Edit, Source

WIDTH = 120
_ROLE = re.compile(r":(?:func|meth|class|mod):`(?:~)?([\w.]+)`")
_MADE_BY = re.compile(r"Every formulation of (``\w+``), which checks the arguments and makes it\.")


def shortened(definition: str, original: str, chosen: Mapping[str, Any]) -> str:
    """A definition with what is left of its docstrings, and of those inside it.

    ``original``: the definition as it is in its package; ``chosen``: what was given for each argument that is gone.
    """
    source, before = Source(definition), ast.parse(original)
    node = source.tree.body[0]
    earlier = {each.name: each for each in ast.walk(before) if isinstance(each, ast.FunctionDef)}
    edits = []
    for each in source.nodes:
        if not isinstance(each, (ast.FunctionDef, ast.ClassDef)) or not is_docstring(each.body[0]):
            continue
        margin = each.body[0].col_offset
        gone, other = _lost(each, earlier.get(each.name), chosen if each is node else {})
        raises = any(isinstance(part, ast.Raise) for part in ast.walk(each))
        parts = list(_paragraphs(ast.get_docstring(each) or "", gone, other, raises, WIDTH - margin))
        if each is node and (said := _said(chosen)):
            parts.append(fill(said, WIDTH - margin, break_on_hyphens=False))
        edits.append(_replacing(source, each.body[0], "\n\n".join(parts)))
    return source.edited(edits)


def _lost(node: ast.stmt, before: ast.stmt | None, chosen: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """The arguments that a function no longer has, and the words that would have been other choices for them."""
    if not isinstance(node, ast.FunctionDef) or not isinstance(before, ast.FunctionDef):
        return set(), set()
    gone = {each.arg for each in arguments(before)} - {each.arg for each in arguments(node)}
    words = {value for value in chosen.values() if isinstance(value, str)}
    found: set[str] = set()
    for call in ast.walk(before):
        if isinstance(call, ast.Call) and len(call.args) == 3 and isinstance(call.args[2], ast.Tuple):
            name = call.args[0].value if isinstance(call.args[0], ast.Constant) else None
            if name in gone:
                found |= {each.value for each in call.args[2].elts if isinstance(each, ast.Constant) and each.value}
    return gone, {word for word in found - words if isinstance(word, str)}


def _paragraphs(text: str, gone: Collection[str], other: Collection[str], raises: bool, width: int) -> Iterator[str]:
    for number, paragraph in enumerate(text.split("\n\n")):
        if paragraph.lstrip().startswith(">>>"):
            continue
        if paragraph.startswith(" "):
            lines = [line for line in paragraph.splitlines() if not _is_of(line, gone, other)]
            yield "\n".join(lines)
            continue
        sentences = _sentences(paragraph)
        kept = [
            sentence for place, sentence in enumerate(sentences)
            if (number == 0 and place == 0) or not (_is_of(sentence, gone, other) or _is_of_errors(sentence, raises))
        ]  # fmt: skip
        kept = [_MADE_BY.sub(r"What \1 makes.", _ROLE.sub(r"``\1``", sentence)) for sentence in kept]
        if kept:
            same = len(kept) == len(sentences) and not _ROLE.search(paragraph)
            yield paragraph if same else fill(" ".join(kept), width, break_on_hyphens=False)


def _sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph; what stands in code is not looked into.

    >>> _sentences("``a. B`` is one. Raises ValueError: no. ``c`` too.")
    ['``a. B`` is one.', 'Raises ValueError: no.', '``c`` too.']
    """
    hidden: list[str] = []

    def hide(found: re.Match[str]) -> str:
        hidden.append(found[0])
        return f"`{len(hidden) - 1}`"

    text = re.sub(r"``.*?``", hide, " ".join(paragraph.split()))
    parts = re.split(r"(?<=\.|\))\s(?=[A-Z`])(?<!e\.g\. )(?<!i\.e\. )", text)
    whole: list[str] = []
    for part in parts:  # "(one. Two)" stays together
        if whole and (whole[-1].count("(") > whole[-1].count(")") or not whole[-1].endswith((".", ".)"))):
            whole[-1] += f" {part}"
        else:
            whole.append(part)
    return [re.sub(r"`(\d+)`", lambda found: hidden[int(found[1])], each) for each in whole]


def _is_of(text: str, gone: Collection[str], other: Collection[str]) -> bool:
    """Whether a text is of an argument that is gone, or of a choice that was not made."""
    words = set(re.findall(r'"(\w+)"', text))
    if words & set(other):
        return True
    spans = " ".join(re.findall(r"``(.*?)``", text)) if "``" in text else text
    return any(re.search(rf"\b{name}\b", spans) for name in gone) and not (words and not words & set(other))


def _is_of_errors(sentence: str, raises: bool) -> bool:
    return sentence.startswith("Raises ") and not raises


def _said(chosen: Mapping[str, Any]) -> str:
    """What was chosen, in words."""
    told = {name: value for name, value in chosen.items() if isinstance(value, str) or value is True}
    return f"Here: {', '.join(f'``{name}={_quoted(value)}``' for name, value in told.items())}." if told else ""


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _replacing(source: Source, node: ast.stmt, text: str) -> Edit:
    margin = " " * node.col_offset
    lines = [margin + line if line.strip() else "" for line in text.splitlines()]
    one_line = "\n" not in text and len(text) + len(margin) + 6 <= WIDTH
    body = text if one_line else "\n".join(lines).strip() + f"\n{margin}"
    return Edit(source.start(node), source.end(node), f'"""{body}"""')
