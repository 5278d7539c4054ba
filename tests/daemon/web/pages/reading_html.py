"""Read the HTML of a page as a browser's parser sees it."""

from html.parser import HTMLParser
from typing import Any, Final

VOID: Final = {"meta", "link", "input", "br"}


class Outline(HTMLParser):
    """The elements of a page, their attributes and its text.

    Attributes:
        elements: Each element: its name and its attributes, in order.
        text: All text.
        unclosed: Elements that are open at the end, or were closed in a wrong order.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.unclosed = "", list[str]()
        self._open = list[str]()
        self.feed(page)
        self.close()
        self.unclosed += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()
        else:
            self.unclosed.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """The names of the elements and of their attributes."""
        return [(tag, tuple(attributes)) for tag, attributes in self.elements]

    def values(self, name: str) -> list[str]:
        """Return every value of one attribute."""
        return [a[name] or "" for _, a in self.elements if name in a]
