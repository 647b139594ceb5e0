"""Random generators keyed by what is drawn, so that a draw does not depend on what was drawn before it."""

import hashlib

import numpy as np


def keyed_generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """A Philox generator whose 128-bit key is the BLAKE2b digest of ``seed``, ``purpose`` and ``indices``.

    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Philox).
    """
    words = "/".join(map(str, (seed, purpose, *indices)))
    digest = hashlib.blake2b(words.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
