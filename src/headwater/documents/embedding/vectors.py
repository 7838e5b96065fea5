"""Vectors as bytes: little-endian float32 of length 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def unit_bytes(values: Sequence[float] | np.ndarray) -> bytes | None:
    """Of length 1; None for what has no direction: nothing, zeros, or numbers that are not finite."""
    import numpy as np

    vector = np.asarray(values, dtype=np.float64)
    length = float(np.linalg.norm(vector)) if vector.size else 0.0
    if not np.isfinite(length) or length == 0.0:
        return None
    return (vector / length).astype("<f4").tobytes()
