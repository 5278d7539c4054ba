"""Every link inside the pages leads to a page, a file or a heading that is there."""

import itertools
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from tests.docs.blocks import ROOT, pages, tokens

PAGES = pages()
PICTURES = ROOT / "docs" / "pictures"


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub and the site make of the headings of a page."""
    found: dict[str, int] = {}
    kinds = tokens(text)
    for opened, inline in itertools.pairwise(kinds):
        if opened.type == "heading_open":
            plain = "".join(child.content for child in inline.children or ())
            slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
            found[slug] = found.get(slug, 0) + 1
    return {f"{slug}-{n}" if n else slug for slug, count in found.items() for n in range(count)}


def links(text: str) -> Iterator[str]:
    for token in tokens(text):
        for child in token.children or ():
            target = child.attrGet("href") or child.attrGet("src")
            if target and not urllib.parse.urlsplit(str(target)).scheme:
                yield urllib.parse.unquote(str(target))


def broken(page: str, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent / path if path else ROOT / page
    if not target.is_file():
        return True
    return bool(anchor) and anchor not in anchors(target.read_text("utf-8"))


def test_every_link_inside_the_pages_leads_somewhere() -> None:
    found = [(page, link) for page, text in PAGES.items() for link in links(text)]
    assert [f"{page}: {link}" for page, link in found if broken(page, link)] == []
    assert len(found) > 150


def test_a_link_to_nowhere_and_one_to_a_heading_that_is_gone_are_found() -> None:
    assert broken("README.md", "docs/howto/nothing.md")
    assert broken("README.md", "docs/howto/keys.md#the-old-heading")
    assert not broken("docs/explanation/security.md", "../howto/keys.md#change-the-daemons-keys")


def test_every_page_stands_in_the_index_of_its_folder() -> None:
    for folder in sorted({Path(page).parent for page in PAGES} - {Path()}):
        index = str(folder / "index.md")
        assert index in PAGES, f"{folder} has no index.md"
        listed = {(folder / link).name for link in links(PAGES[index]) if "/" not in link}
        here = {Path(page).name for page in PAGES if Path(page).parent == folder}
        assert here - listed == {"index.md"}, f"give each page a line in {index}"


def test_every_picture_that_is_here_is_shown_where_a_page_keeps_room_for_it() -> None:
    waiting = [
        f"{page}: {name}"
        for page, text in PAGES.items()
        for name in re.findall(r"<!-- picture: ([\w.-]+) -->", text)
        if (PICTURES / name).exists()
    ]
    assert waiting == [], "write ![what it shows](path of the picture) in its place"


def test_the_site_is_read_without_a_network() -> None:
    for page, text in PAGES.items():
        assert not re.search(r"!\[[^\]]*\]\(https?:|<(?:script|img|iframe)\b", text), page
