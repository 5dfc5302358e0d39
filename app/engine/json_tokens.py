r"""Tokens of a JSON text (RFC 8259) in compiled code: white space, strings, numbers and the three literals.

All functions take the text as an array of bytes and a position, and return the position behind the token, or -1 if there is
no valid token of this kind. They accept nothing that JSON forbids, and neither bad UTF-8 nor lone surrogates (`\ud800`).

Numbers are rounded correctly by the algorithm of D. Lemire, "Number parsing at a gigabyte per second", Software: Practice and
Experience 51 (2021) 1700-1727, in the form without a fallback of N. Mushtak and D. Lemire, "Fast number parsing without
fallback", ibid. 53 (2023) 1467-1471.
"""

import numpy as np
import numpy.typing as npt

from app.engine.jit import inline_without_refcounts

Bytes = npt.NDArray[np.uint8]

QUOTE, COMMA, MINUS, PLUS, DOT, ZERO, NINE, COLON, BACKSLASH = b'",-+.09:\\'
OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT = b"[]{}"
SPACE, TAB, NEWLINE, RETURN = b" \t\n\r"
LOWER_E, LOWER_F, LOWER_N, LOWER_T, LOWER_U = b"efntu"
TO_LOWER = 0x20
"""Setting this bit makes a lower-case letter of an upper-case one."""

TRUE, FALSE, NULL = (np.frombuffer(word, np.uint8) for word in (b"true", b"false", b"null"))

MAX_DIGITS = 19
"""Decimal digits that always fit into 64 bits."""
MIN_POWER, MAX_POWER = -342, 308
"""A number of up to 19 digits times a smaller power of ten rounds to 0; times a larger one it exceeds every double."""
EXPONENT_LIMIT = 10**17
"""Larger exponents in a text are cut off here, far beyond what any number of digits could make up for."""

EXACT_POWERS: npt.NDArray[np.float64] = np.array([10.0**k for k in range(23)])
"""The powers of ten that a double holds exactly."""


def _powers_of_five() -> npt.NDArray[np.uint64]:
    """The 128 leading bits of 5**q for q from MIN_POWER to MAX_POWER, as (high, low) words.

    Rounded down for q >= 0, where 5**q is exact up to q = 55, and up for q < 0, as the proof in the paper requires.
    """
    table = np.empty((MAX_POWER - MIN_POWER + 1, 2), np.uint64)
    for q in range(MIN_POWER, MAX_POWER + 1):
        power = 5 ** abs(q)
        if q >= 0:
            bits = power << 128 >> power.bit_length()
        else:
            size = (power - 1).bit_length()
            shift = size + 127 if q >= -27 else 2 * size + 128
            bits = (1 << shift) // power + 1
            bits >>= max(bits.bit_length() - 128, 0)
        table[q - MIN_POWER] = bits >> 64, bits & (2**64 - 1)
    return table


FIVES = _powers_of_five()


@inline_without_refcounts
def skip_space(raw: Bytes, p: int) -> int:
    """Return the position of the next byte that is not white space, or the end of the text."""
    while p < len(raw) and (raw[p] == SPACE or raw[p] == NEWLINE or raw[p] == RETURN or raw[p] == TAB):
        p += 1
    return p


@inline_without_refcounts
def is_byte(raw: Bytes, p: int, byte: int) -> bool:
    """Return whether this byte stands at p, which may be the end of the text."""
    return p < len(raw) and raw[p] == byte


@inline_without_refcounts
def is_digit(raw: Bytes, p: int) -> bool:
    """Return whether a decimal digit stands at p."""
    return p < len(raw) and ZERO <= raw[p] <= NINE


@inline_without_refcounts
def word_end(raw: Bytes, p: int, word: Bytes) -> int:
    """Return the position behind `word`, which is expected at p."""
    if p + len(word) > len(raw):
        return -1
    for k in range(len(word)):
        if raw[p + k] != word[k]:
            return -1
    return p + len(word)


