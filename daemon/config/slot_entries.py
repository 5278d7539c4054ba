"""Make one section for each slot of the `[[slots]]` of a file, which may name many at once.

An entry may have lists: it says the same of each of its coins at each of its intervals. What is
said more narrowly goes first, wherever it stands: of one coin before of a list of coins, and of
one interval before of a list of intervals. What the narrower entry leaves out is taken from the
wider one.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from daemon.config.schema import SlotKeys, SlotSection
from hyperdrift.errors import ConfigError
from hyperdrift.slot_name import SlotName, interval_name

_Text = Annotated[str, Meta(min_length=1)]
_KEYS: Final = SlotKeys.__struct_fields__
_LABEL_REMEDY: Final = "write one [[slots]] for each interval"


class SlotEntry(SlotKeys, frozen=True, kw_only=True):
    """`[[slots]]`: one coin at one interval, or lists of them; there may be several."""

    coin: _Text | Annotated[tuple[_Text, ...], Meta(min_length=1)]
    """Name of the coin, as the venue writes it, or a list of names."""
    interval: str | Annotated[tuple[str, ...], Meta(min_length=1)] = "5m"
    """Length of a bar, or a list: `5m`, `1h`, `12h` and `24h` have measured defaults."""

    @property
    def slots(self) -> list[SlotName]:
        """The slots that it names.

        Raises:
            ConfigError: If a list names one twice.
            BadInput: If a coin or an interval cannot be followed.
        """
        coins, intervals = _listed(self.coin), [interval_name(i) for i in _listed(self.interval)]
        for key, names in (("coin", coins), ("interval", intervals)):
            if twice := [name for name in names if names.count(name) > 1]:
                raise ConfigError(f"[[slots]] {key} has {twice[0]!r} twice; remove one")
        return [SlotName.parse(f"{c}-{i}") for c, i in product(coins, intervals)]

    @property
    def narrowness(self) -> tuple[bool, bool]:
        """What is compared with other entries of a slot: the greater one goes first."""
        return isinstance(self.coin, str), isinstance(self.interval, str)

    @property
    def said(self) -> dict[str, Any]:
        """The keys that it says of each of its slots."""
        keys = {key: getattr(self, key) for key in _KEYS}
        return {key: value for key, value in keys.items() if value not in (None, {})}


class _Entries(msgspec.Struct, frozen=True):
    """The part of a file that has the slots; it gives errors the path that they have there."""

    slots: tuple[SlotEntry, ...] = (SlotEntry(coin="BTC"),)


def read_entries(raw: dict[str, Any]) -> tuple[SlotEntry, ...]:
    """Read the `[[slots]]` of a file; without any it is BTC at 5m.

    Raises:
        msgspec.ValidationError: If a key or a type is wrong.
    """
    return msgspec.convert({k: v for k, v in raw.items() if k == "slots"}, _Entries).slots


def sections(entries: Sequence[SlotEntry]) -> tuple[SlotSection, ...]:
    """Return one section for each slot that entries name, in the order of the first mention.

    Raises:
        ConfigError: If two entries say something of a slot and none goes first, or a list does.
        BadInput: If a coin or an interval cannot be followed.
    """
    found: defaultdict[SlotName, list[SlotEntry]] = defaultdict(list)
    for entry in entries:
        _check_labels(entry)
        for slot in entry.slots:
            found[slot].append(entry)
    return tuple(_section(slot, of_slot) for slot, of_slot in found.items())


def _section(slot: SlotName, entries: list[SlotEntry]) -> SlotSection:
    entries = sorted(entries, key=lambda entry: entry.narrowness)
    if len({entry.narrowness for entry in entries}) < len(entries):
        raise ConfigError(f"two [[slots]] name {slot}, neither more narrowly; remove one")
    said: dict[str, Any] = {}
    for entry in entries:
        said |= entry.said
    return SlotSection(coin=slot.coin, interval=slot.interval, **said)


def _check_labels(entry: SlotEntry) -> None:
    """Refuse what means something else at each interval."""
    if len(_listed(entry.interval)) == 1:
        return
    if entry.horizon_bars is not None:
        msg = f"[[slots]] horizon_bars = {entry.horizon_bars} is another time at each interval"
        raise ConfigError(f"{msg}; {_LABEL_REMEDY}")
    if isinstance(entry.threshold, float):
        msg = f"[[slots]] threshold = {entry.threshold} cannot fit bars of several lengths"
        raise ConfigError(f'{msg}; {_LABEL_REMEDY}, or "auto"')


def _listed(names: str | tuple[str, ...]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
