"""Doubles in base64, the bytes of little-endian IEEE 754 doubles (RFC 4648, section 4), read and written in compiled code.

The standard library holds the GIL for the whole of a text, needs a copy of it, and does not look at the numbers. Here a text is
read straight into an array, or written from one, in pieces of some milliseconds without the GIL.

>>> read(b"AAAAAAAA8D8AAAAAAAAAQA==")
array([1., 2.])
>>> b"".join(map(bytes, write(np.array([1.0, 2.0]))))
b'AAAAAAAA8D8AAAAAAAAAQA=='
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.engine.interruption import Checkpoint, never
from app.engine.jit import inline_without_refcounts, jit_without_refcounts
from app.engine.json_tokens import BACKSLASH, LOWER_U, MINUS, NEWLINE, QUOTE, RETURN, SPACE, TAB, Bytes, code_unit

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint32]
Pairs = npt.NDArray[np.uint16]
Bits = npt.NDArray[np.uint64]

ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
SLASH, PAD, UNDERSCORE = b"/=_"
ASCII = 0x80

UNIT_CHARACTERS, UNIT_DOUBLES = 32, 3
"""What is decoded at once: the shortest text that is whole doubles and whole groups of four characters."""
CHARACTERS_PER_CHECK = 1 << 22
"""How much text is read between two checks: some milliseconds."""
DOUBLES_PER_PIECE = 3 << 14
"""How many doubles are written at once. A multiple of three, so that only the last piece needs padding. Their text, half a
megabyte, is memory that the heap keeps and uses again, where a larger block would be new from the system each time."""
EXPONENT = np.uint64(0x7FF0000000000000)
"""The bits that are all set where a double is infinite or NaN."""
BAD = np.uint32(1 << 24)
"""Set in the tables for a byte that is not in the alphabet."""


FAULTS = ("character", "URL", "space", "padding", "length", "bits", "not finite")
"""What can be wrong with a text: a character is not in the alphabet; it is - or _, of the alphabet for URLs; it is a space or a
line break; the padding is missing, or too much, or followed by something; the bytes are not whole doubles; the last character
has bits that belong to no byte; a double is infinite or NaN."""
CHARACTER_FAULT, URL_FAULT, SPACE_FAULT, PADDING_FAULT, LENGTH_FAULT, BITS_FAULT, FINITE_FAULT = range(1, len(FAULTS) + 1)

FINISHED, PAUSED = 0, -1
"""How a part of the reading ends, if not at a fault."""


@dataclass(frozen=True, slots=True)
class BrokenDoubles:
    """A text that holds no finite doubles in base64: what is wrong, one of FAULTS, and where.

    `position` is that of the first wrong character, the length of the text where its end is wrong, or, where a double is not
    finite, the position of this double in the list.
    """

    fault: str
    position: int


def _tables() -> Words:
    """The bits of each character, in each of the four places of a group, in the order of little-endian bytes."""
    tables = np.full((4, 256), BAD, np.uint32)
    for value, character in enumerate(ALPHABET):
        for place in range(4):
            tables[place, character] = int.from_bytes((value << 18 - 6 * place).to_bytes(3, "big"), "little")
    return tables


def _pairs() -> Pairs:
    """The two characters for each 12 bits, in the order of little-endian bytes."""
    return np.array([ALPHABET[k >> 6] | ALPHABET[k & 63] << 8 for k in range(4096)], np.uint16)


TABLES = _tables()
PAIRS = _pairs()
VALUES = np.full(256, 255, np.uint8)
"""The six bits of each character; 255 for a byte that is not in the alphabet."""
VALUES[np.frombuffer(ALPHABET, np.uint8)] = np.arange(64)


def read(text: bytes | bytearray | memoryview, check: Checkpoint = never) -> Floats | BrokenDoubles:
    r"""The doubles in a text, or what is wrong with it.

    The text may have JSON's escapes, since some libraries write `\/` for `/` and `\u002B` for `+`; it ends where it ends or at
    a quote. `check` is called every few milliseconds. The array takes 8 bytes for each number.
    """
    raw = np.frombuffer(text, np.uint8)
    raw.flags.writeable = False  # as the kernels are compiled for, whatever `text` is
    numbers = np.empty(capacity(len(raw)))
    p, used, outcome = 0, 0, PAUSED
    while outcome == PAUSED:
        check()
        outcome, p, used = _read(raw, p, p + CHARACTERS_PER_CHECK, numbers, used)
    if outcome == FINISHED:
        return numbers[:used]
    return BrokenDoubles(FAULTS[outcome - 1], used if outcome == FINITE_FAULT else _count_characters(raw[:p], check))


def capacity(size: int) -> int:
    """The most doubles that a text of `size` bytes holds."""
    return size * UNIT_DOUBLES // UNIT_CHARACTERS + 1


def length(count: int) -> int:
    """The number of characters of `count` doubles."""
    return (8 * count + 2) // 3 * 4


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A part of an array whose text is made when it is needed. Its length is that of the text.

    `words` are the bits of the doubles, read-only and at most DOUBLES_PER_PIECE.
    """

    words: Bits

    def __len__(self) -> int:
        return length(len(self.words))

    def text(self) -> memoryview:
        """The text, which takes a fifth of a millisecond at most."""
        text = np.empty(len(self), np.uint8)
        _write(self.words, text.view(np.uint16))
        spare = -8 * len(self.words) % 3
        if spare:
            text[-spare:] = PAD
        return text.data


