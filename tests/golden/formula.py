"""Inputs of the golden files: the same numbers as tests/support/formula_values.hpp."""

import numpy as np


def formula(stream: int, count: int) -> np.ndarray:
    """`count` float64 values in [-1, 1): integer hashing, then exact binary fractions."""
    mask = np.uint64(0xFFFFFFFF)
    h = (np.arange(count, dtype=np.uint64) * np.uint64(2654435761)
         + np.uint64(stream * 2246822519 + 374761393)) & mask
    h = ((h ^ (h >> np.uint64(15))) * np.uint64(2246822519)) & mask
    h = ((h ^ (h >> np.uint64(13))) * np.uint64(3266489917)) & mask
    h ^= h >> np.uint64(16)
    return h.astype(np.float64) / 2147483648.0 - 1.0
