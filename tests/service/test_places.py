"""Who runs, and who comes next."""

import asyncio
from collections.abc import Callable

import pytest

from app.service.places import Places, Ticket


class Hall:
    """Places, and the tickets that came, by name: the client's letter and a number. A capital letter is short work."""

    def __init__(self, count: int) -> None:
        self.places = Places(count)
        self.tickets: dict[str, Ticket] = {}

    def come(self, *names: str) -> None:
        """Tickets come in this order."""
        for name in names:
            ticket = self.tickets[name] = Ticket(name[0].lower(), name[0].isupper())
            self.places.add(ticket)

    def go(self, *names: str) -> None:
        """Tickets end, or give up."""
        for name in names:
            self.places.remove(self.tickets.pop(name))

    @property
    def running(self) -> set[str]:
        """Those that have a place."""
        return {name for name, ticket in self.tickets.items() if ticket.granted.done()}

    @property
    def next(self) -> str:
        """Who gets the place that the one that runs leaves."""
        before = self.running
        self.go(*before)
        (name,) = self.running
        return name


def hall(count: int, test: Callable[[Hall], None]) -> None:
    """Run a test where an event loop runs."""

    async def main() -> None:
        test(Hall(count))

    asyncio.run(main())


def test_one_client_is_served_in_order() -> None:
    def test(hall: Hall) -> None:
        hall.come("a1", "a2", "a3")
        assert hall.running == {"a1"} and hall.places.waiting == 2
        assert [hall.next, hall.next] == ["a2", "a3"]

    hall(1, test)


def test_clients_take_turns() -> None:
    """However many computations of one wait, another's first waits for one of them only."""

    def test(hall: Hall) -> None:
        hall.come("a1", "a2", "a3", "a4", "b1", "b2", "c1")
        assert [hall.next for _ in range(6)] == ["a2", "b1", "c1", "a3", "b2", "a4"]

    hall(1, test)


def test_short_work_has_a_place_while_all_others_are_taken() -> None:
    def test(hall: Hall) -> None:
        hall.come("a1", "a2", "a3", "B1", "B2", "C1")
        assert hall.running == {"a1", "a2", "B1"}
        hall.go("B1")
        assert hall.running == {"a1", "a2", "B2"}
        hall.go("B2")
        assert hall.running == {"a1", "a2", "C1"}
        hall.go("C1")
        assert hall.running == {"a1", "a2"}, "the place is kept"

    hall(2, test)


def test_short_work_may_have_every_place_that_nobody_else_waits_for() -> None:
    def test(hall: Hall) -> None:
        hall.come("A1", "A2", "A3", "A4", "A5", "b1", "b2")
        assert hall.running == {"A1", "A2", "A3"}
        hall.go("A1")
        assert hall.running == {"A2", "A3", "b1"}, "long work comes before short work while short work runs"
        hall.go("A2")
        assert hall.running == {"A3", "b1", "b2"}
        hall.go("A3")
        assert hall.running == {"b1", "b2", "A4"}

    hall(2, test)


def test_ticket_that_gives_up_makes_room() -> None:
    def test(hall: Hall) -> None:
        hall.come("a1", "b1", "a2", "c1")
        hall.go("b1", "c1")
        assert hall.places.waiting == 1 and hall.places.count_waiting("b") == 0
        assert hall.next == "a2"

    hall(1, test)


def test_short_ticket_that_gives_up_makes_room() -> None:
    def test(hall: Hall) -> None:
        hall.come("A1", "B1", "C1", "A2")
        assert hall.running == {"A1", "B1"}
        hall.go("C1")
        assert hall.places.waiting == 1 and hall.places.count_waiting("c") == 0
        hall.go("B1")
        assert hall.running == {"A1", "A2"} and len(hall.places.running) == 2

    hall(1, test)


@pytest.mark.parametrize(
    ("names", "last"),
    [
        (("a1",), None),
        (("a1", "b1"), "b1"),
        (("a1", "b1", "c1", "c2"), "c2"),
        (("a1", "b1", "b2", "c1", "B3", "B4"), "b2"),
        (("a1", "A2", "b1", "b2", "c1", "C2", "C3"), "c1"),
    ],
)
def test_greediest_is_the_client_that_has_most_waiting(names: tuple[str, ...], last: str | None) -> None:
    """Its last long work is what is turned away, before its short work."""

    def test(hall: Hall) -> None:
        hall.come(*names)
        assert hall.places.greediest() is (hall.tickets[last] if last else None)

    hall(1, test)
