"""What to write instead of what stands in a text that is no expression.

`RULES` is a table of how other languages, spreadsheets, pocket calculators and people write: each row has a pattern, what to
say, and how it is written here, if it can mean only one thing. A text is rewritten by one rule after another until it can be
read, and only then shown; where no rules lead there, the first rule's advice is given alone.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from keyword import kwlist
from typing import NamedTuple
from unicodedata import decimal, normalize

from app.engine.foreign_names import FORMULAS, RENAMED, SPREADSHEET_NAMES
from app.engine.primitives import ALIASES, WIRE

REWRITTEN_LENGTH = 200
"""Longer statements are not rewritten: nobody would find the change in them, and patterns take time."""

MAX_REWRITES = 40

LETTERS = r"[^\W\d]\w*"
NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
GROUP = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
"""Parentheses with at most two levels of others inside."""
ATOM = rf"(?:{LETTERS}{GROUP}|{GROUP}|{LETTERS}|{NUMBER})"
FUNCTION = r"\b(?P<function>" + "|".join(sorted([*WIRE, *ALIASES, *({*RENAMED} - {"if"})], key=len, reverse=True)) + r")"
MODULES = r"\b(?:(?:np|numpy|math|Math|torch|tf|jnp|jax|scipy|special|nn|functional|F|K|sp|sympy|cmath|mpmath|keras)\.)+"
SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
WORDS = "derivative|integral|integrate|differentiate|gradient|slope|with respect|what is|find|solve|compute|calculate|evaluate"
WORDS += "|plus|minus|times|divided by|multiplied by|squared|cubed|to the power"
RESERVED = "|".join(word for word in kwlist if word not in ("if", "else", "and", "or", "not", "True", "False", "None"))


class Fault(NamedTuple):
    """Where a text cannot be read: the token from `at` to `end`."""

    at: int
    end: int


class Advice(NamedTuple):
    """What to write in words, and the statement as it should be, or None where it could mean several things."""

    words: str
    statement: str | None


class Replacement(NamedTuple):
    """What stands from `begin` to `end`, where that is more than a rule's match."""

    begin: int
    end: int
    text: str


