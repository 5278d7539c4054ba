"""Prepare the files, the keys and the history of the demo, and check the store at its end."""

import contextlib
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from daemon.config.schema import LABEL_DEFAULTS
from daemon.core.bars import Bar, Funding, Provenance
from daemon.core.errors import HostRefused
from daemon.demo.fleet.coins import generate_coins
from daemon.demo.fleet.sources import read_recordings
from daemon.demo.market import generate
from daemon.demo.recording import Recording
from daemon.registry.registry import Registry
from daemon.registry.signing import generate as generate_keys
from daemon.store.data_folder import open_store
from daemon.web.server.page_token import PageToken
from hyperdrift.errors import BadInput, HyperdriftError
from hyperdrift.slot_name import SlotName

SEED: Final = 10
START_MS: Final = 1_748_736_000_000
_STEP_MS: Final = 300_000
HISTORY_BARS: Final = 17_280  # 60 days of 5m, made up
STREAM_BARS: Final = 6_000
HISTORY_SHARE: Final = 0.7  # of a recording: models are better with more past bars
# The venue serves the newest 5000 bars. Older ones come from a file, with an overlap.
IMPORT_OVERLAP: Final = 4_000
# Enough bars to train the first model and watch it before the market changes.
CHANGE_AFTER: Final = 400
SHORTEST: Final = 7_200
BARS_PER_S: Final = 10
# Several slots: shorter retrains and a slower market, so that two cores keep up.
FLEET_HISTORY_BARS: Final = 9_000
# First models go first in the queue: tried again sooner, those refused would hold up all drift.
FLEET_RETRY_BARS: Final = 576
FLEET_STREAM_BARS: Final = 2_640  # after the usual change
FLEET_BARS_PER_S: Final = 3
FLEET_MOST_BARS_PER_S: Final = 24  # of all slots
# A first model takes about eleven seconds of a core.
CHANGE_AFTER_PER_COIN: Final = 45
MOST_PARALLEL: Final = 4
_DATA: Final = "data"
# A connection that goes out before the daemon listens gets none of these.
_PORTS: Final = range(20_000, 32_000)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a person.

    Attributes:
        data: A file of candles; None takes a made-up market.
        speed: Venue seconds per wall second; None takes ten bars a second.
        until_swap: Whether the demo ends after a swap that is not the first.
        timeout_s: The demo ends after so many wall seconds; 0 is never.
        quiet: Whether the lines go to stderr.
        hold: Whether everything stays up after the end, until it is interrupted.
        coins: How many coins to make up, each with a slot.
    """

    data: Path | None = None
    speed: float | None = None
    until_swap: bool = False
    timeout_s: float = 0.0
    quiet: bool = False
    hold: bool = False
    coins: int = 1


@dataclass(frozen=True, slots=True)
class DemoSetup:
    """The folder of the demo, its recordings and its options; `first_t` is in ms UTC."""

    folder: Path
    recordings: tuple[Recording, ...]
    first_t: int
    options: Options
    mqtt_port: int
    web_port: int
    page_token: str

    @property
    def slots(self) -> tuple[SlotName, ...]:
        """The slots that are traded, one for each recording."""
        return tuple(SlotName(r.coin, r.interval) for r in self.recordings)

    @property
    def data_dir(self) -> Path:
        """The daemon's data folder."""
        return self.folder / _DATA

    @property
    def broker_url(self) -> str:
        """The address of the daemon's embedded broker."""
        return f"mqtt://127.0.0.1:{self.mqtt_port}"

    @property
    def page_url(self) -> str:
        """The address of the daemon's status page."""
        return f"http://127.0.0.1:{self.web_port}/"

    @property
    def config_path(self) -> Path:
        """The daemon's configuration file."""
        return self.folder / "hyperdrift.toml"

    @property
    def public_key(self) -> Path:
        """The daemon's public key, for the bot."""
        return self.data_dir / "keys" / "hyperdrift.pub"

    @property
    def speed(self) -> float:
        """Venue seconds per wall second."""
        if self.options.speed is not None:
            return self.options.speed
        count, bars_per_s = len(self.recordings), float(BARS_PER_S)
        if count > 1:
            bars_per_s = min(FLEET_BARS_PER_S, FLEET_MOST_BARS_PER_S / count)
        return bars_per_s * self.recordings[0].interval_ms / 1000

    @property
    def past_bars(self) -> int:
        """Bars that are past when the exchange starts."""
        return int((self.recordings[0].t < self.first_t).sum())

    @property
    def change_after(self) -> int:
        """Bars from the start of the exchange to the change of a coin's market; else 0."""
        return 0 if self.options.data is not None or self.market_waits else CHANGE_AFTER

    @property
    def market_waits(self) -> bool:
        """Whether the market is of several coins and changes after their first models."""
        return self.options.coins != 1


def load_recordings(data: Sequence[Path], coins: int = 1) -> tuple[Recording, ...]:
    """Read recordings from files and folders; none makes up the market of the demo.

    Args:
        data: The files and folders.
        coins: How many coins to make up if there are none.

    Raises:
        BadInput: If a file cannot be used, or so many coins cannot be made up.
    """
    if data:
        return read_recordings(data)
    if coins != 1:
        return make_up_fleet(coins)
    bars, change_at = HISTORY_BARS + STREAM_BARS, HISTORY_BARS + CHANGE_AFTER
    return (generate(bars, _STEP_MS, SEED, start_ms=START_MS, change_at=change_at),)


