"""Choose which coins a `coin = "*"` stands for, and choose again each hour.

A coin joins when enough of it is traded, and leaves when it is delisted or less than half of that
is traded: one near the limit does not come and go. The choice stands on disk, so a start while the
venue is away follows the coins of before.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

import structlog

from daemon.config.followed_coins import Followed, read_followed, write_followed
from daemon.config.schema import Config
from daemon.config.slot_entries import SlotEntry, stars, with_followed
from daemon.core.clock import VenueClock
from daemon.core.coin_names import coin_meant, is_spot
from daemon.core.suggestions import nearest
from daemon.core.tasks import running
from daemon.hyperliquid.held_channels import MOST_SUBSCRIPTIONS
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.traded import Traded, read_traded
from daemon.market_data.longer.aggregation import sources
from hyperdrift.errors import ConfigError, HyperdriftError

log = structlog.get_logger()

# Venue seconds between two looks, and after one that failed.
_EVERY_S, _AGAIN_S = 3600.0, 60.0
# A call that fails once wakes nobody at night: so many in a row, a minute apart, are an alert.
_ALERT_AFTER: Final = 5
_LEAVES_BELOW: Final = 0.5
_NAMED: Final = 12


class Choice(NamedTuple):
    """The coins of one star, and why others joined and left since the choice before."""

    coins: tuple[str, ...]
    joined: dict[str, str]
    left: dict[str, str]


def choose(
    star: SlotEntry, before: Collection[str], traded: Traded, missed: Collection[str]
) -> Choice:
    """Choose the coins of a star.

    Args:
        star: The entry.
        before: Its coins until now.
        traded: What the venue says.
        missed: Coins that the answer before lacked too: one short list proves nothing.
    """
    least, coins = star.min_volume_usd or 0.0, []
    joined, left = dict[str, str](), dict[str, str]()
    for coin in dict.fromkeys((*before, *traded.usd)):
        is_in, usd = coin in before, traded.usd.get(coin)
        if coin in star.exclude:
            why = "it is excluded"
        elif coin in traded.delisted:
            why = "it is delisted"
        elif coin not in traded.usd:
            why = "the venue does not list it" if coin in missed else ""
        elif usd is None:
            why = "" if is_in else "its volume cannot be read"
        else:
            why = _money(usd) if usd < least * (_LEAVES_BELOW if is_in else 1) else ""
        if not why:
            coins.append(coin)
        if not why and not is_in:
            joined[coin] = _money(usd or 0.0)
        if why and is_in:
            left[coin] = why
    return Choice(tuple(coins), joined, left)


def mistakes(star: SlotEntry, chosen: Collection[str], traded: Traded) -> list[str]:
    """Return in words what a star names in vain.

    Args:
        star: The entry.
        chosen: Its coins.
        traded: What the venue says.
    """
    found, listed = [], {*traded.usd, *traded.delisted}
    of_dex = [coin for coin in star.exclude if ":" in coin]
    unknown = [coin for coin in star.exclude if coin not in listed and coin not in of_dex]
    if of_dex:
        why = '"*" stands for no coin of a dex'
        found.append(f"exclude has {', '.join(of_dex)}, but {why}: remove it")
    if unknown:
        named = ", ".join(_with_hint(coin, listed) for coin in unknown)
        remedy = "mend the spelling, or keep it for a coin to come"
        found.append(f"exclude has {named}, which the venue does not list: {remedy}")
    if traded.usd and not chosen:
        least = f"min_volume_usd = {star.min_volume_usd or 0:.15g}"
        found.append(f"{least} leaves no coin at {star.key}: lower it")
    return found


def _with_hint(coin: str, listed: Collection[str]) -> str:
    near = coin_meant(coin, listed) or next(iter(nearest(coin, listed, 1)), "")
    return f"{coin} (did you mean {near}?)" if near else coin


class CoinChoice:
    """Keeps the coins of all stars.

    Args:
        config: Its stars are looked at.
        rest: Asks the venue.
        venue: The venue's clock.
        changed: Called when other coins were written down.
        tell: Takes in words which coins joined and left.
        trouble: What begins an alert, and what ends it; both take its text.
    """

    def __init__(
        self,
        config: Config,
        rest: RestClient,
        venue: VenueClock,
        *,
        changed: Callable[[], None],
        tell: Callable[[str], None],
        trouble: tuple[Callable[[str], None], Callable[[str], None]],
    ) -> None:
        self._config, self._rest, self._venue = config, rest, venue
        self._changed, self._tell, (self._begin, self._end) = changed, tell, trouble
        self._woken, self._trouble, self._failed = asyncio.Event(), "", 0
        self._missed: frozenset[str] = frozenset()
        self._mistakes: frozenset[str] = frozenset()

    def prepare(self, config: Config) -> None:
        """Read nothing."""

    def adopt(self, config: Config) -> None:
        """Use another configuration; other stars are looked at soon."""
        if stars(config) != stars(self._config):
            self._mistakes = frozenset()  # what is still wrong is told again
            self._woken.set()
        self._config = config

    def wake(self) -> None:
        """Choose soon: a coin was delisted."""
        self._woken.set()

    async def run(self) -> None:
        """Choose each hour of venue time, until cancelled."""
        while True:
            self._woken.clear()
            why = await self._why_not() if stars(self._config) else ""
            self._failed = self._failed + 1 if why else 0
            if why and (self._trouble or self._failed >= _ALERT_AFTER):
                if not self._trouble:
                    self._begin(why)
                self._trouble = why
            elif self._trouble and not why:
                self._end(self._trouble)
                self._trouble = ""
            async with running(self._wake_after(_AGAIN_S if why else _EVERY_S), "coins-wait"):
                await self._woken.wait()

    async def _why_not(self) -> str:
        """Choose; return why that was not possible, empty if it was."""
        try:
            await self.look()
        except (HyperdriftError, OSError) as e:
            if not self._failed:
                outcome = "the coins of before are followed"
                log.warning("coins.not_chosen", why=str(e), outcome=outcome)
            return f'the coins of coin = "*" stay as they are: {e}'
        return ""

    async def look(self) -> None:
        """Ask the venue once, and write down what is chosen if it is something new.

        Raises:
            HyperdriftError: If the venue does not answer, or the coins are too many.
            OSError: If the folder cannot be written.
        """
        traded = _followable(read_traded(await self._rest.contexts()))
        config, folder = self._config, self._config.data_dir
        before = await asyncio.to_thread(read_followed, folder)
        choices = {
            star.key: choose(star, before.get(star.key, ()), traded, self._missed)
            for star in stars(config)
        }
        self._tell_mistakes(
            f'[[slots]] coin = "*": {why}'
            for star in stars(config)
            for why in mistakes(star, choices[star.key].coins, traded)
        )
        known = {coin for coins in before.values() for coin in coins}
        self._missed = frozenset(known - traded.usd.keys() - traded.delisted)
        after = {key: choice.coins for key, choice in choices.items()}
        if after == before:
            return
        await asyncio.to_thread(_keep, config, after)
        self._changed()
        if said := _said(choices.values()):
            self._tell(f'the coins of coin = "*" have changed; {said}')

    def _tell_mistakes(self, found: Iterable[str]) -> None:
        now = tuple(found)
        for why in now:
            if why not in self._mistakes:
                log.warning("coins.doubt", why=why)
        self._mistakes = frozenset(now)

    async def _wake_after(self, seconds: float) -> None:
        await self._venue.sleep(seconds)
        self._woken.set()


def _keep(config: Config, coins: Followed) -> None:
    """Write down the coins, unless they are more than the venue serves."""
    many = subscriptions(with_followed(config, coins))
    if many > MOST_SUBSCRIPTIONS:
        most = f"the {MOST_SUBSCRIPTIONS} that the venue allows"
        remedy = "raise min_volume_usd, or name fewer intervals"
        raise ConfigError(f"they take {many} subscriptions, more than {most}: {remedy}")
    write_followed(config.data_dir, coins)


def subscriptions(config: Config) -> int:
    """Return how many channels of the venue's stream the slots of a configuration take."""
    slots = [section.name for section in config.slots]
    pushed = sum(source is None for source in sources(slots).values())
    has_trades = config.features.learn_cohorts or config.features.cohort_file
    return pushed + (len({slot.coin for slot in slots}) if has_trades else 0)


def _followable(traded: Traded) -> Traded:
    """Leave out what is no perp, or has a name that topics cannot have."""
    bad = {coin for coin in traded.usd if is_spot(coin) or set(coin) & set("/+#*: ")}
    return traded._replace(usd={c: usd for c, usd in traded.usd.items() if c not in bad})


def _said(choices: Iterable[Choice]) -> str:
    joined: dict[str, str] = {}
    left: dict[str, str] = {}
    for choice in choices:
        joined |= choice.joined
        left |= choice.left
    both = {"joined": joined, "left": left}
    return "; ".join(f"{what}: {_named(coins)}" for what, coins in both.items() if coins)


def _named(coins: dict[str, str]) -> str:
    shown = [f"{coin} ({why})" for coin, why in list(coins.items())[:_NAMED]]
    more = len(coins) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _money(usd: float) -> str:
    return f"{usd / 1e6:,.1f} million USD in 24 hours"
