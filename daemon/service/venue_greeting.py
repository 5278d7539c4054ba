"""Wait at the start until the venue answers, and look up the coins of the slots.

What a running daemon survives must not end a start: a service manager tries a refused start
never again. So only names that are certainly wrong are a mistake of the configuration.
"""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Final

import structlog

from daemon.core.bars import Provenance
from daemon.core.clock import VenueClock
from daemon.core.log_once import LogOnce
from daemon.hyperliquid.backoff import delays
from daemon.hyperliquid.rest import RestClient
from daemon.market_data.listed_coins import ListedCoins
from daemon.store.async_store import AsyncStore
from daemon.store.store import Store
from hyperdrift.clock import Clock
from hyperdrift.errors import ConfigError, HyperdriftError
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

GREETING: Final = "waiting for the venue"
"""What the daemon does until the venue has answered, in words."""

_FIRST_DELAY_S, _LONGEST_DELAY_S = 2.0, 30.0
# Venue seconds until a list that has none of the coins is asked for again.
_LIST_AGAIN_S: Final = 15.0


async def greet(
    rest: RestClient,
    listed: ListedCoins,
    clock: Clock,
    venue: VenueClock,
    say: Callable[[str], None],
) -> None:
    """Learn the venue's time and look up the coins; wait until the venue answers.

    Args:
        rest: Asks the venue.
        listed: Looks up the coins. If one can be followed, the start does not wait for others.
        clock: Real time.
        venue: The venue's clock.
        say: Takes in words what the start waits for.
    """
    outage, waits = LogOnce(), _delays()
    say(GREETING)
    while True:
        try:
            await rest.learn_clock()
            await listed.ask()
        except HyperdriftError as e:
            if outage.begins():
                outcome = "the start waits, and asks again until it answers"
                log.warning("venue.unreachable", why=str(e), outcome=outcome)
            say(f"{GREETING}: {e}")
            await clock.sleep(next(waits))
            continue
        waits = _delays()
        if outage.ends():
            log.info("venue.answers")
        if not (why := listed.waits_for):
            return
        say(f"{GREETING}'s list of coins: {why}")
        await venue.sleep(_LIST_AGAIN_S)


async def require_coins(listed: ListedCoins, store: AsyncStore, slots: Sequence[SlotName]) -> None:
    """Check that a slot can be followed, or that one could be before.

    Raises:
        ConfigError: If every coin is certainly wrong, and the venue never served a bar of one.
    """
    if listed.mistake:
        newest = [await store.call(Store.newest_t, slot, Provenance.REST) for slot in slots]
        if not any(newest):
            raise ConfigError(f"[[slots]] {listed.mistake}")


def _delays() -> Iterator[float]:
    return delays(_FIRST_DELAY_S, _LONGEST_DELAY_S, Random())  # noqa: S311 - jitter, no secret
