"""Tokens of a long expression text, found in compiled code and without the GIL, as `text_reader` needs them.

Only plain text is read: ASCII, without underscores in numbers. Anything else, and anything that is no token, is refused, and
left to `text`, which reads every text and says what is wrong with one.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from app.engine.jit import inline_without_refcounts, jit_without_refcounts
from app.engine.json_tokens import (
    COMMA,
    DOT,
    EXPONENT_LIMIT,
    LOWER_E,
    MAX_DIGITS,
    MINUS,
    NEWLINE,
    NINE,
    PLUS,
    RETURN,
    SPACE,
    TAB,
    TO_LOWER,
    ZERO,
    Bytes,
    is_byte,
    is_digit,
    scale,
)
from app.engine.tape import Floats, Ints

Longs = npt.NDArray[np.int64]

HASH, SEMICOLON, EQUALS, OPEN, CLOSE, STAR, SLASH, LESS, GREATER, NOT, UNDERSCORE = b"#;=()*/<>!_"
FORM_FEED = 0x0C
LOWER_A, LOWER_Z = b"az"

OPERATORS = ("<", "<=", ">", ">=", "==", "!=", "+", "-", "*", "/", "**")
"""The operators between two operands, by their numbers."""
LT, LE, GT, GE, EQ, NE, ADD, SUB, MUL, DIV, POW = range(len(OPERATORS))

NAME, NUMBER, OPERATOR, OPENING, CLOSING, BETWEEN, ASSIGN, END_OF_STATEMENT = range(8)
"""Kinds of tokens. The end of a line is no token within parentheses."""

FINISHED, PAUSED, REFUSED = 0, 1, 2
"""How a part of the work ends."""
P, DEPTH, TOKENS, WORDS, NUMBERS, UNSURE = range(6)
STATE_FIELDS = 6
"""The state of the reading where it pauses: the position, the open parentheses, and how much of the arrays is in use."""

PROBES_PER_BYTE = 4
"""Names that collide more often in the hash table were made to; they are left to a dict."""


class Tokens(NamedTuple):
    """Arrays with room for all tokens of a text.

    Attributes:
        kind: the kind of each token.
        what: which name, number or operator it is.
        spans: where each name begins and ends; equal names are one.
        numbers: the numbers.
        undecided: rows of a position in `numbers`, and where in the text the number begins and ends, for those that compiled
            code cannot round.
        table: a hash table of names, -1 where it is free.
    """

    kind: Bytes
    what: Ints
    spans: Ints
    numbers: Floats
    undecided: Ints
    table: Ints


def room_for(size: int) -> Tokens:
    """Return empty arrays for a text of so many bytes. Memory that is not written to is never allocated."""
    places = 16
    while places < size:  # twice as many as there can be names, with something between each two
        places *= 2
    return Tokens(
        np.empty(size, np.uint8),
        np.empty(size, np.int32),
        np.empty((size // 2 + 1, 2), np.int32),
        np.empty(size // 2 + 1),
        np.empty((size // MAX_DIGITS + 1, 3), np.int32),
        np.full(places, -1, np.int32),
    )


# --- compiled


@inline_without_refcounts
def _is_letter(raw: Bytes, p: int) -> bool:
    """Return whether a letter or an underscore stands at p."""
    return p < len(raw) and (LOWER_A <= raw[p] | TO_LOWER <= LOWER_Z or raw[p] == UNDERSCORE)


@inline_without_refcounts
def _read_number(raw: Bytes, p: int) -> tuple[int, float]:
    """Return the position behind the number at p, or -1, and the nearest double, or NaN if that is to be found by other means.

    Integers with zeros before them are refused.
    """
    first = p
    mantissa = np.uint64(0)
    digits = 0
    point = -1
    while p < len(raw):
        c = raw[p]
        if ZERO <= c <= NINE:
            mantissa = mantissa * np.uint64(10) + np.uint64(c - ZERO)
            digits += 1 if digits > 0 or c != ZERO else 0
        elif c == DOT and point < 0:
            point = p
        else:
            break
        p += 1
    exponent = point + 1 - p if point >= 0 else 0
    whole = point < 0
    if p < len(raw) and raw[p] | TO_LOWER == LOWER_E:
        down = is_byte(raw, p + 1, MINUS)
        q = p + (2 if down or is_byte(raw, p + 1, PLUS) else 1)
        if is_digit(raw, q):
            whole = False
            p, power = q, 0
            while is_digit(raw, p):
                if power < EXPONENT_LIMIT:
                    power = power * 10 + (raw[p] - ZERO)
                p += 1
            exponent += -power if down else power
    if is_byte(raw, p, UNDERSCORE) or (whole and raw[first] == ZERO and p - first > 1):
        return -1, np.nan
    return p, scale(mantissa, exponent) if digits <= MAX_DIGITS else np.nan


@inline_without_refcounts
def _operator(raw: Bytes, p: int) -> tuple[int, int]:
    """Return the operator at p, or -1, and its length."""
    c = raw[p]
    doubled = is_byte(raw, p + 1, STAR if c == STAR else EQUALS)
    if c == PLUS:
        return ADD, 1
    if c == MINUS:
        return SUB, 1
    if c == STAR:
        return (POW, 2) if doubled else (MUL, 1)
    if c == SLASH:
        return DIV, 1
    if c == LESS:
        return (LE, 2) if doubled else (LT, 1)
    if c == GREATER:
        return (GE, 2) if doubled else (GT, 1)
    if doubled and (c == EQUALS or c == NOT):
        return (EQ if c == EQUALS else NE), 2
    return -1, 1


@inline_without_refcounts
def _word_at(raw: Bytes, p: int, end: int, tokens: Tokens, words: int) -> tuple[int, int]:
    """Return the number of the name from p to `end`, which is `words` if it is new, and how often it collided."""
    last_place = len(tokens.table) - 1
    h = np.uint64(0xCBF29CE484222325)  # FNV-1a
    for k in range(p, end):
        h = (h ^ np.uint64(raw[k])) * np.uint64(0x100000001B3)
    place = np.int64((h ^ (h >> np.uint64(32))) & np.uint64(last_place))
    probes = 0
    while tokens.table[place] >= 0:
        word = tokens.table[place]
        first = tokens.spans[word, 0]
        if tokens.spans[word, 1] - first == end - p:
            k = 0
            while k < end - p and raw[first + k] == raw[p + k]:
                k += 1
            if k == end - p:
                return word, probes
        place = (place + 1) & last_place
        probes += 1
    tokens.table[place] = words
    tokens.spans[words, 0], tokens.spans[words, 1] = p, end
    return words, probes


@inline_without_refcounts
def _mark(c: int) -> int:
    """Return the kind of a token of one character, or -1."""
    if c == OPEN:
        return OPENING
    if c == CLOSE:
        return CLOSING
    if c == COMMA:
        return BETWEEN
    if c == EQUALS:
        return ASSIGN
    return END_OF_STATEMENT if c == SEMICOLON or c == NEWLINE or c == RETURN else -1


@jit_without_refcounts
def find_tokens(raw: Bytes, stop: int, tokens: Tokens, state: Longs) -> int:
    """Fill the arrays, up to the first token from `stop` on. Return FINISHED, PAUSED or REFUSED."""
    p, depth, count, words, numbers, unsure = state[P], state[DEPTH], state[TOKENS], state[WORDS], state[NUMBERS], state[UNSURE]
    patience = PROBES_PER_BYTE * (stop - p)
    while p < len(raw) and p < stop:
        c = raw[p]
        if c == SPACE or c == TAB or c == FORM_FEED:
            p += 1
            continue
        if c == HASH:
            while p < len(raw) and raw[p] != NEWLINE and raw[p] != RETURN:
                p += 1
            continue
        if _is_letter(raw, p):
            end = p + 1
            while _is_letter(raw, end) or is_digit(raw, end):
                end += 1
            word, probes = _word_at(raw, p, end, tokens, words)
            patience -= probes
            if patience < 0:
                return REFUSED
            tokens.kind[count], tokens.what[count] = NAME, word
            words = max(words, word + 1)
            p = end
        elif is_digit(raw, p) or (c == DOT and is_digit(raw, p + 1)):
            begin = p
            p, number = _read_number(raw, p)
            if p < 0 or np.isinf(number):
                return REFUSED
            if np.isnan(number):
                tokens.undecided[unsure, 0], tokens.undecided[unsure, 1], tokens.undecided[unsure, 2] = numbers, begin, p
                unsure += 1
            tokens.kind[count], tokens.what[count], tokens.numbers[numbers] = NUMBER, numbers, number
            numbers += 1
        else:
            kind = OPERATOR
            operator, length = _operator(raw, p)
            if operator < 0:
                kind = _mark(c)
                if kind < 0:
                    return REFUSED
                depth += 1 if kind == OPENING else -1 if kind == CLOSING else 0
            p += length
            if kind == END_OF_STATEMENT and depth > 0 and c != SEMICOLON:
                continue
            tokens.kind[count], tokens.what[count] = kind, operator
        count += 1
    state[P], state[DEPTH], state[TOKENS], state[WORDS], state[NUMBERS], state[UNSURE] = p, depth, count, words, numbers, unsure
    return FINISHED if p >= len(raw) else PAUSED
