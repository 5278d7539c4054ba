"""Make one section for each slot of the `[[slots]]` of a file, which may name many at once.

An entry may have lists: it says the same of each of its coins at each of its intervals. The coin
`*` stands for those that the venue lists and enough is traded of (`followed_coins`). What is said
more narrowly goes first, wherever it stands: of one coin before of a list, of a list before of
`*`, and of one interval before of a list of intervals. What the narrower entry leaves out is taken
from the wider one.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations, product
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from daemon.config.followed_coins import Followed, read_followed, write_followed
from daemon.config.schema import Config, SlotKeys, SlotSection
from daemon.core.coin_names import is_spot
from hyperdrift.errors import ConfigError
from hyperdrift.slot_name import INTERVAL_MS, SlotName, interval_name

_Text = Annotated[str, Meta(min_length=1)]
STAR: Final = "*"
_INTERVAL: Final = "5m"
_KEYS: Final = SlotKeys.__struct_fields__
_LABEL_REMEDY: Final = "write one [[slots]] for each interval"


class SlotEntry(SlotKeys, frozen=True, kw_only=True):
    """`[[slots]]`: one coin at one interval, or lists of them; there may be several."""

    coin: _Text | Annotated[tuple[_Text, ...], Meta(min_length=1)]
    """Name of the coin, as the venue writes it, or a list of names, or `"*"` for all that the venue
    itself lists as perps."""
    interval: str | Annotated[tuple[str, ...], Meta(min_length=1)] | None = None
    """Length of a bar, or a list: `5m`, `1h`, `12h` and `24h` have measured defaults. Default:
    `5m`."""
    min_volume_usd: Annotated[float, Meta(ge=0, le=1e15)] | None = None
    """With `coin = "*"`: a coin joins once so many US dollars of it are traded in 24 hours, and
    leaves at less than half. Default: every coin."""
    exclude: tuple[_Text, ...] = ()
    """With `coin = "*"`: coins that it does not stand for."""

    @property
    def is_star(self) -> bool:
        """Whether it stands for the coins that are chosen by what is traded."""
        return self.coin == STAR

    @property
    def intervals(self) -> list[str]:
        """Its intervals, in the venue's names.

        Raises:
            BadInput: If the venue has no such interval.
        """
        return [interval_name(each) for each in _listed(self.interval or _INTERVAL)]

    @property
    def key(self) -> str:
        """What its coins are kept under, if it is a star: its intervals."""
        return " ".join(self.intervals)

    def slots(self, followed: Followed) -> list[SlotName]:
        """Return the slots that it names.

        Raises:
            ConfigError: If a list names one twice.
            BadInput: If a coin or an interval cannot be followed.
        """
        coins = list(followed.get(self.key, ())) if self.is_star else _listed(self.coin)
        named = (("coin", coins), ("interval", self.intervals), ("exclude", list(self.exclude)))
        for key, names in named:
            if twice := [name for name in names if names.count(name) > 1]:
                raise ConfigError(f"[[slots]] {key} has {twice[0]!r} twice; remove one")
        return [SlotName.parse(f"{c}-{i}") for c, i in product(coins, self.intervals)]

    def may_be(self, slot: SlotName) -> bool:
        """Return whether a star can stand for the coin of a slot that is followed."""
        is_own = ":" not in slot.coin and slot.coin not in self.exclude
        return is_own and slot.interval in self.intervals

    @property
    def narrowness(self) -> tuple[int, bool]:
        """What is compared with other entries of a slot: the greater one goes first."""
        of_coin = 0 if self.is_star else 2 if isinstance(self.coin, str) else 1
        return of_coin, not isinstance(self.interval, tuple)

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


def sections(entries: Sequence[SlotEntry], followed: Followed) -> tuple[SlotSection, ...]:
    """Return one section for each slot that entries name, in the order of the first mention.

    Args:
        entries: The entries of a file.
        followed: The coins that stars stand for.

    Raises:
        ConfigError: If two entries say something of a slot and none goes first, or a list does.
        BadInput: If a coin or an interval cannot be followed.
    """
    found: defaultdict[SlotName, list[SlotEntry]] = defaultdict(list)
    _check_stars(entries)
    for entry in entries:
        _check_names(entry)
        _check_labels(entry)
        for slot in entry.slots(followed):
            found[slot].append(entry)
    return tuple(_section(slot, of_slot) for slot, of_slot in found.items())


def stars(config: Config) -> tuple[SlotEntry, ...]:
    """Return the entries of a configuration that are stars."""
    return tuple(e for e in config.entries if isinstance(e, SlotEntry) and e.is_star)


def may_come(config: Config, slots: Iterable[SlotName]) -> list[SlotName]:
    """Return those slots that a star may still stand for, because its coins were never chosen."""
    known = read_followed(config.data_dir)
    open_stars = [star for star in stars(config) if star.key not in known]
    return [slot for slot in slots if any(star.may_be(slot) for star in open_stars)]


def with_followed(config: Config, followed: Followed | None = None) -> Config:
    """Return a configuration with the slots of these coins, or of those that were chosen last."""
    entries = [entry for entry in config.entries if isinstance(entry, SlotEntry)]
    coins = read_followed(config.data_dir) if followed is None else followed
    return msgspec.structs.replace(config, slots=sections(entries, coins))


def begin_stars(config: Config, before: Config) -> Config:
    """Let a star that is new begin with the coins of now, until the venue is asked for its own.

    Otherwise their slots would end and come back as soon as the coins are chosen.

    Args:
        config: What was read.
        before: What the daemon runs with.

    Raises:
        ConfigError: If the choice cannot be kept in the data folder.
    """
    known, now = {star.key for star in stars(before)}, [section.name for section in before.slots]
    begun = {
        star.key: tuple(dict.fromkeys(slot.coin for slot in now if star.may_be(slot)))
        for star in stars(config)
        if star.key not in known
    }
    if not any(begun.values()):
        return config
    coins = {**read_followed(config.data_dir), **begun}
    try:
        write_followed(config.data_dir, coins)
    except OSError as e:
        raise ConfigError(f"{config.data_dir}: cannot be written ({e.strerror})") from e
    return with_followed(config, coins)


def patterns(config: Config) -> tuple[SlotSection, ...]:
    """Return what stars say, as sections of a coin `*`: there may be no coins yet."""
    return tuple(
        SlotSection(coin=STAR, interval=interval, **star.said)
        for star in stars(config)
        for interval in star.intervals
    )


def _check_stars(entries: Sequence[SlotEntry]) -> None:
    """Refuse stars that stand beside names, or twice at the same intervals."""
    for entry in entries:
        if not entry.is_star and (wrong := [coin for coin in _listed(entry.coin) if STAR in coin]):
            what = f'[[slots]] coin {wrong[0]!r}: only "*" alone stands for many'
            raise ConfigError(f"{what}, for all perps of the venue itself; name the others")
        for key in ("min_volume_usd", "exclude"):
            if not entry.is_star and getattr(entry, key) not in (None, ()):
                raise ConfigError(f'[[slots]] {key} belongs to coin = "*"; remove it')
    found = [entry for entry in entries if entry.is_star]
    for one, other in combinations(found, 2):
        both = [name for name in one.intervals if name in other.intervals]
        if both and (one.narrowness == other.narrowness or one.key == other.key):
            raise ConfigError(f'two [[slots]] have coin = "*" at {both[0]}; remove one')


def _check_names(entry: SlotEntry) -> None:
    """Refuse what can be no name of a perp: several in one text, a slot, or a pattern."""
    for key, names in (("coin", _listed(entry.coin)), ("exclude", entry.exclude)):
        for name in names:
            what, (base, dash, ending) = f"[[slots]] {key} has {name!r}", name.rpartition("-")
            if re.search(r"[,;\s]", name):
                quoted = ", ".join(f'"{one}"' for one in re.findall(r"[^,;\s]+", name))
                raise ConfigError(f"{what}; write {f'[{quoted}]' if ', ' in quoted else quoted}")
            if dash and ending in {*INTERVAL_MS, "24h"}:
                said = f'write "{base}", and interval = "{ending}"'
                raise ConfigError(f"{what}, the name of a slot; {said}")
            if key == "exclude" and is_spot(name):
                raise ConfigError(
                    f'{what}, a spot market, and "*" stands for perps only; remove it'
                )
            if key == "exclude" and STAR in name:
                raise ConfigError(f"{what}; write the name of each coin")


def doubts(config: Config) -> list[str]:
    """Return in words what a configuration says that may be meant otherwise.

    Who leaves the interval out means 5m, or means to change a list that has others.
    """
    entries = [one for one in config.entries if isinstance(one, SlotEntry)]
    found = []
    for one in entries:
        if one.interval is not None or one.is_star:
            continue
        for coin in _listed(one.coin):
            wider = [e for e in entries if e is not one and (e.is_star or coin in _listed(e.coin))]
            others = list(dict.fromkeys(name for entry in wider for name in entry.intervals))
            if others and _INTERVAL not in others:
                has = f"changes nothing of {coin} at {', '.join(others)}"
                slot, remedy = f"{coin}-{_INTERVAL}", f'"{others[0]}" or "{_INTERVAL}"'
                what = f'[[slots]] coin = "{coin}" without interval is {slot}, and {has}'
                found.append(f"{what}; write interval = {remedy}")
    return found


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
    if len(entry.intervals) == 1:
        return
    if entry.horizon_bars is not None:
        msg = f"[[slots]] horizon_bars = {entry.horizon_bars} is another time at each interval"
        raise ConfigError(f"{msg}; {_LABEL_REMEDY}")
    if isinstance(entry.threshold, float):
        msg = f"[[slots]] threshold = {entry.threshold} cannot fit bars of several lengths"
        raise ConfigError(f'{msg}; {_LABEL_REMEDY}, or "auto"')


def _listed(names: str | tuple[str, ...]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