def parts(numbers: Floats) -> Iterator[Part]:
    """An array of float64, of any shape, in parts whose texts are its text. It must not change until they are made."""
    words = np.ascontiguousarray(numbers, "<f8").reshape(-1).view(np.uint64)
    words.flags.writeable = False  # as the kernel is compiled for
    for low in range(0, len(words), DOUBLES_PER_PIECE):
        yield Part(words[low : low + DOUBLES_PER_PIECE])


def write(numbers: Floats) -> Iterator[memoryview]:
    """The text of an array of float64, of any shape, in pieces."""
    return (part.text() for part in parts(numbers))


def _count_characters(raw: Bytes, check: Checkpoint) -> int:
    r"""The number of characters, where each escape is one: `\/` has two bytes, any other one six."""
    count = len(raw)
    for low in range(0, len(raw), CHARACTERS_PER_CHECK):
        check()
        escapes = low + np.flatnonzero(raw[low : low + CHARACTERS_PER_CHECK] == BACKSLASH)
        count -= len(escapes) + 4 * int(np.count_nonzero(raw[escapes + 1] == LOWER_U))
    return count


# --- compiled


@inline_without_refcounts
def _character(raw: Bytes, p: int) -> tuple[int, int]:
    """Return the character at p and the position behind it: -1 at the end of the text or at its quote; 0 if it is not ASCII."""
    if p >= len(raw) or raw[p] == QUOTE:
        return -1, p
    if raw[p] != BACKSLASH:
        return int(raw[p]), p + 1
    if p + 1 < len(raw) and raw[p + 1] == SLASH:
        return SLASH, p + 2
    unit = code_unit(raw, p)
    return (unit, p + 6) if 0 <= unit < ASCII else (0, p + 2)


@inline_without_refcounts
def _fault_of(character: int) -> int:
    """Say what is wrong with a character that is not in the alphabet."""
    if character == MINUS or character == UNDERSCORE:
        return URL_FAULT
    if character == SPACE or character == NEWLINE or character == RETURN or character == TAB:
        return SPACE_FAULT
    return CHARACTER_FAULT


@inline_without_refcounts
def _end(raw: Bytes, p: int, count: int, spare: int, whole: bool) -> tuple[int, int]:
    """Return whether a text ends as it should behind `count` characters of its last unit, and the position of its end.

    `spare` are the bits that belong to no byte. `whole` says that the bytes are whole doubles.
    """
    pads = 0
    character, after = _character(raw, p)
    while character == PAD:
        pads += 1
        p = after
        character, after = _character(raw, p)
    if character >= 0 or pads > 2 or (count + pads) % 4 != 0:
        return PADDING_FAULT, p
    if not whole:
        return LENGTH_FAULT, p
    return (FINISHED if spare == 0 else BITS_FAULT), p


@inline_without_refcounts
def _read_unit(raw: Bytes, p: int, numbers: Floats, used: int) -> tuple[int, int, int]:
    """Read a unit character by character, as `read_doubles` does: it may have escapes, be the last, or have a fault."""
    bits = np.uint64(0)  # of which the lowest `waiting` belong to the next byte
    waiting = 0
    word = np.uint64(0)
    size = 0  # bytes in the word
    for count in range(UNIT_CHARACTERS):
        character, after = _character(raw, p)
        if character == -1 or character == PAD:
            outcome, end = _end(raw, p, count, int(bits & ((np.uint64(1) << np.uint64(waiting)) - np.uint64(1))), size == 0)
            return outcome, end, used
        if character >= ASCII or VALUES[character] == 255:
            return _fault_of(character), p, used
        p = after
        bits = bits << np.uint64(6) | np.uint64(VALUES[character])
        waiting += 6
        if waiting >= 8:
            waiting -= 8
            word |= (bits >> np.uint64(waiting) & np.uint64(255)) << np.uint64(8 * size)
            size += 1
        if size == 8:
            if word & EXPONENT == EXPONENT:
                return FINITE_FAULT, p, used
            numbers[used] = np.uint64(word).view(np.float64)
            used += 1
            word = np.uint64(0)
            size = 0
    return PAUSED, p, used


