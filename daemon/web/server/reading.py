"""Read what a request asks for: the same data for a page and for the API."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, NamedTuple

from aiohttp import web

from daemon.core.outside_text import printable
from daemon.core.suggestions import did_you_mean, several
from daemon.web.server.contract import PageData, PageName
from daemon.web.server.visits import Denied
from daemon.web.views import FeedView, JournalView, Overview, SlotView, VersionView, View
from hyperdrift.slot_name import SlotName

MOST_ENTRIES: Final = 200
_ENTRIES: Final = 100
_LONGEST: Final = 60
_LATEST_MS: Final = 2**53


class Read(NamedTuple):
    """One thing that can be read.

    Attributes:
        name: The name of its page.
        page: The path of its page.
        api: The path of its answer, below the version of the API.
        view: What it is.
        get: Reads it.
    """

    name: PageName
    page: str
    api: str
    view: type[View]
    get: Callable[[web.Request], Awaitable[View]]


class Reading:
    """Reads the data that requests ask for.

    Args:
        data: All data.
        slots: The slots of the daemon; they may change.
    """

    def __init__(self, data: PageData, slots: Collection[SlotName]) -> None:
        self._data, self._slots = data, slots

    @property
    def slots(self) -> tuple[SlotName, ...]:
        """The slots of the daemon now."""
        return tuple(self._slots)

    def has(self, slot: SlotName) -> bool:
        """Return whether the daemon has a slot now."""
        return slot in self._slots

    def all(self) -> tuple[Read, ...]:
        """Return everything that can be read."""
        slot, version = "/slots/{slot}", "/slots/{slot}/versions/{model_id}"
        return (
            Read("overview", "/", "/overview", Overview, self._overview),
            Read("slot", slot, slot, SlotView, self._slot),
            Read("version", version, version, VersionView, self.version),
            Read("journal", "/journal", "/journal", JournalView, self._journal),
            Read("journal", f"{slot}/journal", f"{slot}/journal", JournalView, self._journal),
            Read("feed", "/feed", "/feed", FeedView, self._feed),
        )

    def named(self, text: str) -> SlotName:
        """Return a slot of this daemon.

        Raises:
            Denied: If there is none of that name.
        """
        names = {str(slot): slot for slot in self._slots}
        if text in names:
            return names[text]
        shown, has = printable(text, _LONGEST), several(names)
        remedy = did_you_mean(shown, names, f"this daemon has {has}")
        raise Denied(404, f"there is no slot {shown!r}", remedy)

    async def version(self, request: web.Request) -> VersionView:
        """Return the version that the path names.

        Raises:
            Denied: If there is no such version.
        """
        return await self.version_of(
            self.named(request.match_info["slot"]), request.match_info["model_id"]
        )

    async def version_of(self, slot: SlotName, model_id: str) -> VersionView:
        """Return a version of a slot.

        Raises:
            Denied: If there is no such version.
        """
        view = await self._data.version(slot, model_id)
        if view is None:
            missing = f"{slot} has no version {printable(model_id, _LONGEST)!r}"
            raise Denied(404, missing, f"`hyperdrift models list --slot {slot}` shows all")
        return view

    async def _overview(self, _request: web.Request) -> Overview:
        return await self._data.overview()

    async def _slot(self, request: web.Request) -> SlotView:
        return await self._data.slot(self.named(request.match_info["slot"]))

    async def _feed(self, _request: web.Request) -> FeedView:
        return await self._data.feed()

    async def _journal(self, request: web.Request) -> JournalView:
        query = request.query
        name = request.match_info.get("slot") or query.get("slot")
        limit = _number(query, "limit", 1, MOST_ENTRIES)
        return await self._data.journal(
            self.named(name) if name else None,
            tuple(filter(None, query.getall("kind", []))),
            _number(query, "since_ms", 0, _LATEST_MS),
            _number(query, "before", 0, _LATEST_MS),
            _ENTRIES if limit is None else limit,
        )


def _number(query: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    """Return a number of the query; None if it is left out or empty.

    Raises:
        Denied: If it is no such number.
    """
    text = query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most))):
        number = -1
    else:
        number = int(text)
    if not least <= number <= most:
        wrong = f"{name} is {printable(text, _LONGEST)!r}"
        raise Denied(400, wrong, f"write a whole number from {least} to {most}")
    return number