@inline_without_refcounts
def character_end(raw: Bytes, p: int) -> int:
    """Return the position behind a character beyond ASCII, in well-formed UTF-8 (Unicode Standard, table 3-7)."""
    c = raw[p]
    low, high = 0x80, 0xBF
    if 0xC2 <= c <= 0xDF:
        more = 1
    elif 0xE0 <= c <= 0xEF:
        more = 2
        low = 0xA0 if c == 0xE0 else 0x80
        high = 0x9F if c == 0xED else 0xBF
    elif 0xF0 <= c <= 0xF4:
        more = 3
        low = 0x90 if c == 0xF0 else 0x80
        high = 0x8F if c == 0xF4 else 0xBF
    else:
        return -1
    if p + more >= len(raw) or not low <= raw[p + 1] <= high:
        return -1
    for k in range(2, more + 1):
        if not 0x80 <= raw[p + k] <= 0xBF:
            return -1
    return p + more + 1


@inline_without_refcounts
def code_unit(raw: Bytes, p: int) -> int:
    r"""Return the number that the escape `\uXXXX` at p stands for, or -1 if there is none."""
    if p + 6 > len(raw) or raw[p] != BACKSLASH or raw[p + 1] != LOWER_U:
        return -1
    unit = 0
    for k in range(p + 2, p + 6):
        letter = raw[k] | TO_LOWER
        if ZERO <= raw[k] <= NINE:
            unit = unit * 16 + (raw[k] - ZERO)
        elif 0x61 <= letter <= 0x66:
            unit = unit * 16 + (letter - 0x61 + 10)
        else:
            return -1
    return unit


@inline_without_refcounts
def escape_end(raw: Bytes, p: int) -> int:
    """Return the position behind the escape that begins at p with a backslash."""
    if p + 1 >= len(raw):
        return -1
    c = raw[p + 1]
    if c == LOWER_U:
        unit = code_unit(raw, p)
        if unit < 0 or 0xDC00 <= unit <= 0xDFFF:
            return -1
        if 0xD800 <= unit <= 0xDBFF:  # the first of a pair
            return p + 12 if 0xDC00 <= code_unit(raw, p + 6) <= 0xDFFF else -1
        return p + 6
    simple = c == QUOTE or c == BACKSLASH or c == 0x2F or c == 0x62 or c == LOWER_F or c == LOWER_N or c == 0x72 or c == LOWER_T
    return p + 2 if simple else -1


@inline_without_refcounts
def string_end(raw: Bytes, p: int, stop: int) -> int:
    """Return the position of the closing quote of a string, of which the next character to read stands at p.

    If the string goes on at `stop`, the position is that of its first character from there on, which is no quote.
    """
    while p < len(raw):
        c = raw[p]
        if c == QUOTE or p >= stop:
            return p
        if c < SPACE:
            return -1
        if c == BACKSLASH:
            p = escape_end(raw, p)
        elif c >= 0x80:
            p = character_end(raw, p)
        else:
            p += 1
        if p < 0:
            return -1
    return -1


@inline_without_refcounts
def read_number(raw: Bytes, p: int) -> tuple[int, float]:
    """Return the position behind the number at p, and the nearest double.

    The double is NaN if it has to be found by other means (more than 19 digits, and a value that the first 19 do not
    decide), and infinite if the number exceeds every double. An integer -0 is 0.0, as it is in Python and in JavaScript's
    integers; -0.0 and -0e0 are -0.0.
    """
    negative = is_byte(raw, p, MINUS)
    first = p + 1 if negative else p
    p = first
    mantissa = np.uint64(0)
    while p < len(raw) and ZERO <= raw[p] <= NINE:
        mantissa = mantissa * np.uint64(10) + np.uint64(raw[p] - ZERO)
        p += 1
    digits = p - first
    if digits == 0 or (digits > 1 and raw[first] == ZERO):
        return -1, np.nan
    whole = True
    exponent = 0
    if is_byte(raw, p, DOT):
        whole = False
        point = p
        p += 1
        while p < len(raw) and ZERO <= raw[p] <= NINE:
            mantissa = mantissa * np.uint64(10) + np.uint64(raw[p] - ZERO)
            p += 1
        exponent = point + 1 - p
        if exponent == 0:
            return -1, np.nan
        digits -= exponent
    last = p
    power = 0
    if p < len(raw) and raw[p] | TO_LOWER == LOWER_E:
        whole = False
        down = is_byte(raw, p + 1, MINUS)
        p += 2 if down or is_byte(raw, p + 1, PLUS) else 1
        if not is_digit(raw, p):
            return -1, np.nan
        while is_digit(raw, p):
            if power < EXPONENT_LIMIT:
                power = power * 10 + (raw[p] - ZERO)
            p += 1
        if down:
            power = -power
    number = scale(mantissa, exponent + power) if digits <= MAX_DIGITS else _read_long(raw, first, last, power)
    return p, -number if negative and not (whole and number == 0.0) else number


