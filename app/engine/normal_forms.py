"""Normal forms of expressions, each made once: sums of terms with coefficients, and products of bases with exponents.

Coefficients and exponents are exact fractions. So like terms and like factors meet, numbers are folded, and fractions cancel. A
sum whose terms share factors or denominators is written as a product where that is shorter, and products are multiplied out
where terms cancel. Of identities, those in `_identities` are known, such as sin(x)**2 + cos(x)**2 = 1.

Every step keeps the value wherever the expression has one. What it may do is give a value where there was none, as x*(1/x) = 1
does at 0. It may not lose a case, so (x**2)**0.5 stays as it is.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from app.engine.graph import Node
from app.engine.primitives import ALIASES, LEAF, OPCODE, PRIMITIVES

Terms = tuple[tuple[int, Fraction], ...]
"""Of a sum, forms with coefficients; of a product, bases with exponents."""
_Monomial = tuple[Fraction, *Terms]
"""A number and powers of forms, which are multiplied."""

ONE, MINUS_ONE, HALF, TWO = Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(2)
MAX_TERMS = 12
"""Longer sums and products are not merged into others, which would take quadratic time, and lose parts that are shared."""
MAX_DEPTH, MAX_STEPS = 3, 100_000
"""How deep trials of shorter forms are nested, and how many terms and factors they look at in all."""
MAX_SEARCH = 50
"""So many parts of a branch are searched for choices by the condition of the branch."""
MAX_FRACTION = 10**300
"""Larger numerators and denominators are rounded to doubles, after which equal numbers may no longer cancel."""
LONG_FRACTION = 10**17
"""Larger numerators and denominators are not written."""
MAX_EXPONENT = 2**53
TRUTHS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
NAMED_CONSTANTS = (math.pi, math.e)
MAX_SIZE = 10**6
RATIOS = (("sin", "cos", "tan"), ("sinh", "cosh", "tanh"))
"""Functions, the first over the second being the third."""
SQUARES = {
    "sin": ((TWO, ONE, MINUS_ONE, "cos", TWO),),
    "cos": ((TWO, ONE, MINUS_ONE, "sin", TWO), (-TWO, ONE, ONE, "tan", TWO)),
    "tan": ((TWO, MINUS_ONE, ONE, "cos", -TWO),),
    "sinh": ((TWO, MINUS_ONE, ONE, "cosh", TWO),),
    "cosh": ((TWO, ONE, ONE, "sinh", TWO), (-TWO, ONE, MINUS_ONE, "tanh", TWO)),
    "tanh": ((TWO, ONE, MINUS_ONE, "cosh", -TWO),),
}
"""A power of a function, as a number plus a number times a power of another function."""
IDENTITIES = frozenset({"hypot", "sigmoid", *SQUARES})


class TooManyDigitsError(Exception):
    """A number that is no double."""


@dataclass(frozen=True, slots=True)
class Form:
    """A normal form: a number, a sum (`number` plus `terms`), a product (`number` times `terms`), a call or a leaf."""

    kind: str
    number: Fraction = Fraction(0)
    terms: Terms = ()
    op: str = ""
    args: tuple[int, ...] = ()
    value: float = 0.0


def exact(number: float) -> Fraction:
    """Return the number that its shortest decimal digits stand for. Raises OverflowError if it is not finite."""
    if number.is_integer() and abs(number) < MAX_EXPONENT:
        return Fraction(int(number))
    return Fraction(repr(float(number))) if math.isfinite(number) else Fraction(number)


def _checked(number: Fraction) -> Fraction:
    """The number, rounded to a double if it has too many digits. Raises if it is out of range."""
    if number.denominator == 1 and abs(number.numerator) <= MAX_EXPONENT:
        return number
    rounded = float(number)
    if number and not (1e-290 < abs(rounded) < 1e290):
        raise TooManyDigitsError
    if abs(number.numerator) > MAX_FRACTION or number.denominator > MAX_FRACTION:
        return exact(rounded)
    return number


class Forms:
    """All normal forms by their index. Methods return indices; forms are made from indices of others."""

    def __init__(self) -> None:
        self.all: list[Form] = []
        self.index: dict[object, int] = {}
        self.sizes: dict[int, int] = {}
        self.cleared: dict[int, tuple[int, dict[int, Fraction], int]] = {}  # sums that others become by _cleared
        self.depth = 0
        self.steps = MAX_STEPS

    def intern(self, form: Form) -> int:
        """The index of a form, which is the same for every order of its terms."""
        key = (form.kind, form.number, frozenset(form.terms)) if form.terms else form
        found = self.index.get(key)
        if found is None:
            found = self.index[key] = len(self.all)
            self.all.append(form)
        return found

    def of_node(self, node: Node, places: Mapping[str, int]) -> int:
        """The form of a node, given those of its arguments."""
        if node.op == LEAF:
            return self.intern(Form("leaf", op=node.id))
        args = [places[a] if isinstance(a, str) else self.constant(float(a)) for a in node.args]
        return self.apply(ALIASES.get(node.op, node.op), args)

    def constant(self, number: float) -> int:
        """A number. pi and e stay what they are."""
        if abs(number) in NAMED_CONSTANTS:
            name = self.intern(Form("const", value=abs(number)))
            return name if number > 0 else self.product(MINUS_ONE, [(name, ONE)])
        return self.number(exact(number))

    def number(self, number: Fraction) -> int:
        """A rational number."""
        return self.intern(Form("number", _checked(number)))

    def is_number(self, form: int, number: int) -> bool:
        """Whether a form is this number."""
        found = self.all[form]
        return found.kind == "number" and found.number == number

    def apply(self, op: str, args: Sequence[int]) -> int:
        """An operation on forms."""
        if op in ("add", "sum"):
            return self.sum([(a, ONE) for a in args])
        if op == "sub":
            return self.sum([(args[0], ONE), (args[1], MINUS_ONE)])
        if op == "mean":
            return self.product(Fraction(1, len(args)), [(self.sum([(a, ONE) for a in args]), ONE)])
        if op in ("mul", "prod"):
            return self.product(ONE, [(a, ONE) for a in args])
        if op == "neg":
            return self.product(MINUS_ONE, [(args[0], ONE)])
        if op == "divide" and not self.is_number(args[1], 0):
            return self.product(ONE, [(args[0], ONE), (args[1], MINUS_ONE)])
        if op == "reciprocal" and not self.is_number(args[0], 0):
            return self.product(ONE, [(args[0], MINUS_ONE)])
        if op == "square":
            return self.product(ONE, [(args[0], Fraction(2))])
        if op == "sqrt":
            return self.power(args[0], HALF)
        if op == "pow" and self.all[args[1]].kind == "number":
            return self.power(args[0], self.all[args[1]].number)
        if op == "where":
            return self.choice(*args)
        if op == "ne" and self.is_number(args[1], 0) and self.all[args[0]].op in TRUTHS:
            return args[0]
        return self.call(op, args)

    def call(self, op: str, args: Sequence[int]) -> int:
        """An operation that is neither a sum nor a product."""
        if op == "log" and self.all[args[0]].value == math.e:
            return self.number(ONE)
        if all(self.all[a].kind == "number" for a in args) and (fun := PRIMITIVES[OPCODE[op]].fun) is not None:
            numbers = [float(self.all[a].number) for a in args]
            if len(numbers) == len(PRIMITIVES[OPCODE[op]].d):
                value = _value(fun, numbers)
                if math.isfinite(value) and len(f"{value:g}") <= 6 and float(f"{value:g}") == value:
                    return self.number(exact(value))
        if op in TRUTHS and args[0] == args[1]:
            return self.number(ONE if op in ("eq", "le", "ge") else Fraction(0))
        if (op in ("min", "max") and len(set(args)) == 1) or (op == "logsumexp" and len(args) == 1):
            return args[0]
        return self.intern(Form("call", op=op, args=tuple(args)))

    def choice(self, condition: int, a: int, b: int) -> int:
        """A `where`."""
        form = self.all[condition]
        if form.kind == "number":
            return a if form.number else b
        if a == b:
            return a
        if form.op in ("eq", "ne") and self.is_number(form.args[1], 0) and self.is_number(b if form.op == "ne" else a, 0):
            return self.choice(form.args[0], *((a, b) if form.op == "ne" else (b, a)))
        a, b = self._where(condition, True, a), self._where(condition, False, b)
        if form.op in TRUTHS:
            if self.is_number(a, 1) and self.is_number(b, 0):
                return condition
            tie = self.all[a]
            if tie.op == "where" and form.op in ("le", "ge") and self.is_number(b, 0):
                equal = self.all[tie.args[0]]
                halves = self.all[tie.args[1]].number == HALF and self.is_number(tie.args[2], 1)
                if equal.op == "eq" and set(equal.args) == set(form.args) and halves:  # half of x > y, and half of x >= y
                    return self._half(form.op, form.args, condition)
        return self.intern(Form("call", op="where", args=(condition, a, b)))

    def _where(self, condition: int, holds: bool, form: int) -> int:
        """A form where a condition holds, or where it does not: without choices by the same condition, if it is short."""
        inner: list[int] = []
        pending = [form]
        for _ in range(MAX_SEARCH):
            if not pending:
                break
            found = self.all[pending.pop()]
            if found.op == "where" and found.args[0] == condition:
                inner.append(self.intern(found))
            pending += [*found.args, *(part for part, _ in found.terms)]
        if not inner or pending:
            return form
        known = {choice: self.all[choice].args[1 if holds else 2] for choice in inner}
        return self._replaced(form, known)

    def _replaced(self, form: int, known: dict[int, int]) -> int:
        """A form with others in place of some of its parts."""
        if form not in known:
            found = self.all[form]
            if found.kind == "sum":
                terms = [(self._replaced(term, known), coefficient) for term, coefficient in found.terms]
                known[form] = self.sum([*terms, (self.number(found.number), ONE)])
            elif found.kind == "product":
                known[form] = self.product(found.number, [(self._replaced(base, known), e) for base, e in found.terms])
            elif found.kind == "call":
                args = [self._replaced(argument, known) for argument in found.args]
                known[form] = self.apply(found.op, args) if args != list(found.args) else form
            else:
                known[form] = form
        return known[form]

    def _half(self, op: str, args: tuple[int, ...], condition: int) -> int:
        """1 where a comparison holds, 0 where it does not, and 1/2 where both sides are equal."""
        for k in (0, 1):
            if self.is_number(args[1 - k], 0):
                sign = ONE if (op == "ge") == (k == 0) else MINUS_ONE
                return self.product(
                    HALF, [(self.sum([(self.number(ONE), ONE), (self.call("sign", args[k : k + 1]), sign)]), ONE)]
                )
        strict = self.call("lt" if op == "le" else "gt", args)
        return self.product(HALF, [(self.sum([(strict, ONE), (condition, ONE)]), ONE)])

    # --- products

    def power(self, base: int, exponent: Fraction) -> int:
        """A power with a number as exponent."""
        form = self.all[base]
        if exponent.denominator == 1 or form.kind != "product":
            if form.kind == "number" and exponent.denominator != 1:
                root = _value(lambda x: x ** float(exponent), [float(form.number)]) if form.number > 0 else math.nan
                if root.is_integer():
                    return self.number(exact(root))
                return self.intern(Form("product", ONE, ((base, exponent),)))
            return self.product(ONE, [(base, exponent)])
        if form.number > 0 and all(self.all[inner].kind == "const" for inner, _ in form.terms):  # sqrt(2*pi)
            roots = [(self.power(self.number(form.number), exponent), ONE)]
            return self.product(ONE, [*roots, *((inner, e * exponent) for inner, e in form.terms)])
        if form.number == 1 and form.terms == ((form.terms[0][0], MINUS_ONE),):
            return self.product(ONE, [(form.terms[0][0], -exponent)])
        return self.intern(Form("product", ONE, ((base, exponent),)))

    def product(self, number: Fraction, factors: Iterable[tuple[int, Fraction]]) -> int:
        """A number times powers of forms."""
        number, powers = self._collected(number, factors)
        if number == 0:
            return self.number(number)
        number, powers = self._reunited(number, self._merged(powers))
        plain = self._finished(number, powers)
        if self.depth >= MAX_DEPTH or self.steps <= 0:
            return plain
        self.depth += 1
        cleared = self._cleared(number, powers)
        self.depth -= 1
        return plain if cleared is None or self.size(cleared) >= self.size(plain) else cleared

    def _collected(self, number: Fraction, factors: Iterable[tuple[int, Fraction]]) -> tuple[Fraction, dict[int, Fraction]]:
        """The same with one power for each base, and no number or product among the bases."""
        powers: dict[int, Fraction] = {}
        waiting = list(factors)[::-1]
        while waiting:
            self.steps -= self.depth > 0
            base, exponent = waiting.pop()
            form = self.all[base]
            if form.kind == "number" and exponent.denominator == 1 and (form.number or exponent > 0):
                if abs(exponent) * max(1.0, math.log2(max(abs(form.number.numerator), form.number.denominator))) > 4000:
                    raise TooManyDigitsError
                number = _checked(number * form.number**exponent.numerator)
            elif form.op in TRUTHS and exponent > 0:
                powers[base] = ONE
            elif form.kind == "product" and exponent.denominator == 1 and len(form.terms) + len(powers) <= MAX_TERMS:
                waiting.append((self.number(form.number), exponent))
                waiting.extend((inner, inner_exponent * exponent) for inner, inner_exponent in reversed(form.terms))
            else:
                if form.kind == "sum" and exponent.denominator == 1:
                    content = self._content(form)
                    if content != 1:
                        number = _checked(number * content**exponent.numerator)
                        base = self._scaled(form, 1 / content)
                    if base not in powers and (opposite := self._scaled(self.all[base], MINUS_ONE)) in powers:
                        base, number = opposite, -number if exponent.numerator % 2 else number
                exponent += powers.get(base, Fraction(0))
                if abs(exponent) >= MAX_EXPONENT:
                    raise TooManyDigitsError
                powers[base] = _checked(exponent)
        return number, {base: exponent for base, exponent in powers.items() if exponent}

    def _content(self, form: Form) -> Fraction:
        """The largest number by which a sum can be divided without making a coefficient a fraction; 1 if it has fractions."""
        numbers = [c for _, c in form.terms] + ([form.number] if form.number else [])
        if any(c.denominator != 1 for c in numbers):
            return ONE
        return Fraction(math.gcd(*(c.numerator for c in numbers)))

    def _scaled(self, form: Form, factor: Fraction) -> int:
        """A sum times a number, term by term."""
        return self.intern(Form("sum", form.number * factor, tuple((t, c * factor) for t, c in form.terms)))

    def _merged(self, powers: dict[int, Fraction]) -> dict[int, Fraction]:
        """Powers without sin/cos and sinh/cosh, and with x**n*x as x**(n + 1)."""
        by_call = {(self.all[b].op, self.all[b].args): b for b in powers if self.all[b].kind == "call"}
        for (op, args), base in list(by_call.items()):
            for upper, lower, ratio in RATIOS:
                below = by_call.get((lower, args))
                if op == upper and below is not None and powers.get(base) in (1, -1):
                    sign = powers[base]
                    if powers.get(below, Fraction(0)) * sign <= -1:
                        del powers[base]
                        powers[below] += sign
                        quotient = self.call(ratio, args)
                        powers[quotient] = powers.get(quotient, Fraction(0)) + sign
            if op == "pow" and powers.get(base) == 1 and args[0] in powers and powers[args[0]].denominator == 1:
                exponent = self.sum([(args[1], ONE), (self.number(powers.pop(args[0])), ONE)])
                del powers[base]
                merged = self.apply("pow", (args[0], exponent))
                powers[merged] = powers.get(merged, Fraction(0)) + 1
        return {base: exponent for base, exponent in powers.items() if exponent}

    def _reunited(self, number: Fraction, powers: dict[int, Fraction]) -> tuple[Fraction, dict[int, Fraction]]:
        """The same with (c**2 - v**2)*(1 - v**2/c**2)**0.5 as one power, and with p**2 - q**2 for (p + q)*(p - q)."""
        sums = [base for base in powers if self.all[base].kind == "sum"]
        if not 2 <= len(sums) <= MAX_TERMS:
            return number, powers
        for base in sums:
            original, monomial, divisor = self.cleared.get(base, (base, {}, 1))
            if original != base and powers.get(original, ONE).denominator != 1 and powers[base].denominator == 1:
                exponent = powers.pop(base)
                number = _checked(number * Fraction(divisor) ** exponent.numerator)
                for inner, e in ((original, ONE), *((inner, -e) for inner, e in monomial.items())):
                    powers[inner] = powers.get(inner, Fraction(0)) + e * exponent
        return self._conjugated(number, {base: exponent for base, exponent in powers.items() if exponent})

    def _conjugated(self, number: Fraction, powers: dict[int, Fraction]) -> tuple[Fraction, dict[int, Fraction]]:
        """The same with p**2 - q**2 for (p + q)*(p - q), where p and q are inputs or numbers, which have no errors."""
        seen: dict[object, tuple[int, dict[int, Fraction]]] = {}
        for base, exponent in powers.items():
            form = self.all[base]
            parts = dict(form.terms) | ({self.number(ONE): form.number} if form.number else {})
            kinds = {self.all[part].kind for part in parts}
            if form.kind != "sum" or len(parts) != 2 or exponent.denominator != 1 or not kinds <= {"leaf", "number"}:
                continue
            key = (frozenset((part, abs(c)) for part, c in parts.items()), exponent)
            other, signs = seen.setdefault(key, (base, parts))
            if math.prod(c * signs[part] for part, c in parts.items()) < 0:
                squares = [(self.power(part, TWO), c * signs[part]) for part, c in parts.items()]
                rest = [(b, e) for b, e in powers.items() if b not in (base, other)]
                return self._collected(number, [*rest, (self.sum(squares), exponent)])
        return number, powers

    def _finished(self, number: Fraction, powers: Mapping[int, Fraction]) -> int:
        """The form of a product whose factors are merged."""
        if not powers:
            return self.number(number)
        if len(powers) == 1:
            ((base, exponent),) = powers.items()
            if exponent == 1:
                form = self.all[base]
                if number == 1:
                    return base
                if form.kind == "sum":
                    scaled = self._scaled(form, number)
                    whole = self.intern(Form("product", number, ((base, exponent),)))
                    return scaled if self.size(scaled) < self.size(whole) else whole
        return self.intern(Form("product", _checked(number), tuple(powers.items())))

    def _cleared(self, number: Fraction, powers: Mapping[int, Fraction]) -> int | None:
        """The same without denominators within a sum, or None if there are none."""
        for base, exponent in powers.items():
            form = self.all[base]
            if form.kind != "sum" or exponent.denominator != 1 or len(form.terms) > MAX_TERMS:
                continue
            lowest: dict[int, Fraction] = {}
            divisor = 1
            for term, coefficient in form.terms:
                divisor = math.lcm(divisor, coefficient.denominator)
                for inner, inner_exponent in self._factors(term):
                    if inner_exponent < 0:
                        lowest[inner] = min(lowest.get(inner, Fraction(0)), inner_exponent)
            if not lowest or divisor > 1000:
                continue
            raised = [(inner, -e) for inner, e in lowest.items()]
            terms = [(self.product(c * divisor, [(t, ONE), *raised]), ONE) for t, c in form.terms]
            if form.number:
                terms.append((self.product(form.number * divisor, raised), ONE))
            others = [(b, e) for b, e in powers.items() if b != base]
            whole = self.sum(terms)
            self.cleared.setdefault(whole, (base, lowest, divisor))
            others += [(whole, exponent), *((inner, e * exponent) for inner, e in lowest.items())]
            return self.product(number / Fraction(divisor) ** exponent.numerator, others)
        return None

    def _factors(self, form: int) -> Terms:
        """A form as a product of powers, apart from its number."""
        found = self.all[form]
        return found.terms if found.kind == "product" else ((form, ONE),)

    # --- sums

    def sum(self, terms: Iterable[tuple[int, Fraction]]) -> int:
        """Forms times coefficients, added."""
        number, coefficients = self._gathered(terms)
        number, coefficients = self._exact(number, self._joined(coefficients))
        plain = self._added(number, coefficients)
        if self.all[plain].kind != "sum" or len(coefficients) > MAX_TERMS or self.depth >= MAX_DEPTH or self.steps <= 0:
            return plain
        best = plain
        self.depth += 1
        for candidate in (
            self._factored(number, coefficients, False),
            self._factored(number, coefficients, True),
            self._expanded(number, coefficients),
        ):
            if candidate is not None and self.size(candidate) < self.size(best):
                best = candidate
        self.depth -= 1
        return best

    def _gathered(self, terms: Iterable[tuple[int, Fraction]]) -> tuple[Fraction, dict[int, Fraction]]:
        """A number, and each term once with its coefficient. Sums among the terms are merged."""
        number = Fraction(0)
        coefficients: dict[int, Fraction] = {}
        waiting = list(terms)[::-1]
        shared = self._sums_in_products([term for term, _ in waiting])
        while waiting:
            self.steps -= self.depth > 0
            term, coefficient = waiting.pop()
            form = self.all[term]
            if shared and form.kind == "sum" and (found := self._shared_sum(form, shared)) is not None:
                term, factor = found
                coefficients[term] = _checked(coefficients.get(term, Fraction(0)) + coefficient * factor)
                continue
            if form.kind == "number":
                number = _checked(number + coefficient * form.number)
            elif form.kind == "sum" and len(form.terms) + len(coefficients) <= MAX_TERMS:
                number = _checked(number + coefficient * form.number)
                waiting.extend((inner, _checked(c * coefficient)) for inner, c in reversed(form.terms))
            else:
                if form.kind == "product" and form.number != 1:
                    coefficient = _checked(coefficient * form.number)
                    term = self._finished(ONE, dict(form.terms))
                    if self.all[term].kind == "sum":
                        waiting.append((term, coefficient))
                        continue
                coefficients[term] = _checked(coefficients.get(term, Fraction(0)) + coefficient)
        return number, {term: coefficient for term, coefficient in coefficients.items() if coefficient}

    def _sums_in_products(self, terms: Sequence[int]) -> set[int]:
        """The sums that are factors of terms."""
        products = [self.all[term].terms for term in terms if self.all[term].kind == "product"]
        return {base for found in products for base, _ in found if self.all[base].kind == "sum"}

    def _shared_sum(self, form: Form, shared: set[int]) -> tuple[int, Fraction] | None:
        """One of some sums that a sum is a multiple of, and the factor. It stays whole, since it may be factored out."""
        content = self._content(form)
        for factor in (content, -content):
            base = self.intern(form) if factor == 1 else self._scaled(form, 1 / factor)
            if base in shared:
                return base, factor
        return None

    def _joined(self, coefficients: dict[int, Fraction]) -> dict[int, Fraction]:
        """The same with one choice for each condition, and 0 for what is not chosen."""
        choices: dict[int, list[tuple[int, Fraction]]] = {}
        for term, coefficient in coefficients.items():
            form = self.all[term]
            if form.op == "where" and self.is_number(form.args[2], 0):
                choices.setdefault(form.args[0], []).append((term, coefficient))
        for condition, found in choices.items():
            if len(found) > 1:
                for term, _ in found:
                    del coefficients[term]
                whole = self.sum([(self.all[term].args[1], coefficient) for term, coefficient in found])
                joined = self.choice(condition, whole, self.number(Fraction(0)))
                coefficients[joined] = coefficients.get(joined, Fraction(0)) + 1
        return {term: coefficient for term, coefficient in coefficients.items() if coefficient}

    def _exact(self, number: Fraction, coefficients: dict[int, Fraction]) -> tuple[Fraction, dict[int, Fraction]]:
        """The same with fewer terms, which lose fewer digits: h**2 - x**2 for h = hypot(x, y), and sin(x)**2 + cos(x)**2."""
        if len(coefficients) > MAX_TERMS:
            return number, coefficients
        one = self.number(ONE)
        left = {**coefficients, one: number} if number else dict(coefficients)
        for term in coefficients:
            for base, exponent in self._factors(term):
                if term in left and exponent.denominator == 1 and self.all[base].op in IDENTITIES:
                    self._cancelled(left, term, base)
        number = left.pop(one, Fraction(0))
        left = {term: coefficient for term, coefficient in left.items() if coefficient}
        if any(self.all[term].kind == "sum" for term in left if term not in coefficients):
            return self._gathered([*left.items(), (one, number)])
        return number, left

    def _cancelled(self, coefficients: dict[int, Fraction], term: int, base: int) -> None:
        """Replace a term and one that cancels it in part by what is left, if there is such a one."""
        for power, other, rest in self._identities(base):
            powers = dict(self._factors(term))
            powers[base] -= power
            number, partner = self._split(self.product(other[0], [*powers.items(), *other[1:]]))
            if partner != term and coefficients.get(partner) == -number * coefficients[term]:
                factor, joined = self._split(self.product(rest[0], [*powers.items(), *rest[1:]]))
                coefficient = factor * coefficients.pop(term)
                del coefficients[partner]
                coefficients[joined] = coefficients.get(joined, Fraction(0)) + coefficient
                return

    def _split(self, form: int) -> tuple[Fraction, int]:
        """The number of a product, and the rest."""
        found = self.all[form]
        if found.kind == "number":
            return found.number, self.number(ONE)
        if found.kind != "product" or found.number == 1:
            return ONE, form
        return found.number, self._finished(ONE, dict(found.terms))

    def _identities(self, base: int) -> Iterable[tuple[Fraction, _Monomial, _Monomial]]:
        """What is known of a power of a call: the power, which is the sum of two numbers with powers of forms."""
        form = self.all[base]
        if form.op == "hypot":
            for k in (0, 1):
                yield TWO, (ONE, (form.args[k], TWO)), (ONE, (form.args[1 - k], TWO))
        elif form.op == "sigmoid":
            (inner,) = form.args
            opposite = self.call("sigmoid", [self.product(MINUS_ONE, [(inner, ONE)])])
            found = self.all[inner]
            sign = MINUS_ONE if found.kind == "product" and found.number < 0 else ONE
            half = self.call("tanh", [self.product(sign * HALF, [(inner, ONE)])])
            yield ONE, (ONE, (opposite, ONE)), (sign, (half, ONE))
            yield ONE, (ONE,), (MINUS_ONE, (opposite, ONE))
            yield ONE, (MINUS_ONE, (opposite, ONE)), (ONE,)
        else:
            for power, one, number, op, exponent in SQUARES[form.op]:
                other = (number, (self.call(op, form.args), exponent))
                yield power, (one,), other
                yield power, other, (one,)

    def _factored(self, number: Fraction, coefficients: Mapping[int, Fraction], over_one: bool) -> int | None:
        """A sum as a product: of what all terms share, and, if `over_one`, over one denominator. None if they share nothing."""
        rows = [(coefficient, dict(self._factors(term))) for term, coefficient in coefficients.items()]
        if number:
            rows.append((number, {}))
        shared: dict[int, Fraction] = {}
        for base in dict.fromkeys(base for _, powers in rows for base in powers):
            exponents = [powers.get(base, Fraction(0)) for _, powers in rows]
            lowest, highest = min(exponents), max(exponents)
            if any((e - lowest).denominator != 1 for e in exponents):
                continue
            if lowest > 0 or (lowest < 0 and (over_one or highest < 0)):
                shared[base] = lowest
            elif highest < 0:
                shared[base] = highest
        divisor = math.lcm(*(c.denominator for c, _ in rows)) if over_one or not shared else 1
        if (not shared and divisor == 1) or divisor > 1000:
            return None
        inner = []
        for coefficient, powers in rows:
            left = {base: e - shared.get(base, Fraction(0)) for base, e in powers.items()}
            left |= {base: -e for base, e in shared.items() if base not in powers}
            inner.append((self.product(coefficient * divisor, left.items()), ONE))
        return self.product(Fraction(1, divisor), [(self._plain_sum(inner), ONE), *shared.items()])

    def _plain_sum(self, terms: Sequence[tuple[int, Fraction]]) -> int:
        """A sum that is not factored again."""
        number, coefficients = self._gathered(terms)
        number, coefficients = self._exact(number, coefficients)
        plain = self._added(number, coefficients)
        expanded = self._expanded(number, coefficients) if len(coefficients) <= MAX_TERMS else None
        return plain if expanded is None or self.size(expanded) >= self.size(plain) else expanded

    def _expanded(self, number: Fraction, coefficients: Mapping[int, Fraction]) -> int | None:
        """A sum with a sum among the factors of a term multiplied out; None if no terms cancel or merge then."""
        terms: list[tuple[int, Fraction]] = [(self.number(ONE), number)] if number else []
        for term, coefficient in coefficients.items():
            factors = self._factors(term)
            sums = [base for base, e in factors if e == 1 and self.all[base].kind == "sum"]
            if len(sums) != 1 or len(self.all[sums[0]].terms) > MAX_TERMS:
                terms.append((term, coefficient))
                continue
            form = self.all[sums[0]]
            others = [(base, e) for base, e in factors if base != sums[0]]
            terms += [(self.product(ONE, [(inner, ONE), *others]), c * coefficient) for inner, c in form.terms]
            if form.number:
                terms.append((self.product(ONE, others), form.number * coefficient))
        if len(terms) == len(coefficients) + (number != 0):
            return None
        found, left = self._exact(*self._gathered(terms))
        return self._added(found, left) if len(left) + (found != 0) < len(terms) else None

    def _added(self, number: Fraction, coefficients: Mapping[int, Fraction]) -> int:
        """The form of a sum whose terms are merged."""
        if not coefficients:
            return self.number(number)
        if len(coefficients) == 1 and not number:
            ((term, coefficient),) = coefficients.items()
            return self.product(coefficient, [(term, ONE)])
        return self.intern(Form("sum", number, tuple(coefficients.items())))

    # --- sizes

    def size(self, form: int) -> int:
        """About how many characters a form takes when it is written."""
        if form not in self.sizes:
            pending = [form]
            while pending:
                top = pending[-1]
                found = self.all[top]
                parts = [*found.args, *(inner for inner, _ in found.terms)]
                missing = [part for part in parts if part not in self.sizes]
                if missing:
                    pending.extend(missing)
                else:
                    pending.pop()
                    self.sizes[top] = min(MAX_SIZE, self._size(found))
        return self.sizes[form]

    def _size(self, form: Form) -> int:
        if form.kind == "number":
            return len(fraction_text(form.number))
        if form.kind == "const":
            return 2
        if form.kind == "leaf":
            return len(form.op)
        if form.kind == "call":
            if form.op in TRUTHS:
                return 2 + sum(self.sizes[a] for a in form.args)
            return len(form.op) + 1 + sum(self.sizes[a] + 1 for a in form.args)
        if form.kind == "sum":
            size = -1 if all(c > 0 for _, c in form.terms) else 0
            size += len(fraction_text(abs(form.number))) + 1 if form.number else 0
            for term, coefficient in form.terms:
                size += 1 + self.sizes[term] + (len(fraction_text(abs(coefficient))) + 1 if abs(coefficient) != 1 else 0)
            return size
        return self._size_of_product(form)

    def _size_of_product(self, form: Form) -> int:
        above = below = 0
        count = 0
        for base, exponent in form.terms:
            size = self.sizes[base] + (2 if self.all[base].kind in ("sum", "product") else 0)
            if abs(exponent) == HALF:
                size = self.sizes[base] + 6
            elif abs(exponent) != 1:
                size += 2 + len(fraction_text(abs(exponent)))
            if exponent > 0:
                above += size + 1
            else:
                below += size + 1
                count += 1
        number = abs(form.number)
        if max(number.numerator, number.denominator) > LONG_FRACTION:
            above += len(fraction_text(number)) + 1
            number = ONE
        if number.numerator != 1:
            above += len(str(number.numerator)) + 1
        if number.denominator != 1:
            below += len(str(number.denominator)) + 1
            count += 1
        return (above or 2) - 1 + (form.number < 0) + (below + (2 if count > 1 else 0) if below else 0)


def fraction_text(number: Fraction) -> str:
    """Return a number as it is written in an expression: an integer, a decimal fraction or a quotient."""
    if number.denominator == 1:
        return str(number.numerator)
    decimal = f"{float(number):.15g}"
    quotient = f"{number.numerator}/{number.denominator}"
    if Fraction(decimal) == number:
        return decimal
    return quotient if len(quotient) <= 20 else repr(float(number))


def _value(fun: object, numbers: Sequence[float]) -> float:
    assert callable(fun)
    with np.errstate(all="ignore"):
        return float(fun(*map(np.float64, numbers)))
