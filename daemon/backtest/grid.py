"""Which slots and horizons a backtest runs over: coins x intervals x horizons."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from daemon.config.schema import LABEL_DEFAULTS, Config, SlotSection
from daemon.store.data_folder import open_store
from hyperdrift.errors import BadInput, ConfigError
from hyperdrift.slot_name import SlotName, interval_name

ALL: Final = "*"


def planned(
    config: Config, coins: Sequence[str], intervals: Sequence[str], horizons: Sequence[int]
) -> tuple[SlotSection, ...]:
    """Return a section for each slot at each horizon, in the order that they were asked for.

    A slot that is not configured has the defaults of its interval, if bars of it are stored.

    Args:
        config: Its slots keep what they say.
        coins: As the venue writes them; `*` stands for all that bars are stored of.
        intervals: Names of intervals.
        horizons: Bars to the outcome; none for that of each slot.

    Raises:
        BadInput: If there is no such interval, or nothing is stored.
        ConfigError: If a coin is neither configured nor stored, or an interval has no horizon.
    """
    names = list(dict.fromkeys(interval_name(each) for each in intervals))
    stored = _stored(config)
    if ALL in coins:
        coins = sorted({slot.coin for slot in stored if slot.interval in names})
        if not coins:
            raise BadInput(f"no bars of {' or '.join(names)} are stored: backfill or import some")
    configured = {section.name: section for section in config.slots}
    sections = []
    for coin in dict.fromkeys(coins):
        slots = [SlotName.parse(f"{coin}-{name}") for name in names]
        if not any(slot in configured or slot in stored for slot in slots):
            config.slot(slots[0])  # says which slots there are
        sections += [_section(slot, configured, horizons) for slot in slots]
    return tuple(
        msgspec.structs.replace(section, horizon_bars=horizon)
        for section in sections
        for horizon in (dict.fromkeys(horizons) or (section.horizon_bars,))
    )


def is_as_configured(config: Config, section: SlotSection) -> bool:
    """Return whether the slot has the horizon that the daemon gives it."""
    own = next((each for each in config.slots if each.name == section.name), None)
    if own is not None:
        return own.horizon == section.horizon
    default = LABEL_DEFAULTS.get(section.name.interval)
    return default is not None and default[0] == section.horizon


def stored_bars(config: Config, sections: Collection[SlotSection]) -> list[int]:
    """Return for each section how many bars of it are stored."""
    stored = _stored(config)
    return [stored.get(section.name, 0) for section in sections]


def _stored(config: Config) -> dict[SlotName, int]:
    """Return how many bars of each slot are stored; spot markets are left out."""
    query = "SELECT coin, interval, count(*) FROM bars GROUP BY coin, interval"
    with open_store(config.data_dir, read_only=True) as store:
        found = store.database.read(query)
    return {SlotName(coin, interval): n for coin, interval, n in found if "/" not in coin}


def _section(
    slot: SlotName, configured: Mapping[SlotName, SlotSection], horizons: Sequence[int]
) -> SlotSection:
    if slot in configured:
        return configured[slot]
    known = slot.interval in LABEL_DEFAULTS
    if not known and not horizons:
        msg = f"{slot.interval} has no measured horizon, and {slot} is not among the [[slots]]"
        raise ConfigError(f"{msg}; add --horizon, in bars")
    return SlotSection(coin=slot.coin, interval=slot.interval, threshold=None if known else "auto")
