"""Print tables and coloured lines; of rich's own classes only this one prints.

What a program from outside wrote must neither move the cursor nor be read as rich's markup.
"""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from daemon.core.outside_text import escaped


class EscapingConsole(Console):
    """A console that takes no markup, and escapes what is not shown, line breaks of strings too.

    Args:
        options: As rich's own class takes them.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a text of one line, before rich drops some of its characters."""
        return super().render_str(escaped(text).replace("\n", "\\n"), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the pieces of what is printed; those that rich itself steers by stay."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else piece._replace(text=escaped(piece.text))
