"""What to write instead in a body that is not JSON.

`MISTAKES` is a table of what people write by hand, or with a program that does not write JSON. Nothing of the body is repeated.
"""

import re
from dataclasses import dataclass

REACH = 60
"""So many characters around the fault are looked at."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake: what stands at the fault or around it, and what to write.

    `pattern` is matched at the fault, or, if `around`, has a match that contains the fault or ends there. `reason` is how the
    standard library's own message begins; empty for any.
    """

    pattern: re.Pattern[str]
    advice: str
    around: bool
    reason: str


def _mistake(pattern: str, advice: str, *, around: bool = False, reason: str = "") -> Mistake:
    return Mistake(re.compile(pattern, re.DOTALL), advice, around, reason)


PLAIN_NUMBER = "a number is written in decimal digits, with a point and a digit on each side of it: 0.5"

MISTAKES = (
    _mistake(r"\A\s*\[object Object\]", "it is a JavaScript object turned into text; send JSON.stringify(body)", around=True),
    _mistake(r"\A\s*\{\{|:\s*\{\{", "a template was not filled in", around=True),
    _mistake(r"\A\s*@", "curl reads a file with --data @name", around=True),
    _mistake(r"\A\s*list\(", "in R, send jsonlite::toJSON(body, auto_unbox = TRUE)", around=True),
    _mistake("", "a closing double quote is missing", reason="unterminated string"),
    _mistake("", r"within a text, a backslash is written \\", reason="invalid \\"),
    _mistake(r"\A\s*[\w.+%-]+=", 'the body is a form; send a JSON object: {"name": "value"}', around=True),
    _mistake(r"\A\s*<", "the body is XML or HTML; send a JSON object", around=True),
    _mistake(r"\A\s*(?:---|\w+:\s)", 'the body is YAML; send a JSON object: {"name": 3}', around=True),
    _mistake(r",\s*[}\]]", 'leave out the comma before } and ]: {"x": 3}, [1, 2]', around=True),
    _mistake(r"//|/\*|#", "JSON has no comments; leave them out"),
    _mistake(r"'", 'names and texts stand in double quotes: {"x": 3}'),
    _mistake(r"[bfru]{1,2}[\"']", "texts stand in double quotes, without a letter before them"),
    _mistake("[“”„‘’«»`]", 'names and texts stand in plain double quotes: {"x": 3}'),
    _mistake(r"(?:True|False|None|TRUE|FALSE|NULL)\b", "they are written true, false and null"),
    _mistake(r"(?:undefined|nil|NA|Nothing)\b", "what is absent is left out, or null"),
    _mistake(r"[A-Za-z_$][\w$]*\s*:", 'names stand in double quotes: {"x": 3}'),
    _mistake(
        r"\d,\s?\d+\s*[,}\]]",
        "decimals follow a point: 0.5, and thousands are not separated: 1000",
        around=True,
        reason="expecting property name",
    ),
    _mistake(r"\s*[-+*/]", "a value is not computed; write the result", reason="expecting ','"),
    _mistake(r"--", "a value is not computed; write the result"),
    _mistake(r"[}\]]", "{ is closed by }, and [ by ]", reason="expecting ','"),
    _mistake(r"\+\s*\d", "a number has no plus sign: 5"),
    _mistake(r"\.\d|0[xXbBoO]", PLAIN_NUMBER),
    _mistake(r"\d\.(?!\d)|\d[xXbBoO_]\w|\d_\d", PLAIN_NUMBER, around=True),
    _mistake(r"(?<![\d.])-?0\d", "a number has no leading zeros: 5", around=True),
    _mistake(r",", "there is a comma too many"),
    _mistake(r"=", 'a name and its value are separated by a colon: {"x": 3}'),
    _mistake(r";", "entries are separated by commas: [1, 2]"),
    _mistake(r"[\n\r\t]", r"within a text, a line break is written \n and a tab \t", reason="invalid control character"),
    _mistake(r"\s*\Z", "it ends too early; a } or ] is missing"),
    _mistake(r"\}\s*\Z", "there is a } too many, or a value is missing before it"),
    _mistake("", 'a name and its value are separated by a colon: {"x": 3}', reason="expecting ':'"),
    _mistake(r"[\[{]", "send one JSON object, not several", reason="extra data"),
    _mistake(r":", 'an object stands in braces: {"x": 3}', reason="extra data"),
    _mistake(r"[\"\w\[{]", "a comma is missing before it", reason="expecting ','"),
    _mistake(r"[A-Za-z]", 'texts stand in double quotes: {"name": "value"}', reason="expecting value"),
)
"""From the special to the general: the first that fits counts."""


def json_advice(text: str, fault: int, reason: str) -> str:
    """Return what to write instead of what stands at index `fault`, as the end of a message, or an empty string.

    `reason` is the standard library's message in lower case.
    """
    return next((f"; {mistake.advice}" for mistake in MISTAKES if _fits(mistake, text, fault, reason)), "")


def _fits(mistake: Mistake, text: str, fault: int, reason: str) -> bool:
    if not reason.startswith(mistake.reason):
        return False
    if not mistake.around:
        return mistake.pattern.match(text, fault) is not None
    found = mistake.pattern.finditer(text, max(0, fault - REACH), fault + REACH)
    return any(match.start() <= fault <= match.end() for match in found)