Rewrite = Callable[[re.Match[str]], "str | Replacement | None"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A way of writing that expressions do not have.

    Attributes:
        pattern: what it looks like.
        words: what to say. May have groups of the match in it, as templates of `re` have.
        rewrite: a template of `re`, or a function; None, or a function that returns None, if there is no single meaning.
        anywhere: whether the match need not touch the token that cannot be read.
        before: whether the match ends where that token begins.
        applies: whether a match is one; by default every match.
    """

    pattern: re.Pattern[str]
    words: str
    rewrite: str | Rewrite | None = None
    anywhere: bool = False
    before: bool = False
    applies: Callable[[re.Match[str]], bool] = bool

    def advice(self, statement: str, fault: Fault) -> Advice | None:
        """Return the advice of this rule if it applies."""
        for match in self.pattern.finditer(statement):
            if self._is_at(match, fault) and self.applies(match):
                return Advice(match.expand(self.words), self._rewritten(match))
        return None

    def _is_at(self, match: re.Match[str], fault: Fault) -> bool:
        if self.before:
            return match.end() == fault.at
        touches = match.start() < fault.end and match.end() > fault.at
        return self.anywhere or touches or fault.at == fault.end == match.end()

    def _rewritten(self, match: re.Match[str]) -> str | None:
        made = match.expand(self.rewrite) if isinstance(self.rewrite, str) else self.rewrite and self.rewrite(match)
        if isinstance(made, str):
            made = Replacement(match.start(), match.end(), made)
        return made and match.string[: made.begin] + made.text + match.string[made.end :]


def advise(text: str, fault: Fault, fault_of: Callable[[str], Fault | None]) -> Advice | None:
    """Return what to write instead of what is wrong in `text`, or None if that cannot be guessed.

    `fault_of` returns where a statement cannot be read, or None if it can.
    """
    statement, offset = _statement(text, fault.at)
    if len(statement) > REWRITTEN_LENGTH:
        return None
    first = _advice(statement, Fault(fault.at - offset, fault.end - offset))
    advice = first
    for _ in range(MAX_REWRITES):
        if first is None or advice is None or advice.statement is None:
            break
        if len(advice.statement) > 2 * REWRITTEN_LENGTH:
            break
        next_fault = fault_of(advice.statement)
        if next_fault is None:
            return Advice(first.words, advice.statement.strip())
        advice = _advice(advice.statement, next_fault)
    return first and Advice(first.words, None)


def _advice(statement: str, fault: Fault) -> Advice | None:
    return next(filter(None, (rule.advice(statement, fault) for rule in RULES)), None)


def _statement(text: str, at: int) -> tuple[str, int]:
    """Return the statement around the index `at`, without a comment, and where it begins."""
    breaks = [found for found in (text.rfind("\n", 0, at), text.rfind("\r", 0, at)) if found >= 0]
    begin = max(breaks) + 1 if breaks else 0
    end = min((found for found in (text.find("\n", at), text.find("\r", at)) if found >= 0), default=len(text))
    line = text[begin : min(end, begin + 50 * REWRITTEN_LENGTH)]
    depth, start = 0, 0
    for k, character in enumerate(line):
        depth += (character in "([{") - (character in ")]}")
        if character == "#":
            return line[start:k], begin + start
        if character == ";" and depth <= 0:
            if begin + k >= at:
                return line[start:k], begin + start
            start = k + 1
    return line[start:], begin + start


def _region(match: re.Match[str]) -> tuple[int, int]:
    """Return the bounds of the operand of words such as `and` around a match: up to brackets, commas, `if` and `else`."""
    text = match.string
    begin, depth = match.start(), 0
    while begin > 0 and not (depth == 0 and (text[begin - 1] in "([{,;?:" or _is_border(text[:begin]))):
        begin -= 1
        depth += (text[begin] in ")]}") - (text[begin] in "([{")
    end, depth = match.end(), 0
    while end < len(text) and not (depth == 0 and (text[end] in ")]},;?:" or re.match(r"\b(?:if|else)\b", text[end:]))):
        depth += (text[end] in "([{") - (text[end] in ")]}")
        end += 1
    return begin, end


def _is_border(before: str) -> bool:
    return bool(re.search(r"(?:\b(?:if|else)\s*|(?<![<>=!])=\s*)$", before))


def _whole(match: re.Match[str], text: str) -> Replacement:
    """Return the replacement of the whole statement."""
    return Replacement(0, len(match.string), text)


COMPARISON = re.compile(r"[^<>=!]+(?:<=|>=|==|!=|<|>)[^<>=!]+")


def _joined(joint: str, form: Callable[[list[str]], str]) -> Rewrite:
    """Return a rewriting of comparisons that are joined by `joint`, a pattern."""

    def make(region: str) -> str | None:
        parts = [part.strip() for part in re.split(joint, region)]
        return form([_bare(part) for part in parts]) if all(map(_is_comparison, parts)) else None

    def rewrite(match: re.Match[str]) -> Replacement | None:
        begin, end = _region(match)
        made = make(match.string[begin:end])
        space = " " if match.string[begin:end].startswith(" ") else ""
        return None if made is None else Replacement(begin, end, f"{space}{made}{' ' if match.string[end:].strip() else ''}")

    return rewrite


def _is_comparison(text: str) -> bool:
    return bool(COMPARISON.fullmatch(_bare(text))) and not re.search(r"\b(?:and|or|not|if|else)\b|&&|\|\||[?:]", text)


def _bare(text: str) -> str:
    """Return a text without parentheses around the whole of it."""
    return text[1:-1].strip() if re.fullmatch(GROUP, text) else text


def _bracketed(match: re.Match[str], text: str) -> str:
    """Return a text in parentheses, unless the match stands between brackets, commas or ends."""
    before, after = match.string[: match.start()].rstrip(), match.string[match.end() :].lstrip()
    alone = (not before or before[-1] in "(,") and (not after or after[0] in "),")
    return text if alone else f"({text})"


def _arguments(text: str) -> list[str]:
    """Return the parts of a list of arguments, which are separated by commas or semicolons."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character in ",;" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _here(name: str) -> str | None:
    """Return the name of a function here, or None if there is none."""
    plain = name.lower()
    known = plain if plain in WIRE or plain in ALIASES else RENAMED.get(plain)
    return known if known in WIRE or known in ALIASES else None


def _is_product(match: re.Match[str]) -> bool:
    """Whether what stands before and after a gap are operands, and not two numbers or a function and its argument."""
    before, after = match.string[: match.start()], match.string[match.end() :]
    word = re.search(rf"{LETTERS}$", before)
    if word and (word.group() in kwlist or _here(word.group())):
        return False
    following = re.match(LETTERS, after)
    return not (following and following.group() in kwlist) and not after[0].isdigit()


def _is_row(match: re.Match[str]) -> bool:
    """Whether brackets hold several numbers that only blanks separate, as in MATLAB, where `[x -1]` has two."""
    return bool(re.search(r"[\w)]\s+[-+]?[\w(]", match["rest"]))


def _is_open_product(match: re.Match[str]) -> bool:
    """Whether a quotient or a power before a product leaves open how far it goes."""
    before = match.string[: match.start()]
    return _is_product(match) and bool(re.search(rf"(?:/|\^|\*\*)\s*[-+]?\s*{ATOM}$", before))


def _ternary(match: re.Match[str]) -> str | None:
    if match.string.count("?") > 1:
        return None
    condition, a, b = (match[name].strip() for name in ("c", "a", "b"))
    return f"{match['name'] or ''}{_bracketed(match, f'{a} if {_bare(condition)} else {b}')}"


def _bars(match: re.Match[str]) -> Replacement | None:
    """Absolute values: bars in pairs, each opened before an operand and closed after one."""
    text = match.string
    parts = text.split("|")
    if len(parts) % 2 == 0 or any(not part.strip() for part in parts[1::2]):
        return None
    if len(parts) > 3 and any(part.strip() and part.strip()[0] not in "+-*/),<>=" for part in parts[2::2]):
        return None
    fixed = "".join(f"abs({part})" if k % 2 else part for k, part in enumerate(parts))
    return _whole(match, fixed)


def _formula(match: re.Match[str]) -> str | None:
    """A call of a function that a formula gives."""
    names, formula, where = FORMULAS[match["name"].lower()]
    parameters, arguments = names.split(", "), _arguments(match["arguments"][1:-1])
    if where or len(parameters) != len(arguments) or not all(arguments):
        return None
    given = {
        name: argument if re.fullmatch(rf"{LETTERS}|{NUMBER}|{GROUP}|{LETTERS}{GROUP}", argument) else f"({argument})"
        for name, argument in zip(parameters, arguments, strict=True)
    }
    filled = re.sub(LETTERS, lambda name: given.get(name.group(), name.group()), formula)
    return _bracketed(match, re.sub(rf"\(({GROUP})\)", r"\1", filled))


def _method(match: re.Match[str]) -> str:
    inside = [_bare(match["object"]), *filter(None, [match["rest"].strip()])]
    return f"{_here(match['name'])}({', '.join(inside)})"


GREEK = {"alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota", "kappa"}
GREEK |= {"lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi", "omega"}
GREEK |= {name.capitalize() for name in GREEK}


def _latex(match: re.Match[str]) -> Replacement | None:
    """The whole statement, with LaTeX's commands as they are written here."""
    text = match.string
    text = re.sub(r"\\left|\\right|\\[,;:! ]", "", text)
    text = re.sub(r"\\(?:operatorname|mathrm|text)\{(\w+)\}", r"\1", text)
    text = re.sub(r"_\{(\w+)\}", r"_\1", text)
    text = re.sub(r"\\log_(2|10)(?!\d)", r"\\log\1", text)
    if re.search(r"\\[a-zA-Z]+_|\\frac\s*\{\s*d\b", text):  # a base, or limits; a derivative
        return None
    text = re.sub(r"\\l[vV]ert\b\s*(.*?)\s*\\r[vV]ert\b", r"abs(\1)", text)
    text = re.sub(r"\\[dt]?frac\s*(\d)\s*(\d)", r"((\1)/(\2))", text)
    group = r"\{([^{}]*)\}"
    for _ in range(MAX_REWRITES):
        shorter = re.sub(rf"\\[dt]?frac\s*{group}\s*{group}", r"((\1)/(\2))", text)
        shorter = re.sub(rf"\\sqrt\s*{group}", r"sqrt(\1)", shorter) if shorter == text else shorter
        shorter = re.sub(rf"\^\s*{group}", r"**(\1)", shorter) if shorter == text else shorter
        if shorter == text:
            break
        text = shorter
    text = re.sub(r"\\(?:cdot|times|ast)\b\s*", "*", text)
    text = re.sub(r"\\div\b\s*", "/", text)
    for command, sign in (("leq?", "<="), ("geq?", ">="), ("neq?", "!="), ("lt", "<"), ("gt", ">")):
        text = re.sub(rf"\\{command}(?![a-zA-Z])", sign, text)
    if not all(name in GREEK or _here(name) or name in FORMULAS for name in re.findall(r"\\([a-zA-Z]+\d*)", text)):
        return None
    if any(name in FORMULAS and name not in GREEK for name in re.findall(r"\\([a-zA-Z]+)\s+(?!\()", text)):
        return None  # how far an argument goes is left to the reader
    text = re.sub(r"\\(\w+)\s*", r"\1 ", text)
    text = re.sub(rf"\b({LETTERS})\s+(?=\()", lambda found: found[1] if _is_called(found[1]) else found[0], text)
    return None if re.search(r"[\\{}]", text) else _whole(match, text)


def _is_called(name: str) -> bool:
    return _here(name) is not None or (name in FORMULAS and name not in GREEK)


def _semicolons(match: re.Match[str]) -> Replacement | None:
    """The whole statement with commas, unless there are some that may be those of decimals."""
    return None if re.search(r"\d,\d", match.string) else _whole(match, match.string.replace(";", ","))


CHARACTERS = {
    **dict.fromkeys("×·⋅∙∗＊•", "*"),
    **dict.fromkeys("÷∕⁄", "/"),
    **dict.fromkeys("−–—‒﹣‐‑", "-"),
    **dict.fromkeys("≤⩽", "<="),
    **dict.fromkeys("≥⩾", ">="),
    "≠": "!=",
    "½": "(1/2)",
    "¼": "(1/4)",
    "¾": "(3/4)",
    "⅓": "(1/3)",
    "⅔": "(2/3)",
    "\u00a0": " ",
    "\u202f": " ",
    "\u2009": " ",
    "\u200b": "",
    "\u2062": "*",
}
"""Characters that can mean only one thing."""


def _ascii(match: re.Match[str]) -> str:
    return CHARACTERS[match[0]] if match[0] in CHARACTERS else chr(ord(match[0]) - 0xFEE0)


def _superscript(match: re.Match[str]) -> str:
    sign = "-" if match["sign"] else ""
    return f"**{sign}{match['digits'].translate(_FROM_SUPERSCRIPT)}{'' if match['more'] is None else '*'}"


_FROM_SUPERSCRIPT = str.maketrans(SUPERSCRIPTS, "0123456789")


def _function_power(match: re.Match[str]) -> str:
    power = match["power"] or match["small"].translate(_FROM_SUPERSCRIPT)
    return f"{_here(match['function'])}({_bare(match['argument'])})**{power}"


def _rule(
    pattern: str,
    words: str,
    rewrite: str | Rewrite | None = None,
    *,
    anywhere: bool = False,
    before: bool = False,
    applies: Callable[[re.Match[str]], bool] = bool,
) -> Rule:
    return Rule(re.compile(pattern), words, rewrite, anywhere, before, applies)


ALONE = "write the expression alone"
LOGIC_AND, LOGIC_OR = r"\s*(?:&&?|\band\b|∧)\s*", r"\s*(?:\|\|?|\bor\b|∨)\s*"
WHOLE_DERIVATIVE = "an expression is differentiated as a whole; write it alone"

# fmt: off
RULES: tuple[Rule, ...] = (
    # The statement as a whole
    _rule(r"^\s*[\"'“”„‘’`]+(.+?)[\"'“”„‘’`]+\s*$", "an expression has no quotes around it", r"\1", anywhere=True),
    _rule(rf"^\s*=(?:.*[(,;=<>*/^+-])?\s*-\s*{ATOM}\s*\^",
          "an expression begins without =, and in spreadsheets -x^2 is (-x)^2; write (-x)**2 or -(x**2)"),
    _rule(r"^\s*=(?!=).*\b(?i:log|atan2)\(", "an expression begins without =, and what spreadsheets call LOG(x) and "
          "ATAN2(x, y) is log10(x) and atan2(y, x)"),
    _rule(r"^\s*=(?!=)\s*", "an expression begins without =", ""),
    _rule(r"^\s*\$+([^$]+)\$+\s*$", "an expression has no dollar signs around it", r"\1", anywhere=True),
    _rule(r"\{\{\s*(\w+)\s*\}\}", "a template was not filled in, and names have no braces", r"\1"),
    _rule(r"\$\{(\w+)\}", "names have no dollar signs", r"\1"),
    _rule(r"\$(?=[A-Z]{1,3}\$?\d)|(?<=[A-Z])\$(?=\d)", "names have no dollar signs", ""),
    _rule(r"\b[A-Z]{1,3}\d+:[A-Z]{1,3}\d+\b", "there are no ranges; name each number, as in sum(A1, A2, A3)"),
    _rule(r"[$€£¥]\s*(?=\d)", "numbers have no units; leave the currency out", ""),
    _rule(r"^\s*\(?\s*(?P<p>[^\W\d]\w*)[\w\s,]*\)?\s*[=-]>\s*(?P<body>.+)$", ALONE, r"\g<body>", anywhere=True,
          applies=lambda match: bool(re.search(rf"\b{match['p']}\b", match["body"]))),
    _rule(r"^\s*\(\s*\)\s*[=-]>\s*(?P<body>.+)$", ALONE, r"\g<body>", anywhere=True),
    _rule(r"=>", "a comparison is written >="),
    _rule(r"^\s*begin\s+(?P<body>.+?)\s+end\s*$", ALONE, r"\g<body>", anywhere=True),
    _rule(r"^\s*(?:import|from|using)\b", "functions are known by their bare names; leave this statement out"),
    _rule(r"^\s*@\w*\.?\s+", ALONE, ""),
    _rule(rf"^\s*{LETTERS}\s*~(?!=)\s*(?P<body>.+)$", "write the right-hand side alone", r"\g<body>", anywhere=True),
    _rule(r"^\s*%", "a comment begins with #"),
    _rule(r"\bfor\s+\w+\s+in\b|^\s*(?:for|while)\b", "there are no loops; write all terms out", anywhere=True),
    _rule(rf"^(?P<x>.+?)\s*(?:\|>|%>%)\s*(?P<name>{LETTERS})(?:\(\s*\))?\s*$", "a function is called with parentheses",
          lambda match: f"{_here(match['name']) or match['name']}({match['x']})", anywhere=True),
    _rule(r"^\s*(?:lambda\b[\w\s,]*:|function\s*\w*\s*\([^()]*\)|[@\\]\([^()]*\)|def\s+\w+\([^()]*\)\s*:)"
          r"\s*\{?\s*(?:return\b)?\s*(?P<body>[^{};]+?)\s*;?\s*\}?\s*$", ALONE, r"\g<body>", anywhere=True),
    _rule(rf"^\s*(?P<name>{LETTERS})\s*\(\s*{LETTERS}(?:\s*,\s*{LETTERS})*\s*\)\s*:?=(?!=)\s*(?P<body>.+)$", ALONE,
          r"\g<body>", anywhere=True, applies=lambda match: match["name"] not in WIRE),
    _rule(r"^\s*(?:let|var|const|val|my|auto|double|float|int|local|set|return|print)\s+(?=[\w(])", ALONE, "",
          anywhere=True),
    _rule(rf"^(\s*{LETTERS}\s*)(?::=|<-|←)[ \t]+(?!{NUMBER}\s*$)", "a name is given to an expression with =", r"\1= ",
          anywhere=True),
    _rule(rf"^(\s*{LETTERS}\s*):=", "a name is given to an expression with =", r"\1="),
    _rule(rf"^\s*{LETTERS}\s*(?:[-+*/%^]|\*\*)=(?!=)", "a name keeps its value; give the new value a name of its own"),
    _rule(r"\bArcTan\[(?P<x>[^\[\],]+),(?P<y>[^\[\],]+)\]", "the angle of the point (x, y) is atan2(y, x)",
          lambda match: f"atan2({match['y'].strip()}, {match['x'].strip()})"),
    _rule(r"(?:\+\+|--)\s*$", "nothing is changed in place; add or subtract 1 instead"),
    _rule(r"\bd\s*[²^*\d]*\s*\w?\s*/\s*d\s*[a-zA-Z]\b", WHOLE_DERIVATIVE, anywhere=True),
    _rule(rf"(?i)(?<!\\)\b(?:{WORDS})\s+\w|\w\s+(?:squared|cubed)\b", "write the expression alone, in symbols", anywhere=True),
    # Conditions
    _rule(r"^(?P<before>(?:\s*\w+\s*=)?)\s*if\b\s*(?P<c>[^:?]+?)\s*(?::|\bthen\b)\s*(?P<a>[^:]+?)[,;]?\s*\belse\b\s*:?"
          r"\s*(?P<b>.+)$", "write a condition as a if condition else b", r"\g<before> \g<a> if \g<c> else \g<b>",
          anywhere=True),
    _rule(rf"^(?P<before>(?:\s*\w+\s*=)?)\s*if\s*(?P<c>{GROUP})\s*(?P<a>.+?)\s*\belse\b\s*(?P<b>.+)$",
          "write a condition as a if condition else b", r"\g<before> \g<a> if \g<c> else \g<b>", anywhere=True),
    _rule(rf"\bif\s*(?P<arguments>{GROUP})", "the function is called where",
          lambda match: f"where({', '.join(parts)})" if len(parts := _arguments(match["arguments"][1:-1])) == 3 else None,
          applies=lambda match: len(_arguments(match["arguments"][1:-1])) > 1),
    _rule(rf"(?P<name>^\s*\w+\s*=(?!=)\s*)?(?P<c>(?:[^?:;,()]|{GROUP})+)\?(?P<a>(?:[^?:;,()]|{GROUP})+)"
          rf":(?P<b>(?:[^?:;,()]|{GROUP})+)", "write a condition as a if condition else b", _ternary, anywhere=True),
    _rule(r"\?", "write a condition as a if condition else b"),
    _rule(LOGIC_AND, "multiply comparisons to say 'and'", _joined(LOGIC_AND, lambda parts: "*".join(f"({p})" for p in parts))),
    _rule(r"\s*(?:\|\||\bor\b|∨)\s*", "take the max of comparisons to say 'or'",
          _joined(LOGIC_OR, lambda parts: f"max({', '.join(parts)})")),
    _rule(r"!!", "n!! is a double factorial, the product of every second number; write it out"),
    _rule(rf"(?P<a>{ATOM})!(?!=)", "n! is exp(lgamma(n + 1))",
          lambda match: f"exp(lgamma({_bare(match['a'])} + 1))"),
    _rule(r"~=", "an inequality is written !=", "!="),
    _rule(r"(?:!|¬|~)\s*(?P<a>[^()&|=<>!]+(?:[<>]|[=!]=))", "put parentheses around what is negated, as in 1 - (x > 0)"),
    _rule(rf"(?:\bnot\b|!(?!=)|¬|~)\s*(?P<a>{GROUP}|[^()&|]+)", "1 minus a comparison is its 'not'",
          lambda match: _bracketed(match, f"1 - ({_bare(match['a'].strip())})") if _is_comparison(match["a"]) else None),
    _rule(r"===", "an equality is written ==", "=="),
    _rule(r"\s+is\s+not\s+", "an inequality is written !=", " != "),
    _rule(r"\s+is\s+", "an equality is written ==", " == "),
    _rule(r"\bxor\b|⊕", "write != between comparisons to say 'either, but not both'"),
    _rule(r"!==", "an inequality is written !=", "!="),
    _rule(r"<>", "an inequality is written !=", "!="),
    _rule(r"=<", "write <=", "<="),
    _rule(r"\bTrue\b", "true is written 1", "1"),
    _rule(r"\bFalse\b", "false is written 0", "0"),
    _rule(r"\bNone\b", "every name needs a number; there is no None"),
    # Operators and characters
    _rule(r"\*[ \t]+\*", "a power is written ** without a space", "**"),
    _rule(r",\s*(?:axis|base|digits|dim)\s*=(?!=)", "arguments are given by their places, without names"),
    _rule(r"(?<![<>=!])=(?!=)", "an equality is written =="),
    _rule(r"//", "there is no whole-number division, / divides, and a comment begins with #"),
    _rule(r"/\*", "a comment begins with #"),
    _rule(rf"(?<![\w.])(?P<n>{NUMBER})\s*%\s*(?=[*)]|$)", "a percentage is written as a quotient", r"(\g<n>/100)",
          applies=lambda match: match.string[: match.start()].rstrip()[-1:] in ("", "(", "*")),
    _rule(r"%/%|(?<=[\w)])\s+div\s+", "there is no whole-number division, and / divides"),
    _rule(r"%|\bmod\b", "there is no remainder, and no rounding"),
    _rule(r"\b(?P<function>(?:sin|cos|tan)h?)\s*(?:⁻¹|(?:\^|\*\*)\s*\(?-\s*1\)?)",
          r"the inverse of \g<function> is a\g<function>, and the reciprocal 1/\g<function>(x); write the one you mean"),
    _rule(rf"{FUNCTION}\s*(?:⁻¹|(?:\^|\*\*)\s*\(?-\s*1\)?)",
          r"write the inverse function, or the reciprocal 1/\g<function>(x)"),
    _rule(rf"{FUNCTION}(?:\s*(?:\^|\*\*)\s*(?P<power>\d+)|(?P<small>[{SUPERSCRIPTS}]+))\s*"
          rf"(?P<argument>{GROUP}|(?:{LETTERS}|{NUMBER})(?=\s*(?:$|[-+),;<>=])))", "the power comes after the call",
          _function_power),
    _rule(rf"\bexp\s*(?:\^|\*\*)\s*(?P<a>{GROUP}|{LETTERS}|{NUMBER})(?!\s*[\w(^*])", "exp is a function, with the power in it",
          lambda match: f"exp({_bare(match['a'])})"),
    _rule(rf"(?P<sign>⁻?)(?P<digits>[{SUPERSCRIPTS}]+)(?P<more>(?=\s*[\w(]))?", "write a power with **",
          _superscript),
    _rule(r"(?P<power>[ⁱⁿˣʸᵃᵇᶜᵈᵉᵏᵐᵗ])(?!\w)", "write a power with **", lambda match: f"**{normalize('NFKC', match['power'])}"),
    _rule(r"[ⁱⁿˣʸᵃᵇᶜᵈᵉᵏᵐᵗ]", "write a power with **"),
    _rule(r"\.(\*\*?|/|\^)", "operators have no dot", r"\1"),
    _rule(r"\\i*int(?![a-zA-Z])", "there are no integrals", anywhere=True),
    _rule(r"\\sum(?![a-zA-Z])", "write a sum out, as in sum(a, b, c)", anywhere=True),
    _rule(r"\\prod(?![a-zA-Z])", "write a product out, as in prod(a, b, c)", anywhere=True),
    _rule(r"\\(?:partial|nabla)(?![a-zA-Z])", WHOLE_DERIVATIVE, anywhere=True),
    _rule(r"\\infty(?![a-zA-Z])", "numbers are finite; there is no infinity", anywhere=True),
    _rule(rf"^\s*(?P<a>{ATOM})\s*\.?\\\s*(?P<b>[a-zA-Z]|{NUMBER}|{GROUP})\s*$", "a quotient is written with /",
          r"\g<b>/\g<a>", anywhere=True),
    _rule(r"\\[a-zA-Z]|\^\s*\{|_\{", "write it without LaTeX's commands", _latex, anywhere=True),
    _rule(rf"\^\s*[-+]?{ATOM}\s*\^",
          "write powers with **, and a power of a power with parentheses, since conventions differ"),
    _rule(r"\s?\^\s?", "write a power with **", "**"),
    _rule(rf"√\s*(?P<a>{GROUP}|{NUMBER}|{LETTERS})(?![\w(])", "a root is written sqrt(x)",
          lambda match: f"sqrt({_bare(match['a'])})"),
    _rule(r"√", "a root is written sqrt(x), with what it covers in the parentheses"),
    _rule(rf"(?P<a>{ATOM})\s*(?:°|º|\bdeg(?:rees?)?\b)", "angles are in radians",
          lambda match: _bracketed(match, f"{match['a']}*pi/180")),
    _rule(f"[{''.join(CHARACTERS)}\uff01-\uff5e]", "write it in plain characters", _ascii),
    _rule(r"(?![0-9])\d", "digits are 0 to 9", lambda match: str(decimal(match[0]))),
    _rule(r"∞", "numbers are finite; there is no infinity"),
    _rule(r"∑", "write a sum out, as in sum(a, b, c)"),
    _rule(r"∏", "write a product out, as in prod(a, b, c)"),
    _rule(r"∫", "there are no integrals"),
    _rule(r"[∂∇]", WHOLE_DERIVATIVE),
    _rule(r"±", "an expression has one value; write + or -"),
    _rule(r"\.\.\.|…", "write all terms out"),
    _rule(r"\s*\|\s*", "take the max of comparisons to say 'or'",
          _joined(LOGIC_OR, lambda parts: f"max({', '.join(parts)})"), applies=lambda match: match.string.count("|") % 2 == 1),
    _rule(r"\|", "an absolute value is written abs(x)", _bars),
    _rule(r"(?<=[^\W\d])['’′]+|(?<=\))['’′]+", WHOLE_DERIVATIVE),
    _rule(r"@", "there are no matrices; write a product with *"),
    # Calls and brackets
    _rule(rf"{MODULES}(?P<name>pi|e)\b(?!\()", "constants are written pi and e", r"\g<name>"),
    _rule(rf"{MODULES}(?P<name>PI|E)\b(?!\()", "constants are written pi and e", lambda match: match["name"].lower()),
    _rule(rf"{MODULES}(?=[A-Za-z_])", "functions are called by their bare names", ""),
    _rule(rf"(?P<object>{LETTERS}|{NUMBER}|{GROUP})\.(?P<name>{LETTERS})\((?P<rest>[^()]*)\)",
          "functions are called by their bare names", _method, applies=lambda match: _here(match["name"]) is not None),
    _rule(rf"\b(?P<name>{LETTERS})\.(?=\()", "functions have no dot", lambda match: _here(match["name"]),
          applies=lambda match: _here(match["name"]) is not None),
    _rule(r"(?<=\w)\.(?!\d)", "functions are called by their bare names, and names have no dots"),
    _rule(r"\b(?:D|Dt|Derivative|Grad)\[", WHOLE_DERIVATIVE),
    _rule(r"\bN?Integrate\[", "there are no integrals"),
    _rule(r"\bN?Sum\[", "write a sum out, as in sum(a, b, c)"),
    _rule(rf"\b(?P<name>{LETTERS})\{{(?P<rest>[^{{}}]*)\}}", "a call has round brackets",
          lambda match: f"{_here(match['name'])}({match['rest']})", applies=lambda match: _here(match["name"]) is not None),
    _rule(rf"\b(?P<name>{LETTERS})\[(?P<rest>[^\[\]]*)\]", "a call has round brackets",
          lambda match: f"{_here(match['name'])}({match['rest']})", applies=lambda match: _here(match["name"]) is not None),
    _rule(rf"\b(?P<name>{LETTERS})\[(?P<rest>\d+)\]", "there is no indexing; give each number a name of its own",
          r"\g<name>\g<rest>"),
    _rule(rf"\b{LETTERS}[\[{{]|(?<=\))[\[{{]\s*\d+\s*[\]}}]", "there is no indexing; give each number a name of its own"),
    _rule(r"\(\s*\[(?P<rest>[^\[\]]*)\]\s*\)", "arguments stand in the parentheses without brackets, separated by commas",
          lambda match: None if _is_row(match) else f"({match['rest']})"),
    _rule(r"[\[{](?P<rest>[^\[\]{},;:]+)[\]}]", "group with round brackets", r"(\g<rest>)",
          applies=lambda match: not _is_row(match)),
    _rule(r"[\[{]", "an expression is one number, not a list"),
    _rule(rf"(?<=\w\()\s*c(?P<arguments>{GROUP})(?=\s*\))", "arguments stand in the parentheses without c()",
          lambda match: match["arguments"][1:-1]),
    _rule(r"\b[pP][iI]\s*\(\s*\)", "the constant is written pi", "pi"),
    _rule(r"\bpi(?=\()", "write a product with *", "pi*"),
    _rule(rf"\b(?P<name>{LETTERS})(?P<arguments>{GROUP})", "write", _formula,
          applies=lambda match: match["name"].lower() in FORMULAS and _formula(match) is not None),
    _rule(rf"\b(?P<name>{LETTERS})(?=\()", "write", lambda match: _here(match["name"]),
          applies=lambda match: _here(match["name"]) not in (None, match["name"]) and match["name"] not in SPREADSHEET_NAMES),
    _rule(r"\blog\s*\((?P<x>[^(),;]+),(?P<b>[^(),;]+)\)", "log has the base e; to the base b it is log(x)/log(b)"),
    _rule(rf"\b{LETTERS}\((?P<a>\d+),(?P<b>\d+)\)", r"decimals follow a point, as in \g<a>.\g<b>"),
    _rule(r"\batan\s*\(([^(),;]+,[^(),;]+)\)", "the function of two arguments is atan2", r"atan2(\1)"),
    _rule(r"(?<!\w)[a-ceh-zA-CEH-Z]\(\s*\d+\s*\)",
          "write a product with *; there is no indexing, so give each number of a list a name of its own"),
    _rule(rf"(?<!\w)(?P<name>[a-ceh-zA-CEH-Z])(?=(?P<factor>{GROUP}))", "write a product with *", r"\g<name>*",
          applies=lambda match: len(_arguments(match["factor"][1:-1])) == 1),
    _rule(r"\bc\(", "names stand for numbers; write sums and products out, or give many points"),
    _rule(r";", "arguments are separated by commas", _semicolons, applies=lambda match: "(" in match.string[: match.start()]),
    # Numbers
    _rule(r"\b0[xX][0-9a-fA-F]+\b", "numbers are decimal", lambda match: str(int(match[0], 16))),
    _rule(r"\b0[bB][01]+\b", "numbers are decimal", lambda match: str(int(match[0], 2))),
    _rule(r"\b0[oO][0-7]+\b", "numbers are decimal", lambda match: str(int(match[0], 8))),
    _rule(r"(?<![\w.,])\d{1,3}(?:\.\d{3})+,\d+(?![\w.,])", "thousands are not separated, and decimals follow a point",
          lambda match: match[0].replace(".", "").replace(",", ".")),
    _rule(r"(?<![\w.,])\d{1,3}(?:(?:,\d{3}){2,}(?:\.\d+)?|(?:,\d{3})+\.\d+)(?![\w.,])", "thousands are not separated",
          lambda match: match[0].replace(",", "")),
    _rule(r"(?<![\w.,])\d{1,3}(?:[ '’]\d{3})+(?![\w.,])", "thousands are not separated",
          lambda match: re.sub(r"\D", "", match[0])),
    _rule(r"(?<![\w.,])(?P<a>[1-9]\d{0,2}),(?P<b>\d{3})(?![\w.,])",
          r"write \g<a>\g<b> without a separator, or \g<a>.\g<b> with a decimal point"),
    _rule(r"(?<![\w.,])(\d+),(\d+)(?![\w.,])", "decimals follow a point", r"\1.\2"),
    _rule(rf"(?<![\w.]){NUMBER}[ \t]*(?:kg|km|cm|mm|mol|kHz|MHz|GHz|Hz|kW|kJ|kPa|kN|rad|ms|ns|EUR|USD)\b",
          "numbers have no units; leave the unit out"),
    _rule(rf"(?<![\w.]){NUMBER}[ \t]*(?:i|j|im)\b(?!\()",
          "numbers are real, without an imaginary unit; a product is written with *"),
    _rule(r"(?<![\w.])(?:\d+\.?\d*|\.\d+)[dD][+-]?\d+\b", "an exponent is written with e, as in 1e-3, and a product with *"),
    _rule(r"(?<![\w.])(?:(?:\d+\.\d*|\.\d+)[fF]|\d+L)\b", "numbers have no suffix; a product is written with *"),
    # Products and calls without signs
    _rule(r"\b[lL]og_(2|10)(?=\()", "the base belongs to the name", r"log\1"),
    _rule(r"\b[lL]og_(2|10)[ \t]+(?=\w)", "the base belongs to the name", r"log\1 ", before=True),
    _rule(rf"{FUNCTION}[ \t]+(?P<argument>{LETTERS}{GROUP}|{LETTERS}|{NUMBER})(?=\s*(?:$|[-+),;<>=]|\belse\b|\bif\b))",
          "a function is called with parentheses", lambda match: f"{_here(match['function'])}({match['argument']})"),
    _rule(rf"{FUNCTION}[ \t]+(?=\w)", r"a function is called with parentheses around what it covers, as in \g<function>(x)",
          before=True),
    _rule(rf"\b(?P<factor>[xyzXYZ]){FUNCTION[2:]}(?=\()", "write a product with *",
          lambda match: f"{match['factor']}*{_here(match['function'])}", applies=lambda match: _here(match[0]) is None),
    _rule(rf"\b(?:{RESERVED})\b", r"\g<0> is a reserved word and no name; choose another"),
    _rule(r"(?<=[\w).])[ \t]*(?=[\w(])",
          "write a product with *, and parentheses around what is divided by or raised to, as in 1/(2*x) or (1/2)*x",
          before=True, applies=_is_open_product),
    _rule(r"(?<=[\w).])[ \t]*(?=[\w(])", "write a product with *", "*", before=True, applies=_is_product),
    _rule(r",", "an expression has one value; give each of several a name, as in a = x; b = y"),
)
# fmt: on
"""From the special to the general: the first rule that applies counts."""
