"""Answers to vectors that somebody sent back, judged: which are right, and what the others are.

A file of answers is JSON: ``{"schema": "framework-conformance/answers/1", "dtype": "float32", "answers": {FILE: {TEST:
{OUTPUT: numbers}}}}``, with numbers in a list, nested or flat, in C order. Tests and files that are not answered count
as not offered.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from conformance.data.wording import listed, nearest, shown
from conformance.diagnosis.distance import shares
from conformance.diagnosis.explanation import EXPLAINED, SHOWN
from conformance.diagnosis.numbers import free_numbers
from conformance.problems.tensors import Array, Tensors
from conformance.recipes.recipe import DTYPES
from conformance.vectors.encoding import numbers
from conformance.vectors.files import INVALID, RULES, Entry, Vectors, read_json, read_vectors
from conformance.vectors.floors import Allowances, expectation, observation
from conformance.vectors.formulations import Formulation, Mistake, mistakes
from conformance.vectors.kinds import Inputs
from conformance.verdicts.compare import Comparison, Verdict, compare

SCHEMA = "framework-conformance/answers/1"
MOST_NUMBERS = 2**20  # of one output
COLUMNS = ("file", "test", "result", "output", "error", "allowance", "verdict", "cause")


class Judgement(NamedTuple):
    """What came of answers.

    Attributes:
        frame: a row for each output that was expected: ``file``, ``test``, ``result`` (``valid``, or ``invalid`` where
            the answer must be another), ``output``, ``error``, ``allowance``, ``verdict``, and the ``cause`` in words.
        causes: for each file with a wrong answer, what it was seen to be.
        unanswered: the files of the folder that were not answered, or not wholly.
    """

    frame: pd.DataFrame
    causes: dict[str, str]
    unanswered: list[str]

    @property
    def verdict(self) -> Verdict:
        """``pass`` if no answer is wrong."""
        return Verdict.FAIL if self.causes else Verdict.PASS

    @property
    def ok(self) -> bool:
        """Whether no answer is wrong."""
        return not self.causes


class _Answer(NamedTuple):
    test: Entry
    given: Tensors  # as they were given, flat


def judge(path: Path | str, vectors_dir: Path | str) -> Judgement:
    """Hold a file of answers against the vectors of a folder.

    Raises ValueError, naming file and field, for a file that is no answers, and for answers to what is not asked.
    """
    found, folder = read_json(Path(path)), Path(vectors_dir)
    try:
        dtype, answers = _header(found)
        known = _files(folder)
        rows: list[tuple[Any, ...]] = []
        causes: dict[str, str] = {}
        unanswered = [name for name in known if name not in answers]
        for name, given in answers.items():
            if name not in known:
                raise ValueError(f"answers has {shown(name)}, which {folder} has not{nearest(name, known)}")
            vectors = read_vectors(folder, name)
            answered = list(_answered(name, given, vectors))
            mine = [(name, *row) for answer in answered for row in _judged(answer, dtype)]
            rows += mine
            if len(answered) < len(vectors.tests):
                unanswered.append(name)
            if any(row[COLUMNS.index("verdict")] == Verdict.FAIL for row in mine):
                assert vectors.formulation is not None
                causes[name] = _cause(vectors.formulation, answered, dtype)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not rows:
        raise ValueError(f"{path}: answers nothing")
    return Judgement(pd.DataFrame(rows, columns=list(COLUMNS)), causes, sorted(unanswered))


def _header(found: Any) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(found, Mapping) or found.get("schema") != SCHEMA:
        schema = found.get("schema") if isinstance(found, Mapping) else found
        raise ValueError(f"schema={shown(schema)} is not allowed: must be {SCHEMA!r}")
    dtype, answers = found.get("dtype"), found.get("answers")
    if dtype not in DTYPES:
        raise ValueError(
            f"dtype={shown(dtype)} is not allowed: must be one of {listed(DTYPES)}{nearest(str(dtype), DTYPES)}"
        )
    if not isinstance(answers, Mapping):
        raise ValueError(f"answers={shown(answers)} is not allowed: must be a table of files")
    return dtype, answers


def _files(folder: Path) -> list[str]:
    found = sorted(file.relative_to(folder).as_posix() for file in folder.glob("*/*.json"))
    if not found:
        raise ValueError(f"{folder} holds no vectors: must be a folder that `conformance vectors` has written")
    return [name for name in found if name != RULES]


def _answered(file: str, given: Any, vectors: Vectors) -> Iterator[_Answer]:
    """The answers to the tests of a file, in the order of the tests."""
    _table(f"answers to {file}", given)
    for test in given:
        if test not in vectors.tests:
            raise ValueError(f"{file} has no test {shown(test)}: must be one of {listed(vectors.tests)}")
    for name, test in vectors.tests.items():
        if name not in given:
            continue
        _table(f"answer to {file}, test {name},", given[name])
        outputs = {}
        for output, value in given[name].items():
            where = f"answer to {file}, test {name}, {shown(output)}"
            outputs[output] = numbers(where, value)
            if outputs[output].size > MOST_NUMBERS:
                raise ValueError(f"{where} has {outputs[output].size} numbers: must be at most {MOST_NUMBERS}")
        yield _Answer(test, outputs)


def _table(label: str, given: Any) -> None:
    if not isinstance(given, Mapping):
        raise ValueError(f"{label} is {shown(given)}: must be a table")


def _judged(answer: _Answer, dtype: str) -> Iterator[tuple[Any, ...]]:
    """The rows of one test. A test that is invalid passes as a whole if any of its outputs was answered otherwise."""
    comparisons = _compared(answer.given, answer.test.outputs, answer.test.allowed[dtype], dtype)
    rejected = any(found.verdict not in (Verdict.PASS, Verdict.INCONCLUSIVE) for found in comparisons)
    for found in comparisons:
        verdict, cause = found.verdict, found.cause
        if answer.test.result == INVALID:
            verdict = Verdict.PASS if rejected else Verdict.FAIL
            cause = "" if rejected else f"agrees with what is wrong on purpose: {', '.join(answer.test.flags)}"
        elif verdict == Verdict.MISSING:
            verdict, cause = Verdict.FAIL, f"{found.key.tensor} was not answered"
        yield answer.test.id, answer.test.result, found.key.tensor, found.error, found.allowance, verdict, cause


def _compared(given: Tensors, expected: Tensors, allowed: Allowances, dtype: str) -> list[Comparison]:
    """A comparison for each output that is expected, and one for each that is not."""
    found = {}
    with np.errstate(over="ignore"):  # what is beyond float32 is infinite in it
        for name, value in given.items():
            fits = name in expected and value.size == expected[name].size
            found[name] = observation(name, (value.reshape(expected[name].shape) if fits else value).astype(dtype))
    told = [
        expectation(name, oracle, allowance, dtype)
        for name, oracle in expected.items()
        if (allowance := allowed[name]) is not None
    ]
    silent = [name for name in expected if allowed[name] is None]
    return list(compare([seen for name, seen in found.items() if name not in silent], told))


def _cause(formulation: Formulation, answered: list[_Answer], dtype: str) -> str:
    """What the answers to the tests of a file are: a known mistake, one with a free number, or the nearest."""
    valid = [answer for answer in answered if answer.test.result != INVALID]
    tried = mistakes(formulation)
    fits = sorted((_share(mistake, valid, dtype), number) for number, mistake in enumerate(tried))
    explaining = [tried[number] for share, number in fits if share <= EXPLAINED]
    published = [mistake for mistake in explaining if not mistake.edits]
    if explaining:
        named = [_described(mistake) for mistake in published or explaining]
        more = f", or {len(named) - SHOWN} more that these tests do not tell apart" if len(named) > SHOWN else ""
        return " or ".join(named[:SHOWN]) + more
    solved = next(_with_free_number(formulation, valid, dtype), None)
    if solved is not None:
        return solved
    if not fits or not np.isfinite(fits[0][0]):
        return "none known"
    return f"none known; the nearest is {_described(tried[fits[0][1]])}, {fits[0][0]:.2g} allowances away"


def _described(mistake: Mistake) -> str:
    return f"the fault {mistake.name!r}" if mistake.edits else mistake.name


def _share(mistake: Mistake, answered: list[_Answer], dtype: str) -> float:
    """How far the answers lie from what a mistake makes, in allowances; infinite if they are not of one shape."""
    largest = 0.0
    for test, given in answered:
        made = mistake.answer(test.inputs)
        if made is None or made.keys() != given.keys():
            return float("inf")
        for name, oracle in test.outputs.items():
            allowance = test.allowed[dtype][name]
            if allowance is not None:
                largest = max(largest, _apart(name, given[name], made[name], oracle, allowance, dtype))
    return largest


def _apart(name: str, given: Array, made: Array, oracle: Array, allowance: float, dtype: str) -> float:
    with np.errstate(all="ignore"):  # what a fault makes may be beyond float32
        seen, candidate = (observation(name, np.ravel(value).astype(dtype)) for value in (given, made))
        left = shares(seen, candidate, expectation(name, np.ravel(oracle), allowance, dtype))
    return float("inf") if left is None else float(left.max(initial=0.0))


def _with_free_number(formulation: Formulation, answered: list[_Answer], dtype: str) -> Iterator[str]:
    """The keywords, with the number of each that makes all the answers, if there is one."""
    target = _most_wrong(answered, dtype)
    if target is None:
        return
    inputs, name, index, value, reach = target
    for keyword, asked in formulation.keywords.items():
        if not isinstance(asked, float):
            continue

        def with_number(number: float, keyword: str = keyword) -> Mistake:
            keywords = formulation.keywords | {keyword: number}
            return Mistake(
                f"{formulation.component}({keyword}={number!r})", formulation.kind, formulation.component, keywords
            )

        def left(number: float, made: Any = with_number) -> float:
            answer = made(number).answer(inputs)
            return float("nan") if answer is None else float(np.ravel(answer[name])[index]) - value

        for number, remark in free_numbers(asked, left, reach):
            if _share(with_number(number), answered, dtype) <= EXPLAINED:
                yield with_number(number).name.removesuffix(")") + f"{remark})"
                break


def _most_wrong(answered: list[_Answer], dtype: str) -> tuple[Inputs, str, int, float, float] | None:
    """Of the output that is most wrong, the element that is farthest off.

    Where it is, what was answered, and how near to it a number must come.
    """
    most, found = 1.0, None
    for test, given in answered:
        for name, oracle in test.outputs.items():
            allowance, value = test.allowed[dtype][name], given.get(name)
            if allowance is None or value is None or value.size != oracle.size or not np.isfinite(value).all():
                continue
            apart = _apart(name, value, oracle, oracle, allowance, dtype)
            if most < apart < np.inf:
                most, index = apart, int(np.argmax(np.abs(value - np.ravel(oracle))))
                scale = float(max(np.abs(value).max(), np.abs(oracle).max()))
                found = test.inputs, name, index, float(value[index]), EXPLAINED * allowance * scale
    return found
