"""Places in the pool: which computations run, and which come next.

Clients take turns, so that many computations of one do not keep those of others waiting. One place is kept for short work.
"""

import asyncio
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Ticket:
    """A computation's claim to a place. `granted` is done when it has one."""

    client: Hashable
    is_short: bool
    granted: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Turns:
    """Tickets that wait. Each client's are in order, and clients take turns."""

    def __init__(self) -> None:
        self.of_clients: dict[Hashable, deque[Ticket]] = {}

    def __len__(self) -> int:
        return sum(map(len, self.of_clients.values()))

    def add(self, ticket: Ticket) -> None:
        """Put a ticket behind the others of its client; a client that has none comes last."""
        self.of_clients.setdefault(ticket.client, deque()).append(ticket)

    def pop(self) -> Ticket:
        """Take the first ticket of the client whose turn it is."""
        client = next(iter(self.of_clients))
        tickets = self.of_clients.pop(client)
        ticket = tickets.popleft()
        if tickets:
            self.of_clients[client] = tickets
        return ticket

    def discard(self, ticket: Ticket) -> None:
        """Take out a ticket, if it is there."""
        tickets = self.of_clients.get(ticket.client)
        if tickets and ticket in tickets:
            tickets.remove(ticket)
            if not tickets:
                del self.of_clients[ticket.client]

    def count(self, client: Hashable) -> int:
        """How many tickets of a client wait."""
        return len(self.of_clients.get(client, ()))


class Places:
    """`count` places for any computation, and one more for short ones only."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.long, self.short = Turns(), Turns()
        self.running: set[Ticket] = set()

    @property
    def waiting(self) -> int:
        """How many tickets wait."""
        return len(self.long) + len(self.short)

    def add(self, ticket: Ticket) -> None:
        """Grant the ticket a place, now or when its turn has come."""
        (self.short if ticket.is_short else self.long).add(ticket)
        self._grant()

    def remove(self, ticket: Ticket) -> None:
        """Take back a ticket's place, or its claim to one."""
        self.running.discard(ticket)
        self.short.discard(ticket)
        self.long.discard(ticket)
        self._grant()

    def greediest(self) -> Ticket | None:
        """The last ticket of the client that has most waiting."""
        tickets = [tickets for turns in (self.long, self.short) for tickets in turns.of_clients.values()]
        return max(tickets, key=lambda t: self.count_waiting(t[-1].client))[-1] if tickets else None

    def count_waiting(self, client: Hashable) -> int:
        """How many tickets of a client wait."""
        return self.long.count(client) + self.short.count(client)

    def _grant(self) -> None:
        while (turns := self._next()) is not None:
            ticket = turns.pop()
            self.running.add(ticket)
            ticket.granted.set_result(None)

    def _next(self) -> Turns | None:
        """Who may start now: long work first, except in the last place while no short work runs."""
        running_short = sum(ticket.is_short for ticket in self.running)
        free = self.count + 1 - len(self.running)
        keeps_one = free == 1 and not running_short
        if len(self.long) and free and len(self.running) - running_short < self.count and not keeps_one:
            return self.long
        return self.short if len(self.short) and free else None
