"""Pages without any form: the data as text. They stand in where no other pages are."""

import html
from collections.abc import Mapping
from typing import Any

import msgspec

from daemon.web.server.contract import PageName


class PlainPages:
    """Shows the data of a page as JSON."""

    def render(
        self,
        name: PageName,
        view: Any,
        *,
        signed_in: bool,
        csrf: str,
        now_ms: int,
        notice: str = "",
        query: Mapping[str, str] = {},
    ) -> str:
        """Return a whole page."""
        del query, csrf, signed_in
        shown = self.fragment(name, view, now_ms=now_ms)
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>hyperdrift</title>'
            f"<p>{html.escape(notice)}</p><main>{shown}</main></html>"
        )

    def fragment(self, name: PageName, view: Any, *, now_ms: int) -> str:
        """Return the data as text."""
        del name, now_ms
        text = msgspec.json.format(msgspec.json.encode(view), indent=2).decode()
        return f"<pre>{html.escape(text)}</pre>"
