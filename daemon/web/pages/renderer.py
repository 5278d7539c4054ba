"""Make the HTML of a page from its data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup

from daemon.core.outside_text import escaped
from daemon.journal.said import sentence
from daemon.mqtt.retrain_messages import ordinal
from daemon.web.pages import formats, plots, tables, words

_FOLDER: Final = Path(__file__).parent
STATIC: Final = _FOLDER / "static"
"""The files that pages refer to as `/static/<name>`."""
LONGEST: Final = 1000
"""Characters of one text that a page shows."""

_FILTERS: Final = (
    *(formats.as_text, formats.clock_time, formats.day_and_time, formats.duration, formats.field),
    *(formats.number, formats.path_part, formats.percent, formats.signed, formats.significant),
    *(ordinal, sentence),
)
_GLOBALS: Final = (
    *(formats.relative, formats.time_element, formats.trained_at),
    *(plots.drift_plot, plots.equity_plot, plots.interval_plot, plots.mark_link),
    *(plots.sparkline, plots.timeline_plot),
    *(tables.chosen_slots, tables.sort_link, tables.sorted_feed, tables.urgency_counts),
    *(tables.with_query, words.bad, words.doubtful, words.good, words.word),
)
_CONSTANTS: Final = {
    "CARDS": tables.CARDS,
    "FEED_COLUMNS": tuple(tables.FEED_COLUMNS),
    "MARKS": words.MARKS,
    "ORDERS": words.ORDERS,
    "PHASES": words.PHASES,
    "SEVERITIES": words.SEVERITIES,
    "STEPS": words.STEPS,
    "URGENCIES": words.URGENCIES,
}


class PageRenderer:
    """Renders pages by the templates beside this module; it may be used by several threads."""

    def __init__(self) -> None:
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=_shown,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters.update({one.__name__: one for one in _FILTERS})
        self._templates.globals.update({one.__name__: one for one in _GLOBALS}, **_CONSTANTS)

    def render(
        self,
        name: str,
        view: Any,
        *,
        signed_in: bool,
        csrf: str,
        now_ms: int,
        notice: str = "",
        query: Mapping[str, str] = {},
    ) -> str:
        """Return a whole page.

        Args:
            name: `overview`, `slot`, `version`, `feed`, `journal`, `sign-in` or `error`.
            view: Its data: the struct of that name in `daemon.web.views`.
            signed_in: Whether the visitor may command.
            csrf: What every form sends as `csrf`.
            now_ms: The time of the venue, ms UTC.
            notice: What became of the visitor's last order; empty if there was none.
            query: The query of the address, such as a filter.
        """
        return self._templates.get_template(f"{name}.html").render(
            page=name,
            whole=True,
            view=view,
            signed_in=signed_in,
            csrf=csrf,
            now_ms=now_ms,
            notice=notice,
            query=query,
        )

    def fragment(self, name: str, view: Any, *, now_ms: int) -> str:
        """Return the parts of a page that change, the same for every visitor.

        Args:
            name: `overview`, `slot`, `feed` or `journal`.
            view: Its data.
            now_ms: The time of the venue, ms UTC.
        """
        template = self._templates.get_template("fragment.html")
        return template.render(page=name, whole=False, view=view, now_ms=now_ms, query={})


def _shown(value: Any) -> Any:
    """Return what a page shows of a value: not too much of a text, and no hidden characters."""
    if value is None:
        return formats.NONE
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return escaped(value[:LONGEST]) + ("…" if len(value) > LONGEST else "")