def make_up_fleet(coins: int, change_at: int | None = None) -> tuple[Recording, ...]:
    """Make up the market of several coins; until its change it is the same, whenever that is.

    Models stay good in it, but the features drift. So each retrain passes, however long it waits
    for its turn: one that is judged on a pattern which it has not learnt would be refused.

    Args:
        coins: How many coins.
        change_at: Number of the first bar after the change; beyond the last bar there is none.
            None takes a time by which every slot has a model on an idle host.

    Raises:
        BadInput: If so many coins cannot be made up.
    """
    usual = FLEET_HISTORY_BARS + max(CHANGE_AFTER, CHANGE_AFTER_PER_COIN * coins)
    at, bars = usual if change_at is None else change_at, usual + FLEET_STREAM_BARS
    return generate_coins(coins, bars, _STEP_MS, SEED, start_ms=START_MS, change_at=at, turns=False)


def _temporary_folder() -> TemporaryDirectory[str]:
    try:
        return TemporaryDirectory(prefix="hyperdrift-demo-", ignore_cleanup_errors=True)
    except OSError as e:
        where = "make room in /tmp, or set TMPDIR to a folder that you may write"
        raise HostRefused(f"no temporary folder can be made ({e.strerror}): {where}") from e


@contextlib.contextmanager
def prepare(options: Options) -> Iterator[DemoSetup]:
    """Prepare a folder with history and keys; remove it at the end.

    Raises:
        BadInput: If the recording cannot be used.
    """
    if options.coins == 1:
        recordings = load_recordings([options.data] if options.data else ())
    else:
        recordings = make_up_fleet(options.coins, change_at=sys.maxsize)
    bars = len(recordings[0])
    if bars < SHORTEST:
        msg = f"{options.data} has {bars} bars; the demo needs {SHORTEST}"
        raise BadInput(msg)
    history = HISTORY_BARS if len(recordings) == 1 else FLEET_HISTORY_BARS
    if options.data:
        history = round(bars * HISTORY_SHARE)
    with _temporary_folder() as folder:
        first_t = int(recordings[0].t[history])
        token = PageToken(Path(folder) / _DATA).replace()
        setup = DemoSetup(Path(folder), recordings, first_t, options, *_free_ports(), token)
        _fill_store(setup)
        generate_keys(setup.data_dir / "keys" / "hyperdrift.key", setup.public_key)
        yield setup


def write_config(setup: DemoSetup, rest_url: str, ws_url: str) -> None:
    """Write the daemon's settings; the policy's times are short, for a demo of a few days."""
    slot, coins = setup.slots[0], [f'"{slot.coin}"' for slot in setup.slots]
    several = len(coins) > 1
    horizon = LABEL_DEFAULTS.get(slot.interval, LABEL_DEFAULTS["5m"])[0]
    text = f"""\
[daemon]
data_dir = "{setup.data_dir}"
[[slots]]
coin = {f"[{', '.join(coins)}]" if several else coins[0]}
interval = "{slot.interval}"
horizon_bars = {horizon}
threshold = {'"auto"' if setup.options.data else "0.005"}
history_days = 180
[hyperliquid]
rest_url = "{rest_url}"
ws_url = "{ws_url}"
speed = {setup.speed}
[mqtt]
port = {setup.mqtt_port}
anonymous = true
[web]
listen = "127.0.0.1:{setup.web_port}"
[policy]
cooldown_hours = 6
max_retrains_per_day = 4
min_new_bars = 144
retry_bars = {FLEET_RETRY_BARS if several else 144}
probation_hours = 24
"""
    if several:
        # A quick challenger would see that the models are good still, and the demo would stand.
        text += "challenge = false\n"
        text += f"[retrain]\nparallel = {min(MOST_PARALLEL, len(coins), os.cpu_count() or 1)}\n"
    setup.config_path.write_text(text)


def compare_store(setup: DemoSetup, recording: Recording) -> tuple[int, bool]:
    """Compare the streamed bars in the store with a recording.

    Returns:
        How many bars were compared, and whether all their values are equal.
    """
    rec, slot = recording, SlotName(recording.coin, recording.interval)
    with open_store(setup.data_dir, read_only=True) as store:
        stored = store.bars(slot, from_t=setup.first_t)
    past = setup.past_bars
    count = min(len(stored["t"]), len(rec) - past)  # after the recording nobody trades
    equal = all(
        (stored[name][:count] == getattr(rec, name)[past : past + count]).all()
        for name in ("t", "open", "high", "low", "close", "volume")
    )
    return count, bool(equal)


def describe_models(setup: DemoSetup, slot: SlotName) -> tuple[dict[str, Any], ...]:
    """Describe a slot's versions, oldest first, for the table of models."""
    try:
        versions = Registry(setup.data_dir / "models").versions(slot)
    except HyperdriftError:
        return ()
    return tuple(asdict(version) for version in reversed(versions))


def _fill_store(setup: DemoSetup) -> None:
    """Import the bars beyond the venue's reach, as a user with a file would."""
    past = setup.past_bars
    with open_store(setup.data_dir) as store:
        for slot, rec in zip(setup.slots, setup.recordings, strict=True):
            columns = (rec.t, rec.open, rec.high, rec.low, rec.close, rec.volume)
            rows = zip(*(c[: max(0, past - IMPORT_OVERLAP)].tolist() for c in columns), strict=True)
            known = rec.funding_t < setup.first_t
            rates = (rec.funding_t[known].tolist(), rec.funding_rate[known].tolist())
            store.put_bars(slot, [Bar(*row) for row in rows], Provenance.IMPORT)
            store.put_funding(slot.coin, [Funding(*rate) for rate in zip(*rates, strict=True)])


def _free_ports() -> tuple[int, int]:
    """Return two ports that nothing uses, of those that the system gives to nobody by itself."""
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            while not probe.getsockname()[1]:
                with contextlib.suppress(OSError):  # it is taken
                    probe.bind(("127.0.0.1", secrets.choice(_PORTS)))
        return int(one.getsockname()[1]), int(other.getsockname()[1])
