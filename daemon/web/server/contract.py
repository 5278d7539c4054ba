"""What the server needs of the rest of the room: the data of the pages, and their HTML."""

from collections.abc import Collection, Mapping
from typing import Any, Literal, Protocol

from daemon.web.views import FeedView, JournalView, Overview, SlotView, VersionView
from hyperdrift.slot_name import SlotName

PageName = Literal["overview", "slot", "version", "feed", "journal", "sign-in", "error"]
"""The pages; their views are Overview, SlotView, VersionView, FeedView, JournalView, SignIn and
Problem."""


class PageData(Protocol):
    """The data of the pages, which is also the API's."""

    async def overview(self) -> Overview:
        """Return the first page."""
        ...

    async def slot(self, name: SlotName) -> SlotView:
        """Return the page of a slot of this daemon."""
        ...

    async def version(self, name: SlotName, model_id: str) -> VersionView | None:
        """Return the page of a version; None if the slot has no such version."""
        ...

    async def journal(
        self,
        name: SlotName | None = None,
        kinds: Collection[str] = (),
        since_ms: int | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> JournalView:
        """Return entries of the journal, newest first.

        Args:
            name: Only of this slot; None is of all, and of the daemon itself.
            kinds: Only of these kinds; none given is all kinds but the scores of bars.
            since_ms: Only from this time on, ms UTC.
            before: Only entries with a smaller number.
            limit: At most so many, 1 to 200.
        """
        ...

    async def feed(self) -> FeedView:
        """Return the page of the feed."""
        ...


class Renderer(Protocol):
    """Makes HTML of the data. Its methods run in a thread."""

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
        """Return a whole page.

        Args:
            name: Which page.
            view: Its data.
            signed_in: Whether the visitor may command.
            csrf: What every form must send as `csrf`; empty if the visitor is not signed in.
            now_ms: The time of the venue, ms UTC.
            notice: What became of the visitor's last order; empty if there was none.
            query: The query of the address, such as a filter; a hostile one is possible.
        """
        ...

    def fragment(self, name: PageName, view: Any, *, now_ms: int) -> str:
        """Return the parts of a page that change, for all who look at it, signed in or not.

        `EventSource("/live?topics=overview,journal,feed,slot-BTC-5m")` gets it as the data of an
        event with the name of the topic.

        Args:
            name: `overview`, `slot`, `feed` or `journal`.
            view: The data of that page.
            now_ms: The time of the venue, ms UTC.
        """
        ...
