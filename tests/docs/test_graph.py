"""The picture that the site shows in the place of a graph."""

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

from docs.site.graph import arrows, svg
from tests.docs.blocks import pages

PAGE = pages()["docs/explanation/architecture.md"]
ROOMS = re.findall(r"```mermaid\n(.*?)```", PAGE, re.DOTALL)[0]
NAMESPACE = "{http://www.w3.org/2000/svg}"


def drawn(text: str) -> tuple[dict[str, tuple[float, float]], list[str]]:
    """Return the place of each box by its name, and the paths."""
    root = ET.fromstring(svg(text))
    names = {
        str(each.text): (float(each.attrib["x"]), float(each.attrib["y"]))
        for each in root.iter(f"{NAMESPACE}text")
    }
    return names, [each.attrib["d"] for each in root.iter(f"{NAMESPACE}path")]


def test_every_room_has_a_box_below_those_that_import_it() -> None:
    places, paths = drawn(ROOMS)
    found = arrows(ROOMS)
    assert len(found) > 20
    assert set(places) == {name for arrow in found for name in arrow}
    assert [arrow for arrow in found if places[arrow[0]][1] >= places[arrow[1]][1]] == []
    assert sum(path.count("L") == 2 for path in paths) == len(found)  # each has one tip


def test_boxes_of_a_row_do_not_touch() -> None:
    places, _ = drawn(ROOMS)
    rows: dict[float, list[tuple[float, str]]] = {}
    for name, (x, y) in places.items():
        rows.setdefault(y, []).append((x, name))
    for row in rows.values():
        for (left, name), (right, other) in pairwise(sorted(row)):
            assert right - left > (len(name) + len(other)) * 4.1 + 18


def test_an_arrow_over_a_row_goes_beside_the_box_that_stands_there() -> None:
    places, paths = drawn("a --> b\nb --> c\na --> c\n")
    bends = {float(x) for path in paths for x in re.findall(r"^M(\d+)", path)}
    assert bends - {x for x, _ in places.values()}


def test_the_same_text_gives_the_same_picture() -> None:
    assert svg(ROOMS) == svg(ROOMS)