@inline_without_refcounts
def _group(raw: Bytes, p: int) -> np.uint64:
    """Return the three bytes of four characters, the first lowest, and a higher bit if a character is not in the alphabet."""
    return np.uint64(TABLES[0, raw[p]] | TABLES[1, raw[p + 1]] | TABLES[2, raw[p + 2]] | TABLES[3, raw[p + 3]])


@inline_without_refcounts
def read_doubles(raw: Bytes, p: int, stop: int, numbers: Floats, used: int) -> tuple[int, int, int]:
    """Read the doubles of a text, of which the next whole unit begins at p, into `numbers[used:]`.

    Returns FINISHED, PAUSED (behind the first unit that ends at `stop` or later) or one of the faults; a position; and the new
    `used`. Where the text is FINISHED, the position is that of its end or of its quote; at a fault, that of the wrong character
    or of the end, and `used` is then the position of a double that is not finite.
    """
    while p < stop:
        outcome = PAUSED
        bad = np.uint64(1) << np.uint64(24)
        if p + UNIT_CHARACTERS <= len(raw):
            a, b, c, d = _group(raw, p), _group(raw, p + 4), _group(raw, p + 8), _group(raw, p + 12)
            e, f, g, h = _group(raw, p + 16), _group(raw, p + 20), _group(raw, p + 24), _group(raw, p + 28)
            bad = (a | b | c | d | e | f | g | h) & bad
            first = a | b << np.uint64(24) | c << np.uint64(48)
            second = c >> np.uint64(16) | d << np.uint64(8) | e << np.uint64(32) | f << np.uint64(56)
            third = f >> np.uint64(8) | g << np.uint64(16) | h << np.uint64(40)
            infinite = first & EXPONENT == EXPONENT or second & EXPONENT == EXPONENT or third & EXPONENT == EXPONENT
            if bad == np.uint64(0) and not infinite:
                numbers[used] = np.uint64(first).view(np.float64)
                numbers[used + 1] = np.uint64(second).view(np.float64)
                numbers[used + 2] = np.uint64(third).view(np.float64)
                used += UNIT_DOUBLES
                p += UNIT_CHARACTERS
                continue
        outcome, p, used = _read_unit(raw, p, numbers, used)
        if outcome != PAUSED:
            return outcome, p, used
    return PAUSED, p, used


@jit_without_refcounts
def _read(raw: Bytes, p: int, stop: int, numbers: Floats, used: int) -> tuple[int, int, int]:
    """Read a part of a text, as `read_doubles` does."""
    return read_doubles(raw, p, stop, numbers, used)


@inline_without_refcounts
def _swap(word: np.uint64) -> np.uint64:
    """Return the bytes of a word in the opposite order."""
    low, middle = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
    word = (word >> np.uint64(8) & low) | (word & low) << np.uint64(8)
    word = (word >> np.uint64(16) & middle) | (word & middle) << np.uint64(16)
    return word >> np.uint64(32) | word << np.uint64(32)


@inline_without_refcounts
def _write_pairs(text: Pairs, at: int, bits: np.uint64, shift: int, count: int) -> None:
    """Write `count` pairs of characters: 12 bits each, of which the lowest of the first is bit number `shift`."""
    for k in range(count):
        text[at + k] = PAIRS[bits >> np.uint64(shift - 12 * k) & np.uint64(0xFFF)]


@jit_without_refcounts
def _write(words: Bits, text: Pairs) -> None:
    """Write the doubles whose bits are `words`. Places of padding get something else."""
    units = len(words) // UNIT_DOUBLES
    for k in range(units):
        a, b, c = _swap(words[3 * k]), _swap(words[3 * k + 1]), _swap(words[3 * k + 2])
        at = 16 * k
        _write_pairs(text, at, a, 52, 5)
        text[at + 5] = PAIRS[(a & np.uint64(0xF)) << np.uint64(8) | b >> np.uint64(56)]
        _write_pairs(text, at + 6, b, 44, 4)
        text[at + 10] = PAIRS[(b & np.uint64(0xFF)) << np.uint64(4) | c >> np.uint64(60)]
        _write_pairs(text, at + 11, c, 48, 5)
    rest, at = len(words) - UNIT_DOUBLES * units, 16 * units
    if rest > 0:
        a, b = _swap(words[3 * units]), np.uint64(0)
        if rest == 2:
            b = _swap(words[3 * units + 1])
            _write_pairs(text, at + 6, b, 44, 4)
            text[at + 10] = PAIRS[(b & np.uint64(0xFF)) << np.uint64(4)]
        _write_pairs(text, at, a, 52, 5)
        text[at + 5] = PAIRS[(a & np.uint64(0xF)) << np.uint64(8) | b >> np.uint64(56)]
