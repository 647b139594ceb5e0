"""The files of the kit: what is in one, the rules of its format, and how it is read again.

``schema.json`` beside this module describes the format for programs, ``kit/`` holds what is written beside the vectors.
"""

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from conformance.data.wording import nearest, shown
from conformance.problems.tensors import Tensors
from conformance.recipes.recipe import DTYPES
from conformance.vectors.encoding import decoded, encoded
from conformance.vectors.floors import Allowances
from conformance.vectors.formulations import Formulation, formulations
from conformance.vectors.kinds import KINDS, Inputs
from conformance.vectors.selection import Selection, discriminates, nearest_mistake
from conformance.verdicts.compare import ROUNDOFFS

SCHEMA = "framework-conformance/vectors/1"
RULES = "checker/rules.json"  # tests of the checker itself
SCHEMA_FILE = "schema.json"
LARGEST = 64 * 2**20  # bytes of a file that is read
VALID, INVALID = "valid", "invalid"
RULED = ROUNDOFFS * float(np.finfo(np.float64).eps) / 2  # the allowance in all tests of a checker: without any noise


class Entry(NamedTuple):
    """One vector as a file has it: what is expected, or, if it is invalid, what must not be answered."""

    id: str
    comment: str
    flags: list[str]
    result: str
    inputs: Inputs
    outputs: Tensors
    allowed: dict[str, Allowances]


def content(selection: Selection, generator: str) -> dict[str, Any]:
    """What the file of a formulation holds."""
    formulation = selection.formulation
    kind, described = formulation.kind, formulation.described
    groups: dict[str, list[Entry]] = {}
    for number, test in enumerate(_tests(selection), start=1):
        groups.setdefault(_group(test.inputs), []).append(test._replace(id=str(number)))
    flags = sorted({flag for tests in groups.values() for test in tests for flag in test.flags})
    edited = {mistake.name for mistake in selection.mistakes if mistake.edits}
    return {
        "schema": SCHEMA,
        "generator": generator,
        "kind": kind.name,
        "component": formulation.component,
        "formulation": formulation.label,
        "keywords": _plain(formulation.keywords),
        "notes": {
            "definition": described.text,
            "source": described.source,
            "inputs": kind.inputs,
            "outputs": kind.outputs,
            "builtins": formulation.builtins if kind.name == "optimizer" else [],
        },
        "flags": {flag: "fault" if flag in edited else "other formulation" for flag in flags},
        "number_of_tests": sum(map(len, groups.values())),
        "groups": [{"type": name, "tests": list(map(_encoded, tests))} for name, tests in groups.items()],
    }


def _group(inputs: Inputs) -> str:
    """What a test asks for: a run of an optimizer from its beginning, a step from a given state, or a value."""
    return "run" if "learning_rates" in inputs else "step" if "step" in inputs else "value"


def _tests(selection: Selection) -> Iterator[Entry]:
    for vector in selection.vectors:
        flags = [name for name in selection.shown if discriminates(vector, name)]
        yield Entry("", vector.situation.comment, flags, VALID, vector.situation.inputs, vector.outputs, vector.allowed)
    found = nearest_mistake(selection)
    if found is not None:
        vector, mistake = found
        answer = mistake.answer(vector.situation.inputs)
        assert answer is not None
        wrong = {name: np.asarray(answer[name]) for name in vector.outputs}
        comment = f"wrong on purpose, as {mistake.name!r} makes it: a right answer differs from it"
        yield Entry("", comment, [mistake.name], INVALID, vector.situation.inputs, wrong, vector.allowed)


def _encoded(test: Entry) -> dict[str, Any]:
    return {
        "id": test.id,
        "comment": test.comment,
        "flags": test.flags,
        "result": test.result,
        "inputs": {name: encoded(value) for name, value in test.inputs.items()},
        "outputs": {name: encoded(np.asarray(value, np.float64)) for name, value in test.outputs.items()},
        "allowances": test.allowed,
    }


def rules(generator: str) -> dict[str, Any]:
    """The file whose tests are of the checker: each gives, as its inputs, the answer that is to be judged."""
    allowed: dict[str, Allowances] = {dtype: {"y": RULED} for dtype in DTYPES}
    tests = [
        Entry(str(number), comment, [], result, answer, outputs, allowed)
        for number, (comment, result, answer, outputs) in enumerate(_rules(), start=1)
    ]
    return {
        "schema": SCHEMA,
        "generator": generator,
        "kind": "checker",
        "component": "checker",
        "formulation": "rules",
        "keywords": {},
        "notes": {
            "definition": "Tests of the checker itself: the inputs of each are the answer that it is to judge.",
            "source": "",
            "inputs": "an answer",
            "outputs": "what is expected",
            "builtins": [],
        },
        "flags": {},
        "number_of_tests": len(tests),
        "groups": [{"type": "answer", "tests": list(map(_encoded, tests))}],
    }


