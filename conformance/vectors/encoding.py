"""Numbers in the files of vectors and answers: as decimals that give the same number again, and as their bits.

A number that JSON has not is a text: ``"NaN"``, ``"Infinity"``, ``"-Infinity"``.
"""

import json
import math
import re
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.data.wording import shown
from conformance.problems.tensors import Array

NOT_IN_JSON = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def encoded(value: Any) -> Any:
    """An array or a number of the host as JSON has it; whole numbers and texts as they are.

    >>> encoded(np.array([0.5]))
    {'shape': [1], 'decimal': [0.5], 'hex': ['3fe0000000000000']}
    >>> encoded(np.array([2, 0]))
    {'shape': [2], 'integers': [2, 0]}
    """
    if isinstance(value, float | list):
        value = np.asarray(value, np.float64)
    if not isinstance(value, np.ndarray | np.generic):
        return value
    value = np.asarray(value)
    if value.dtype.kind != "f":
        return {"shape": list(value.shape), "integers": [int(number) for number in value.ravel()]}
    numbers = [float(number) for number in value.ravel()]
    return {"shape": list(value.shape), "decimal": [decimal(n) for n in numbers], "hex": [bits(n) for n in numbers]}


def decimal(number: float) -> float | str:
    """The number itself, or its name where JSON has none for it."""
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def bits(number: float) -> str:
    """The 64 bits of IEEE 754, the sign first, as 16 hexadecimal digits; every NaN is the same.

    >>> bits(1.0)
    '3ff0000000000000'
    """
    return struct.pack(">d", math.nan if math.isnan(number) else number).hex()


def decoded(field: str, found: Any) -> Any:
    """The inverse of :func:`encoded`. Raises ValueError, naming ``field``, for what it cannot have made.

    Decimals and bits must be of the same numbers.
    """
    if isinstance(found, int | str) and not isinstance(found, bool):
        return found
    if not isinstance(found, Mapping) or "shape" not in found or not {"integers", "decimal"} & found.keys():
        raise ValueError(f"{field} is {shown(found)}: must have shape, and integers or decimal and hex")
    shape = found["shape"]
    if not (isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)):
        raise ValueError(f"{field}.shape={shown(shape)} is not allowed: must be a list of sizes")
    if "integers" in found:
        whole = found["integers"]
        if not (isinstance(whole, list) and all(type(number) is int and abs(number) < 2**53 for number in whole)):
            raise ValueError(f"{field}.integers={shown(whole)} is not allowed: must be a list of whole numbers")
        value = np.array(whole, np.int64)
    else:
        value = numbers(f"{field}.decimal", found["decimal"])
        if [bits(number) for number in value.tolist()] != found.get("hex"):
            raise ValueError(f"{field}.hex is not that of its decimals: the file was changed")
    if value.size != math.prod(shape):
        raise ValueError(f"{field} has {value.size} numbers: must be {math.prod(shape)}, for shape {shown(shape)}")
    return value.reshape(shape)


def numbers(field: str, found: Any) -> Array:
    """A number or a list of them, nested or not, as one flat array. Raises ValueError, naming ``field``, for others.

    >>> numbers("answer", [[1, "NaN"], [2.5, 0]])
    array([1. , nan, 2.5, 0. ])
    """
    flat: list[float] = []
    waiting = [found]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part[::-1]
        else:
            flat.append(_number(field, part))
    return np.array(flat, np.float64)


def _number(field: str, found: Any) -> float:
    if isinstance(found, str) and found in NOT_IN_JSON:
        return NOT_IN_JSON[found]
    if isinstance(found, bool) or not isinstance(found, int | float):
        named = ", ".join(map(repr, NOT_IN_JSON))
        raise ValueError(f"{field} holds {shown(found)}: must be numbers, or {named} for those that JSON has not")
    try:
        return float(found)
    except OverflowError:
        raise ValueError(f"{field} holds {shown(found)}: it is beyond every float64") from None


def text(value: Any) -> str:
    """JSON with a line for each field, and lists of numbers on one."""
    indented = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    return re.sub(r"\[\n[^\[\]{}]*\]", lambda found: re.sub(r"\n *", "", found[0]), indented) + "\n"
