"""The tables of the README match the code. `tests/readme` runs its programs."""

import httpx
from pydantic import SecretStr

from app import __main__ as command
from app import machine
from app.api.bridges import tesseract_work
from app.api.expressions import derivatives
from app.api.expressions import work as expressions
from app.api.networks import datasets
from app.api.networks import work as networks
from app.api.solvers import fit, minimize, propagate
from app.engine.primitives import ALIASES, WIRE
from app.service import bodies, connections, execution, lifecycle, memory, problems, routing, streaming
from app.settings import Settings
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")


def assert_shown(lines: list[str]) -> None:
    """Assert that these lines stand in the README, one after the other."""
    expected = "\n".join(lines)
    assert expected in README, f"the README should have:\n{expected}"


def test_table_of_primitives_matches_the_code() -> None:
    lines = ["| name | arguments | value | derivative by each argument | domain | at a kink |", "|---|---|---|---|---|---|"]
    for row in WIRE.values():
        names = [row.name, *(alias for alias, name in ALIASES.items() if name == row.name)]
        count = str(row.min_arity) if row.min_arity == row.max_arity else f"{row.min_arity} or more"
        derivative = ", ".join(f"`{d}`" for d in row.derivative)
        cells = [", ".join(f"`{n}`" for n in names), count, f"`{row.formula}`", derivative, row.domain_note, row.kink]
        lines.append(f"| {' | '.join(cells)} |")
    assert_shown(lines)


def test_table_of_settings_matches_the_code() -> None:
    lines = []
    for name, field in Settings.model_fields.items():
        plain = not field.default_factory and field.default not in (None, "", SecretStr(""))
        default = f"`{field.default}` " if plain else ""
        lines.append(f"| `AUTODIFF_{name.upper()}` | {default}| {field.description} |")
    assert_shown(lines)


def test_table_of_estimates_matches_the_code() -> None:
    terms: list[tuple[str, float | None, int | None]] = [
        ("one character of a text, parsed", expressions.SECONDS_PER_CHARACTER, expressions.BYTES_PER_CHARACTER),
        ("one entry of a MathJSON array, read", expressions.SECONDS_PER_ENTRY, expressions.BYTES_PER_ENTRY),
        ("one node of a graph, recorded", expressions.SECONDS_PER_NODE, expressions.BYTES_PER_NODE),
        ("one argument of a node with many", None, expressions.BYTES_PER_ARGUMENT),
        ("one instruction at one point", expressions.SECONDS_PER_INSTRUCTION, None),
        ("one number of a response", expressions.SECONDS_PER_NUMBER, expressions.BYTES_PER_NUMBER),
        ("one number of a response that is a sum over points, in addition", None, expressions.BYTES_PER_SUM),
        ("one entry of a sparse matrix, besides its number", None, expressions.BYTES_PER_PLACE),
        ("a check of gradients, at least", expressions.SECONDS_PER_CHECK, None),
        ("one node, differentiated", derivatives.SECONDS_PER_NODE, derivatives.BYTES_PER_NODE),
        ("one node, simplified and written in every form", derivatives.SECONDS_PER_FORM, None),
        ("one node of a derivative, written in every form", None, derivatives.BYTES_PER_WRITTEN_NODE),
        ("one node or edge of a drawing", None, expressions.BYTES_PER_ROW),
        ("a picture", None, expressions.BYTES_PER_PICTURE),
        ("one node in a picture", None, expressions.BYTES_PER_DRAWN_NODE),
        ("one number in a picture", None, expressions.BYTES_PER_DRAWN_NUMBER),
        ("one weight of a network and one row, forward and back", networks.SECONDS_PER_PRODUCT, None),
        ("one layer in one step of a training", networks.SECONDS_PER_LAYER, None),
        ("one weight, drawn and written", networks.SECONDS_PER_WEIGHT, None),
        ("one row of a training's history", None, networks.BYTES_PER_HISTORY_ROW),
        ("one row of a data set", datasets.SECONDS_PER_ROW, None),
        ("one weight in source code", networks.SECONDS_PER_WRITTEN, networks.BYTES_PER_WRITTEN),
        ("one weight in a file that is written", None, networks.BYTES_PER_EXPORTED),
        ("one weight in a file that is read", None, networks.BYTES_PER_STORED),
        ("one byte of a file that is read", None, networks.BYTES_PER_BYTE),
        ("a file that is read", None, networks.BYTES_OF_FIELDS),
        ("one iteration of a search for a minimum", minimize.SECONDS_PER_ITERATION, None),
        ("one of the n³ steps of factorizing a matrix for n variables", minimize.SECONDS_PER_CUBE, None),
        ("one entry of such a matrix", None, minimize.BYTES_PER_ENTRY),
        ("one search", None, minimize.BYTES_PER_SEARCH),
        ("one number of a trajectory", None, minimize.BYTES_PER_VALUE),
        ("a fit, at least", fit.SECONDS_PER_FIT, None),
        ("one node at one row, evaluated with twice the digits", fit.SECONDS_PER_PRECISE_INSTRUCTION, None),
        ("one entry of a fit's Jacobian", None, fit.BYTES_PER_ENTRY),
        ("one random number of an input", propagate.SECONDS_PER_DRAW, None),
        ("one sample of an output", propagate.SECONDS_PER_SAMPLE, propagate.BYTES_PER_SAMPLE),
        ("a block of samples", None, propagate.BYTES_PER_BLOCK),
        ("one node of a derivative of second order", propagate.SECONDS_PER_RULE, None),
        ("one number of an array of Tesseract", None, tesseract_work.BYTES_PER_ENTRY),
    ]
    lines = ["| | seconds | bytes |", "|---|---|---|"]
    for text, seconds, size in terms:
        cells = [text, "" if seconds is None else f"{seconds:g}", "" if size is None else f"{size:,}"]
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    assert_shown(lines)


