"""The README renders as it should on GitHub: links lead somewhere, and folded parts are closed and have blank lines around."""

import re

from tests.conftest import ROOT
from tests.readme.blocks import FENCE, README

PROSE = FENCE.sub("", README)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchor(heading: str) -> str:
    """The name by which GitHub links to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_links_lead_somewhere() -> None:
    headings = {anchor(heading) for heading in re.findall(r"^#+ (.+)$", PROSE, re.MULTILINE)}
    places = [link for link in LINK.findall(PROSE) if not link.startswith("http")]
    assert len(places) > 40
    assert [place for place in places if place.startswith("#") and place[1:] not in headings] == []
    assert [place for place in places if not place.startswith("#") and not (ROOT / place).exists()] == []


def test_folded_parts_are_closed_and_have_blank_lines_around() -> None:
    """Markdown within a part is read only after a blank line."""
    parts = re.findall(r"\n\n<details>\n<summary>[^\n<]+</summary>\n\n(.*?)\n\n</details>(?=\n\n)", README, re.DOTALL)
    assert len(parts) == README.count("<details") == README.count("</details>") > 20
    assert all("<details" not in part for part in parts)


def test_what_a_stranger_sees_first_is_short() -> None:
    """The first two blocks are the two commands of the first minute, and come before anything that folds."""
    first, second = FENCE.findall(README)[:2]
    assert first[1].startswith("python3 -m venv") and second[1].startswith("curl")
    assert README.count("\n", 0, README.index("<details>")) < 60
