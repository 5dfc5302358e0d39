"""Numbers of an array as they stand in binary files, in pieces."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from app.engine.interruption import Checkpoint, never
from app.nn.model import Floats

NUMBERS_AT_ONCE = 1 << 15
"""How many numbers a piece has: a quarter of a megabyte."""


def raw_numbers(numbers: Floats, checkpoint: Checkpoint = never) -> Iterator[memoryview]:
    """Yield an array row by row, as doubles with the low byte first. The pieces are the array's own memory if they can be."""
    flat = numbers.reshape(-1)
    for low in range(0, len(flat), NUMBERS_AT_ONCE):
        checkpoint()
        part: npt.NDArray[np.float64] = flat[low : low + NUMBERS_AT_ONCE].astype("<f8", copy=False)
        yield part.data.cast("B")
