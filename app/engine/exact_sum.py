"""Sums of doubles that are rounded once, as `math.fsum` rounds them, and so do not depend on the order of the terms.

A sum is kept as an integer, in units of the smallest double: 66 words of 32 bits, which cover all exponents and leave room in
64 bits for 2**31 terms. Adding is three additions of integers, so sums of blocks, in whatever order, are the same to the last
bit. This is the "small superaccumulator" of R. Neal, Fast exact summation using small and large superaccumulators (2015),
arXiv:1505.05571, with three words per term in place of two.
"""

import math

import numpy as np
import numpy.typing as npt

from app.engine.jit import jit

Floats = npt.NDArray[np.float64]

WORDS = 66
MANTISSA = (1 << 52) - 1
WORD = (1 << 32) - 1
SPECIAL = 0x7FF
"""The exponent of infinity and NaN."""
UNITS_PER_ONE = 1 << 1074
"""1.0 in units of the smallest double."""


@jit
def _add(bits: npt.NDArray[np.int64], numbers: Floats, words: npt.NDArray[np.int64], infinite: Floats) -> None:
    """Add each row of `numbers`, whose bits are `bits`, to its row of words; what is not finite is added to `infinite`."""
    for row in range(bits.shape[0]):
        for k in range(bits.shape[1]):
            b = bits[row, k]
            exponent = (b >> 52) & SPECIAL
            if exponent == SPECIAL:
                infinite[row] += numbers[row, k]
                continue
            mantissa = b & MANTISSA
            if exponent:  # a number that is not subnormal has one more bit
                mantissa |= MANTISSA + 1
                exponent -= 1
            word, shift = exponent >> 5, exponent & 31
            sign = -1 if b < 0 else 1
            words[row, word] += sign * ((mantissa << shift) & WORD)
            words[row, word + 1] += sign * ((mantissa >> (32 - shift)) & WORD)
            words[row, word + 2] += sign * ((mantissa >> 33) >> (31 - shift))


@jit
def _carry(words: npt.NDArray[np.int64]) -> None:
    """Leave 32 bits in each word, and the sign in the last."""
    for row in range(words.shape[0]):
        for k in range(words.shape[1] - 1):
            carry = words[row, k] >> 32
            words[row, k] -= carry << 32
            words[row, k + 1] += carry


class ExactSums:
    """The sums of several rows of numbers, to which blocks of columns are added one after the other."""

    def __init__(self, rows: int) -> None:
        self._words = np.zeros((rows, WORDS), np.int64)
        self._infinite = np.zeros(rows)
        self._count = 0

    def add(self, block: Floats) -> None:
        """Add a block of shape (rows, columns)."""
        block = np.ascontiguousarray(block)
        _add(block.view(np.int64), block, self._words, self._infinite)
        self._count += block.shape[1]

    def join(self, other: "ExactSums") -> None:
        """Add what others have added up. Together there may be 2**31 terms, as in one."""
        self._words += other._words
        with np.errstate(invalid="ignore"):  # infinities of both signs give NaN
            self._infinite += other._infinite
        self._count += other._count

    def sums(self) -> Floats:
        """The sum of each row, correctly rounded. Infinities give infinity, or NaN as IEEE addition would."""
        return self._rounded(1)

    def means(self) -> Floats:
        """The mean of each row, correctly rounded: the exact sum is divided, and only the quotient rounded."""
        return self._rounded(self._count)

    def totals(self) -> list[int]:
        """The exact sum of the finite numbers of each row, in units of the smallest double: sums that can be added up."""
        _carry(self._words)
        digits = self._words[:, :-1].astype(np.uint32)
        tops = self._words[:, -1].tolist()
        return [
            int.from_bytes(row.tobytes(), "little") + (top << 32 * (WORDS - 1)) for row, top in zip(digits, tops, strict=True)
        ]

    def _rounded(self, count: int) -> Floats:
        out = self._infinite.copy()
        for row, total in enumerate(self.totals()):
            if out[row] == 0.0:
                out[row] = rounded(total, count)
        return out


def rounded(total: int, count: int = 1) -> float:
    """A total in units of the smallest double, divided by `count` and rounded once; infinite if too large, NaN for 0 / 0."""
    try:
        return total / (count * UNITS_PER_ONE)  # Python rounds a quotient of integers correctly
    except OverflowError:
        return math.inf if total > 0 else -math.inf
    except ZeroDivisionError:
        return math.nan