def _rules() -> Iterator[tuple[str, str, Tensors, Tensors]]:
    y = np.array([[1.0, -2.0, 3.0], [0.5, 0.25, -4.0]])
    step = RULED * float(np.abs(y).max())
    last = np.zeros_like(y)
    last[1, 2] = 1.0

    def case(comment: str, result: str, answer: Any, expected: Any = y) -> tuple[str, str, Tensors, Tensors]:
        return comment, result, {"y": np.asarray(answer)}, {"y": np.asarray(expected)}

    yield case("the very numbers", VALID, y)
    yield case("half an allowance away, in the last number", VALID, y + 0.5 * step * last)
    yield case("two allowances away, in the last number alone", INVALID, y + 2 * step * last)
    yield case("errors that cancel in a mean or a sum", INVALID, y + 2 * step * np.array([[1.0, -1, 1], [-1, 1, -1]]))
    yield case("minus 0 for 0", VALID, [-0.0, 1.0], [0.0, 1.0])
    yield case("something where all is exactly 0", INVALID, [0.0, 1e-9], [0.0, 0.0])
    yield case("less than the smallest normal number where all is 0", VALID, [0.0, 1e-320], [0.0, 0.0])
    yield case("NaN for a number", INVALID, np.where(last > 0, np.nan, y))
    yield case("NaN for NaN: it equals nothing", INVALID, np.where(last > 0, np.nan, y), np.where(last > 0, np.nan, y))
    yield case("infinity for a number", INVALID, np.where(last > 0, np.inf, y))
    yield case("a row too few", INVALID, y[:1])
    yield case("a number too many", INVALID, np.append(y, 1.0))
    yield "nothing for an output", INVALID, {}, {"y": y}


def kit() -> dict[str, str]:
    """What is written beside the vectors, by file name."""
    folder = files("conformance.vectors")
    found = {SCHEMA_FILE: (folder / SCHEMA_FILE).read_text(encoding="utf-8")}
    names = sorted(file.name for file in (folder / "kit").iterdir() if file.is_file())
    return found | {name: (folder / "kit" / name).read_text(encoding="utf-8") for name in names}


def read_json(file: Path) -> Any:
    """A JSON file that somebody else may have written. Raises ValueError, naming it, if it cannot be read."""
    try:
        size = file.stat().st_size
        if size > LARGEST:
            raise ValueError(f"{file}: has {size} bytes: must be at most {LARGEST}")
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file}: is no JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{file}: is nested too deeply") from None


class Vectors(NamedTuple):
    """A file of vectors as it was read."""

    formulation: Formulation | None  # None of the rules
    tests: dict[str, Entry]


def read_vectors(folder: Path, name: str) -> Vectors:
    """One file of a folder of vectors. Raises ValueError, naming file and field, for what is not of the format."""
    found = read_json(folder / name)
    if not isinstance(found, Mapping) or found.get("schema") != SCHEMA:
        schema = found.get("schema") if isinstance(found, Mapping) else found
        raise ValueError(f"{folder / name}: schema={shown(schema)} is not allowed: must be {SCHEMA!r}")
    try:
        formulation = None if found["kind"] == "checker" else _formulation(found)
        tests = [_decoded(test) for group in found["groups"] for test in group["tests"]]
    except KeyError as error:
        raise ValueError(f"{folder / name}: {error.args[0]} is missing") from None
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{folder / name}: {error}") from None
    return Vectors(formulation, {test.id: test for test in tests})


def _formulation(found: Mapping[str, Any]) -> Formulation:
    """What a file is of. Raises ValueError, with the nearest, for what this version does not have, or has otherwise."""
    kind, label = found["kind"], found["formulation"]
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind={shown(kind)} is not allowed{nearest(str(kind), KINDS)}")
    known = {each.label: each for each in formulations() if each.kind.name == kind}
    if not isinstance(label, str) or label not in known:
        raise ValueError(f"formulation={shown(label)} is no {kind}'s{nearest(str(label), known)}")
    for field, own in (("component", known[label].component), ("keywords", _plain(known[label].keywords))):
        if found[field] != own:
            raise ValueError(f"{field}={shown(found[field])} is not allowed: must be {shown(own)} for {label!r}")
    return known[label]


def _plain(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords as JSON has them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in keywords.items()}


def _decoded(test: Mapping[str, Any]) -> Entry:
    inputs = {name: decoded(f"test {test['id']}: inputs.{name}", v) for name, v in test["inputs"].items()}
    outputs = {name: decoded(f"test {test['id']}: outputs.{name}", v) for name, v in test["outputs"].items()}
    asked = test["allowances"]
    allowed: dict[str, Any] = {dtype: {name: asked[dtype][name] for name in outputs} for dtype in DTYPES}
    for name, allowance in ((n, a) for each in allowed.values() for n, a in each.items()):
        if allowance is not None and not (isinstance(allowance, float) and 0 < allowance < 1):
            raise ValueError(
                f"test {test['id']}: allowance of {name}={shown(allowance)} is not allowed: must be null or in (0, 1)"
            )
    if test["result"] not in (VALID, INVALID):
        raise ValueError(
            f"test {test['id']}: result={shown(test['result'])} is not allowed: must be 'valid' or 'invalid'"
        )
    return Entry(test["id"], test["comment"], test["flags"], test["result"], inputs, outputs, allowed)