@inline_without_refcounts
def _read_long(raw: Bytes, first: int, last: int, power: int) -> float:
    """Return the double nearest to the digits from `first` to `last`, of which there are many, times 10**power; or NaN.

    The number lies between its first 19 digits and their successor. If both round to the same double, so does the number.
    """
    mantissa = np.uint64(0)
    taken = 0
    exponent = power
    cut = False
    fraction = False
    for k in range(first, last):
        if raw[k] == DOT:
            fraction = True
        elif taken == MAX_DIGITS:
            cut |= raw[k] != ZERO
            exponent += 0 if fraction else 1
        else:
            mantissa = mantissa * np.uint64(10) + np.uint64(raw[k] - ZERO)
            taken += 1 if mantissa != 0 else 0
            exponent -= 1 if fraction else 0
    below = scale(mantissa, exponent)
    if not cut or below == scale(mantissa + np.uint64(1), exponent):
        return below
    return np.nan


@inline_without_refcounts
def scale(mantissa: np.uint64, exponent: int) -> float:
    """Return mantissa * 10**exponent, rounded to the nearest double, ties to even; infinity beyond the largest."""
    if mantissa == 0 or exponent < MIN_POWER:
        return 0.0
    if exponent > MAX_POWER:
        return np.inf
    if mantissa <= np.uint64(1 << 53) and -22 <= exponent <= 22:  # two exact doubles and one rounding (Clinger, 1990)
        power: float = EXACT_POWERS[abs(exponent)]
        return float(mantissa) / power if exponent < 0 else float(mantissa) * power
    zeros = _leading_zeros(mantissa)
    w = mantissa << np.uint64(zeros)
    high, low = _product(w, FIVES[exponent - MIN_POWER, 0])
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):  # the low word of the power may carry into the bits that count
        carry, _ = _product(w, FIVES[exponent - MIN_POWER, 1])
        low += carry
        if low < carry:
            high += np.uint64(1)
    upper = np.int64(high >> np.uint64(63))
    shift = np.uint64(upper + 9)
    bits = high >> shift  # 53 bits of the double and one to round by
    biased = ((217706 * exponent) >> 16) + 63 + upper - zeros + 1023  # 217706 / 2**16 is just over log2(10)
    if biased <= 0:  # below the normal numbers, with fewer bits
        if biased < -62:
            return 0.0
        bits >>= np.uint64(1 - biased)
        return _as_double((bits + (bits & np.uint64(1))) >> np.uint64(1))
    halfway = low <= np.uint64(1) and -4 <= exponent <= 23 and bits & np.uint64(3) == np.uint64(1) and bits << shift == high
    if halfway:  # a tie; the even neighbour is below
        bits -= np.uint64(1)
    bits = (bits + (bits & np.uint64(1))) >> np.uint64(1)
    # The leading bit, 2**52, adds 1 to the exponent's field; a mantissa rounded up to 2**53 adds 2 and leaves zeros.
    if biased + np.int64(bits >> np.uint64(53)) >= 0x7FF:
        return np.inf
    return _as_double((np.uint64(biased - 1) << np.uint64(52)) + bits)


@inline_without_refcounts
def _as_double(bits: np.uint64) -> float:
    """Return the double with this representation."""
    return np.uint64(bits).view(np.float64)


@inline_without_refcounts
def _leading_zeros(x: np.uint64) -> int:
    """Return the number of zero bits before the first one bit of x, which is not 0."""
    exponent = np.int64(np.float64(x).view(np.uint64) >> np.uint64(52)) - 1023  # one too large where x was rounded up
    return int(63 - exponent + (0 if exponent < 64 and x >> np.uint64(exponent) != 0 else 1))


@inline_without_refcounts
def _product(x: np.uint64, y: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return the high and the low word of the product of two words."""
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    x_high, x_low, y_high, y_low = x >> half, x & mask, y >> half, y & mask
    middle = x_high * y_low + ((x_low * y_low) >> half)
    other = x_low * y_high + (middle & mask)
    return x_high * y_high + (middle >> half) + (other >> half), x * y
