"""Checks answers to test vectors: python checker.py float64|float32 ANSWERER.py [FILE.json ...]

ANSWERER.py has answer(kind, component, keywords, inputs) -> {output: list of numbers}, or None for what it has not.
Its answers are kept in answers.json. Exit status: 0 all right, 1 something is not, 2 nothing was answered.
"""

import json
import math
import runpy
import struct
import sys
from pathlib import Path
from typing import Any


def flat(value: Any) -> list[float]:
    return [x for part in value for x in flat(part)] if isinstance(value, (list, tuple)) else [float(value)]


def agrees(answer: Any, outputs: Any, allowances: Any) -> bool:
    """Whether every output is within its allowance: largest difference over largest number expected. NaN never is."""
    for name, output in outputs.items():
        expected = flat([float(number) for number in output["decimal"]])
        assert [struct.pack(">d", number).hex() for number in expected] == output["hex"], name
        found = None if answer.get(name) is None else flat(answer[name])
        if found is None or len(found) != len(expected) or not all(map(math.isfinite, found + expected)):
            return False
        difference = max((abs(a - b) for a, b in zip(found, expected, strict=True)), default=0.0)
        limit = None if allowances[name] is None else allowances[name] * max(map(abs, expected), default=0.0)
        if limit is not None and difference >= sys.float_info.min and not difference <= limit:
            return False
    return set(answer) == set(outputs)


def main(dtype: str, answerer: str, *given: str) -> int:
    answer = runpy.run_path(answerer)["answer"]
    paths, answered, wrong = given or sorted(map(str, Path(__file__).parent.glob("*/*.json"))), {}, []
    for path in paths:
        vectors, answers = json.loads(Path(path).read_text(encoding="utf-8")), {}
        for test in (test for group in vectors["groups"] for test in group["tests"]):
            if vectors["kind"] == "checker":  # a test of this file: what it judges is in the inputs
                found = {name: value["decimal"] for name, value in test["inputs"].items()}
            else:
                found = answer(vectors["kind"], vectors["component"], vectors["keywords"], test["inputs"])
            if found is None:
                break
            answers[test["id"]] = {name: flat(value) for name, value in found.items()}
            if agrees(found, test["outputs"], test["allowances"][dtype]) != (test["result"] == "valid"):
                wrong.append(f"{path} test {test['id']} ({test['result']}): {test['comment']}")
        if answers and vectors["kind"] != "checker":
            answered["/".join(Path(path).resolve().parts[-2:])] = answers
    kept = {"schema": "framework-conformance/answers/1", "dtype": dtype, "answers": answered}
    Path("answers.json").write_text(json.dumps(kept), encoding="utf-8")
    print("\n".join([*wrong, f"files answered: {len(answered)} of {len(paths)}, tests wrong: {len(wrong)}"]))
    return 1 if wrong else 0 if answered else 2


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) > 2 else __doc__)
