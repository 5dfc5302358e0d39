"""Reads SVG documents."""

import re
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from app.engine.graph import Graph

Floats = npt.NDArray[np.float64]

NAMESPACE = "{http://www.w3.org/2000/svg}"
FORBIDDEN = re.compile(rb"<script|<foreignObject|\son\w+=|javascript:|<!ENTITY", re.IGNORECASE)

HOSTILE = [
    "<script>alert(1)</script>",
    "\"quotes\" & 'more' \\",
    "]]> --> <!--",
    "$x^2$ $\\frac{",
    "a\u202eb",
    "温度",
]
"""Names that an SVG, Matplotlib or a browser could take for something else."""


def read(content: bytes) -> ElementTree.Element:
    """Return the root of an SVG document, after checking that it holds nothing that runs."""
    assert not FORBIDDEN.search(content)
    root = ElementTree.fromstring(content)
    assert root.tag == f"{NAMESPACE}svg"
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(set(ids)) == len(ids)
    return root


def elements(root: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
    """Return the elements of this name in document order."""
    return list(root.iter(f"{NAMESPACE}{tag}"))


def texts(root: ElementTree.Element) -> list[str]:
    """Return the texts that are shown, in document order."""
    return ["".join(element.itertext()).strip() for element in elements(root, "text")]


def markers(root: ElementTree.Element, count: int) -> Floats:
    """Return the places of the only group of `count` markers, shape (count, 2)."""
    groups = [[use for use in group if use.tag == f"{NAMESPACE}use"] for group in root.iter() if group.tag == f"{NAMESPACE}g"]
    (found,) = [group for group in groups if len(group) == count]
    return np.array([[float(use.get("x", "nan")), float(use.get("y", "nan"))] for use in found])


def assert_on_a_scale(places: Floats, numbers: Floats) -> None:
    """Assert that places in a picture are a linear function of the numbers that they show."""
    slope, offset = np.polyfit(numbers, places, 1)
    assert abs(slope) > 1e-6
    np.testing.assert_allclose(offset + slope * numbers, places, atol=0.01)


def constants_of(graph: Graph, ids: list[str]) -> set[str]:
    """Return the ids of rows that stand for numbers among the arguments."""
    return {name for name in ids if name not in graph.index}