def test_table_of_fixed_numbers_matches_the_code() -> None:
    numbers: list[tuple[str, str]] = [
        ("estimated run time up to which the event loop computes", f"{execution.INLINE_SECONDS:g} s"),
        ("largest body of such work", f"{execution.INLINE_BYTES:,} bytes"),
        ("estimated run time of work for which a place is kept", f"{execution.SHORT_SECONDS:g} s"),
        ("largest body of that work", f"{execution.SHORT_BYTES:,} bytes"),
        ("body up to which a fault in the JSON is explained in full", f"{bodies.EXPLAINED_BYTES:,} bytes"),
        ("body from which its memory is counted", f"{bodies.HELD_BYTES:,} bytes"),
        ("memory of a body while it is parsed, in bytes per byte", f"{bodies.DECODED_RATIO}"),
        ("part of the memory that bodies on their way may take", f"{memory.UPLOADS:g}"),
        ("most memory for a process by default", f"{machine.ENOUGH_BYTES:,} bytes"),
        ("errors that a problem lists", f"{problems.MAX_ERRORS}"),
        ("characters of a problem's detail", f"{problems.MAX_DETAIL_LENGTH:,}"),
        ("response from which it is compressed", f"{routing.MIN_COMPRESSED_BYTES:,} bytes"),
        ("time between two progress events", f"{streaming.PROGRESS_SECONDS:g} s"),
        ("rate at which a client that is slow is waited for", f"{connections.LEAST_RATE:,} bytes/s"),
        ("time between two looks at the connections", f"{connections.SWEEP_SECONDS:g} s"),
        ("time to read the rest of a body after its response", f"{connections.LINGER_SECONDS:g} s"),
        ("time in which requests are accepted after SIGTERM", f"{lifecycle.GRACE_SECONDS:g} s"),
        ("silence after which that time ends early", f"{lifecycle.QUIET_SECONDS:g} s"),
        ("time after which a worker that does not answer is replaced", f"{command.WORKER_SILENCE_S} s"),
    ]
    assert_shown(["| | |", "|---|---|", *(f"| {what} | {number} |" for what, number in numbers)])


def test_every_endpoint_is_listed(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert [path for path in paths if path not in README] == []
