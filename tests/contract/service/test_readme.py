"""The tables of the README match the code. `tests/readme` runs its programs."""

import httpx
from pydantic import SecretStr

from app.engine.primitives import ALIASES, WIRE
from app.settings import Settings
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")


def test_table_of_primitives_matches_the_code() -> None:
    lines = ["| name | arguments | value | derivative by each argument | domain | at a kink |", "|---|---|---|---|---|---|"]
    for row in WIRE.values():
        names = [row.name, *(alias for alias, name in ALIASES.items() if name == row.name)]
        count = str(row.min_arity) if row.min_arity == row.max_arity else f"{row.min_arity} or more"
        derivative = ", ".join(f"`{d}`" for d in row.derivative)
        cells = [", ".join(f"`{n}`" for n in names), count, f"`{row.formula}`", derivative, row.domain_note, row.kink]
        lines.append(f"| {' | '.join(cells)} |")
    expected = "\n".join(lines)
    assert expected in README, f"the README's table should be:\n{expected}"


def test_table_of_settings_matches_the_code() -> None:
    lines = []
    for name, field in Settings.model_fields.items():
        plain = not field.default_factory and field.default not in (None, "", SecretStr(""))
        default = f"`{field.default}` " if plain else ""
        lines.append(f"| `AUTODIFF_{name.upper()}` | {default}| {field.description} |")
    expected = "\n".join(lines)
    assert expected in README, f"the README's settings should be:\n{expected}"


def test_every_endpoint_is_listed(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert [path for path in paths if path not in README] == []
