"""Derivatives as a person would write them: nodes become normal forms, which are written anew as nodes."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from app.engine.errors import EngineError
from app.engine.graph import Graph, Node
from app.engine.interruption import Checkpoint, never
from app.engine.normal_forms import HALF, MAX_SIZE, ONE, Form, Forms, Terms, TooManyDigitsError, fraction_text
from app.engine.primitives import ALIASES, LEAF


def simplified(graph: Graph, kept: int, *, checkpoint: Checkpoint = never) -> Graph:
    """Return the graph with all nodes from position `kept` on written as a person would, and the same outputs.

    Where numbers leave the range of doubles, the graph is returned as it is.
    """
    try:
        forms = Forms()
        places: dict[str, int] = {}
        live = graph.wiring.order[: graph.wiring.live].tolist()
        for position in live:
            checkpoint()
            node = graph.nodes[position]
            places[node.id] = forms.of_node(node, places)
        found = _Writer(graph, kept, forms, places).graph(checkpoint)
        return found if len(found.nodes) <= 2 * len(graph.nodes) else graph  # merged sums may have lost shared parts
    except (TooManyDigitsError, OverflowError, EngineError):
        return graph


def _sizes(graph: Graph) -> dict[str, int]:
    """About how many characters each needed node takes when it is written as it stands."""
    sizes: dict[str, int] = {}
    for position in graph.wiring.order[: graph.wiring.live].tolist():
        node = graph.nodes[position]
        parts = [sizes[a] if isinstance(a, str) else len(f"{a:g}") for a in node.args]
        if node.op == LEAF:
            size = len(node.id)
        elif node.op in ("add", "sub", "mul", "divide", "div", "neg", "pow"):
            size = sum(parts) + (2 if node.op == "pow" else 1)
        else:
            size = len(node.op) + 1 + sum(parts) + len(parts)
        sizes[node.id] = min(size, MAX_SIZE)
    return sizes


class _Writer:
    """Writes forms as nodes, in the order in which a person writes them. Nodes of the original serve where they fit."""

    def __init__(self, graph: Graph, kept: int, forms: Forms, places: Mapping[str, int]) -> None:
        self.original = graph
        self.forms = forms
        self.nodes: list[Node] = list(graph.nodes[:kept])
        self.made: dict[int, str | float] = {}
        self.known: dict[tuple[object, ...], str] = {}
        self.outputs = {name: places[name] for name in graph.outputs}
        self.count = 0
        roots = {node.op for node in self.nodes if node.op == "sqrt" or node.args[1:] == (0.5,)}
        self.powers = roots == {"pow"}
        for node in self.nodes:
            if node.op == LEAF:
                self.made.setdefault(places.get(node.id, -1), node.id)
            elif node.id in places:
                self.known.setdefault((ALIASES.get(node.op, node.op), *node.args), node.id)
        named = set(graph.names)
        sizes = _sizes(graph)
        for node in sorted(self.nodes, key=lambda node: node.id not in named):
            form = places.get(node.id, -1)
            short = form >= 0 and (node.id in named or sizes[node.id] <= forms.size(form))
            if short and node.op not in (LEAF, "sum", "mean", "prod") and forms.all[form].kind not in ("number", "const"):
                self.made.setdefault(form, node.id)

    def graph(self, checkpoint: Checkpoint) -> Graph:
        """The graph with its nodes written anew, and those that nothing needs left out."""
        kept = len(self.nodes)
        known = {node.id for node in self.nodes}
        written = {name: self.write(form, checkpoint) for name, form in self.outputs.items() if name not in known}
        ids: dict[str, str] = {}
        for name, operand in written.items():
            if isinstance(operand, str) and operand not in known:
                ids.setdefault(operand, name)
        taken = {*known, *self.original.outputs}
        numbers = iter(range(1, 2 * len(self.nodes) + len(taken) + 2))
        nodes = self.nodes[:kept]
        for node in self.nodes[kept:]:
            if node.id not in ids:
                ids[node.id] = next(name for k in numbers if (name := f"%{k}") not in taken)
            args = tuple([ids.get(a, a) if isinstance(a, str) else a for a in node.args])
            nodes.append(Node(ids[node.id], node.op, args))
        own = set(ids.values())
        for name, operand in written.items():
            if name not in own:
                nodes.append(Node(name, "sum", (ids.get(operand, operand) if isinstance(operand, str) else operand,)))
        graph = self.original
        names = () if graph.every_node_named else graph.names
        return Graph(nodes, graph.outputs, names, graph.source)

    def write(self, form: int, checkpoint: Checkpoint) -> str | float:
        """The operand of a form: the id of a node, or a number."""
        pending = [form]
        while pending:
            checkpoint()
            top = pending[-1]
            found = self.forms.all[top]
            missing = [part for part in self._parts_of(found) if part not in self.made]
            if top in self.made:
                pending.pop()
            elif missing:
                pending.extend(reversed(missing))
            else:
                self.made[top] = self._operand(found)
                pending.pop()
        return self.made[form]

    def _parts_of(self, form: Form) -> Iterable[int]:
        """The forms that must be written before this one."""
        yield from form.args
        for inner, coefficient in form.terms:
            term = self.forms.all[inner]
            if form.kind == "sum" and term.kind == "product" and abs(coefficient) != 1:
                yield from (base for base, _ in term.terms)
            else:
                yield inner

    def _operand(self, form: Form) -> str | float:
        if form.kind == "number":
            return self._number(form.number)
        if form.kind == "const":
            return form.value
        if form.kind == "call":
            return self._node(form.op, *[self.made[a] for a in form.args])
        return self._sum(form) if form.kind == "sum" else self._product(form.number, form.terms)

    def _number(self, number: Fraction) -> str | float:
        text = fraction_text(number)
        if "/" not in text:
            return float(text)
        return self._node("divide", float(number.numerator), float(number.denominator))

    def _sum(self, form: Form) -> str | float:
        """Positive terms first, in their order, and the number last unless all others are negative."""
        terms = sorted(form.terms, key=lambda term: term[1] < 0)
        total: str | float | None = None
        if form.number > 0 and terms[0][1] < 0:
            total = self._number(form.number)
        for term, coefficient in terms:
            size = abs(coefficient)
            found = self.forms.all[term]
            factors = found.terms if found.kind == "product" else ((term, ONE),)
            if total is None and coefficient < 0:
                total = self._node("neg", self.made[term]) if size == 1 else self._product(coefficient, factors)
                continue
            positive = self.made[term] if size == 1 else self._product(size, factors)
            if total is None:
                total = positive
            else:
                total = self._node("add" if coefficient > 0 else "sub", total, positive)
        assert total is not None
        if form.number and not (form.number > 0 and terms[0][1] < 0):
            total = self._node("add" if form.number > 0 else "sub", total, self._number(abs(form.number)))
        return total

    def _product(self, number: Fraction, terms: Terms) -> str | float:
        """A number, then powers: those of leaves, sums, functions. Negative exponents make a denominator."""
        above: list[str | float] = []
        below: list[str | float] = []
        for base, exponent in self._roots(sorted(terms, key=lambda term: self._rank(term[0]))):
            (above if exponent > 0 else below).append(self._power(base, abs(exponent)))
        upper, lower, negative = self._parts(number, bool(above))
        if upper != 1 or not above:
            above.insert(0, float(upper))
            if negative and (upper != 1 or lower == 1):
                above[0], negative = -float(upper), False
        if lower != 1:
            below.insert(0, float(lower))
        top = self._chain(above)
        if below:
            top = self._node("divide", top, self._chain(below))
        return self._node("neg", top) if negative else top

    def _roots(self, terms: Iterable[tuple[int, Fraction]]) -> Iterable[tuple[str | float, Fraction]]:
        """Written bases with exponents. The square roots of several constants are that of their product: sqrt(2*pi)."""
        constants: dict[Fraction, list[str | float]] = {}
        for base, exponent in terms:
            form = self.forms.all[base]
            if abs(exponent) == HALF and (form.kind == "const" or (form.kind == "number" and form.number > 0)):
                constants.setdefault(exponent, []).append(self.made[base])
            else:
                yield self.made[base], exponent
        for exponent, factors in constants.items():
            yield self._chain(factors), exponent

    def _parts(self, number: Fraction, any_above: bool) -> tuple[Fraction, Fraction, bool]:
        """A number as numerator and denominator; a decimal fraction has the denominator 1."""
        size = abs(number)
        if size.denominator > 1 and not (size.numerator == 1 and size.denominator < 10):
            text = fraction_text(size)
            if "/" not in text and (size.numerator != 1 or any_above):
                return Fraction(text), ONE, number < 0
        return Fraction(size.numerator), Fraction(size.denominator), number < 0

    def _chain(self, factors: Sequence[str | float]) -> str | float:
        product = factors[0]
        for factor in factors[1:]:
            product = self._node("mul", product, factor)
        return product

    def _power(self, base: str | float, exponent: Fraction) -> str | float:
        if exponent == 1:
            return base
        if exponent == HALF and not self.powers:
            return self._node("sqrt", base)
        if exponent == 2 and (square := self.known.get(("square", base))):
            return square
        return self._node("pow", base, self._number(exponent))

    def _rank(self, base: int) -> tuple[int, int]:
        form = self.forms.all[base]
        return {"number": 0, "const": 0, "leaf": 1, "product": 1, "sum": 2}.get(form.kind, 3), base

    def _node(self, op: str, *args: str | float) -> str:
        key = (op, *args)
        found = self.known.get(key)
        if found is None and op in ("add", "mul"):
            found = self.known.get((op, *reversed(args)))
        if found is None:
            self.count += 1
            found = self.known[key] = f"\0{self.count}"
            self.nodes.append(Node(found, op, args))
        return found
