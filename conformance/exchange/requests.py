"""What a process is asked, as an array: text as its bytes, which goes where arrays go."""

import numpy as np

from conformance.problems.tensors import Array


def bytes_of(text: str) -> Array:
    """Text as an array.

    >>> bytes_of("ab")
    array([97, 98], dtype=uint8)
    """
    return np.frombuffer(text.encode(), np.uint8)


def text_of(array: Array) -> str:
    """The inverse of :func:`bytes_of`.

    >>> text_of(bytes_of("ab"))
    'ab'
    """
    return np.asarray(array, np.uint8).tobytes().decode()
