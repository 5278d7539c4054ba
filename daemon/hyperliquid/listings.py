"""Ask the venue which coins it lists, and say in one line what is wrong with a coin's name.

The venue closes the whole socket for a subscription to a coin that it does not know, so every
name is looked up before. Names are case-sensitive, and those of a builder's dex need its prefix.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from daemon.core.coin_names import coin_meant, is_spot
from daemon.core.errors import CoinUnserved, VenueRefused
from daemon.core.outside_text import printable
from daemon.core.suggestions import nearest
from daemon.hyperliquid.rest import RestClient
from hyperdrift.errors import HyperdriftError

# Each costs a call; the venue has fewer than ten.
_MOST_DEXS: Final = 12

Coins = Mapping[str, bool]
"""Coin -> whether it is delisted."""


class CoinFault(NamedTuple):
    """Why a coin cannot be followed: `text` says it in one line, with what to do.

    `unasked` is one that the venue did not answer about; `unknown` may be a bad answer.
    """

    kind: Literal["spot", "unknown", "delisted", "unasked"]
    text: str


@dataclass
class Listings:
    """The coins of the venue and of its builders' dexes."""

    rest: RestClient
    _dexs: tuple[str, ...] | None = None
    _hints: dict[str, str] = field(default_factory=dict)

    async def faults(self, coins: Collection[str]) -> dict[str, CoinFault]:
        """Ask about some coins; return what is wrong with each that cannot be followed.

        Raises:
            VenueUnreachable, VenueRefused, SchemaChanged: If the venue answers about none.
        """
        found = {coin: CoinFault("spot", spot_text(coin)) for coin in coins if is_spot(coin)}
        by_dex: dict[str, list[str]] = {}
        for coin in coins:
            if coin not in found:
                by_dex.setdefault(dex_of(coin), []).append(coin)
        errors: list[HyperdriftError] = []
        for dex, of_dex in by_dex.items():
            try:
                found |= await self._faults_of(dex, of_dex)
            except HyperdriftError as e:
                errors.append(e)
                found |= {coin: CoinFault("unasked", f"{coin}: {e}") for coin in of_dex}
        if errors and len(errors) == len(by_dex):
            raise errors[0]
        return found

    async def _faults_of(self, dex: str, coins: Collection[str]) -> dict[str, CoinFault]:
        if dex and not await self._is_dex(dex):
            return {c: CoinFault("unknown", await self._no_dex(dex, c)) for c in coins}
        try:
            listed = await self.rest.meta(dex)
        except CoinUnserved:  # it answers so about a dex that it does not know
            return {c: CoinFault("unknown", await self._no_dex(dex, c)) for c in coins}
        found = {}
        for coin in coins:
            if coin not in listed:
                found[coin] = CoinFault("unknown", await self._unknown(coin, listed))
            elif listed[coin]:
                text = f"{coin} is delisted: the venue sends no more bars; remove its slot"
                found[coin] = CoinFault("delisted", text)
        return found

    async def _is_dex(self, dex: str) -> bool:
        """Whether the venue has this dex, as far as it says so."""
        if self._dexs is None or dex not in self._dexs:
            try:
                self._dexs = await self.rest.dexs()
            except VenueRefused:  # a venue without this call
                return True
        return dex in self._dexs

    async def _no_dex(self, dex: str, coin: str) -> str:
        near = nearest(dex, self._dexs or (), 1)
        if not near:
            known = printable(", ".join(self._dexs or ()) or "none")
            return f"the venue has no dex {dex!r} for coin {coin!r}; it has {known}"
        if coin not in self._hints:
            meant = f"{near[0]}:{coin.partition(':')[2]}"
            listed = await self._coins_of(near[0])
            known_as = coin_meant(meant, listed) or next(iter(nearest(meant, listed, 1)), meant)
            self._hints[coin] = f"did you mean {known_as}?"
        return f"the venue has no dex {dex!r} for coin {coin!r}; {self._hints[coin]}"

    async def _unknown(self, coin: str, listed: Coins) -> str:
        if coin not in self._hints:
            self._hints[coin] = await self._hint(coin, listed)
        return f"the venue has no perp {coin!r}; {self._hints[coin]}"

    async def _hint(self, coin: str, listed: Coins) -> str:
        traded = [name for name, delisted in listed.items() if not delisted]
        near = [meant] if (meant := coin_meant(coin, traded)) else []
        bare = coin.rpartition(":")[2].casefold()
        if not near and ":" not in coin:
            near = [
                name
                for dex in await self._known_dexs()
                for name in await self._coins_of(dex)
                if name.rpartition(":")[2].casefold() == bare
            ]
        near = (near or nearest(coin, traded, 3))[:3]
        return f"did you mean {' or '.join(near)}?" if near else "names are case-sensitive"

    async def _known_dexs(self) -> tuple[str, ...]:
        try:
            self._dexs = self._dexs or await self.rest.dexs()
        except HyperdriftError:  # only a suggestion is lost
            return ()
        return self._dexs[:_MOST_DEXS]

    async def _coins_of(self, dex: str) -> list[str]:
        """Return the traded coins of a dex as they are subscribed to; none if it fails."""
        try:
            listed = await self.rest.meta(dex)
        except HyperdriftError:  # only a suggestion is lost
            return []
        return [c if ":" in c else f"{dex}:{c}" for c, delisted in listed.items() if not delisted]


def dex_of(coin: str) -> str:
    """Return the builder's dex of a coin; empty for the venue's own."""
    return coin.partition(":")[0] if ":" in coin else ""


def spot_text(coin: str) -> str:
    """Return the line about a spot market: only perps are followed."""
    base = coin.partition("/")[0] if "/" in coin else ""
    perp = f", for example {base}" if base else ""
    return f"{coin} is a spot market, and spot is not followed; write the name of a perp{perp}"
