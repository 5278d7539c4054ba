"""What stands before the demo begins and is looked at when it ends: files, keys, history."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from daemon.config.schema import LABEL_DEFAULTS
from daemon.core.bars import Bar, Funding, Provenance
from daemon.demo.market import generate, load
from daemon.demo.recording import Recording
from daemon.registry.registry import Registry
from daemon.registry.signing import generate as generate_keys
from daemon.store.data_folder import open_store
from hyperdrift.errors import BadInput, HyperdriftError
from hyperdrift.slot_name import SlotName

SEED: Final = 10
START_MS: Final = 1_748_736_000_000
HISTORY_BARS: Final = 17_280  # 60 days of 5m, made up
STREAM_BARS: Final = 6_000
HISTORY_SHARE: Final = 0.7  # of a recording: the more past, the better the models
# The venue serves the newest 5000 bars; older ones come from a file, and both overlap.
IMPORT_OVERLAP: Final = 4_000
# Long enough for the first model to be trained and watched in the old regime.
CHANGE_AFTER: Final = 400
SHORTEST: Final = 7_200
BARS_PER_S: Final = 10


@dataclass(frozen=True, slots=True)
class Options:
    """What a person chose.

    `data` None is a made-up market, `speed` None is ten bars a second, `timeout_s` 0 for ever.
    """

    data: Path | None = None
    speed: float | None = None
    until_swap: bool = False
    timeout_s: float = 0.0
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class DemoSetup:
    """Where everything stands."""

    folder: Path
    recording: Recording
    first_t: int
    options: Options
    mqtt_port: int

    @property
    def slot(self) -> SlotName:
        """The slot that is traded."""
        return SlotName(self.recording.coin, self.recording.interval)

    @property
    def data_dir(self) -> Path:
        """The daemon's data folder."""
        return self.folder / "data"

    @property
    def broker_url(self) -> str:
        """The daemon's embedded broker."""
        return f"mqtt://127.0.0.1:{self.mqtt_port}"

    @property
    def config_path(self) -> Path:
        """The daemon's configuration."""
        return self.folder / "hyperdrift.toml"

    @property
    def public_key(self) -> Path:
        """What the bot trusts."""
        return self.data_dir / "keys" / "hyperdrift.pub"

    @property
    def speed(self) -> float:
        """Venue seconds per wall second."""
        ten_a_second = BARS_PER_S * self.recording.interval_ms / 1000
        return ten_a_second if self.options.speed is None else self.options.speed

    @property
    def past_bars(self) -> int:
        """Bars that are past when the exchange opens."""
        return int((self.recording.t < self.first_t).sum())


def load_recording(data: Path | None) -> Recording:
    """Read a recording, or make up the market of the demo.

    Raises:
        BadInput: If the file cannot be used.
    """
    if data is not None:
        return load(data)
    bars = HISTORY_BARS + STREAM_BARS
    change_at = HISTORY_BARS + CHANGE_AFTER
    return generate(bars, 300_000, SEED, start_ms=START_MS, change_at=change_at)


@contextmanager
def prepare(options: Options) -> Iterator[DemoSetup]:
    """Prepare a folder with history and keys; remove it at the end.

    Raises:
        BadInput: If the recording cannot be used.
    """
    recording = load_recording(options.data)
    if len(recording) < SHORTEST:
        msg = f"{options.data} has {len(recording)} bars; the demo needs {SHORTEST}"
        raise BadInput(msg)
    history = round(len(recording) * HISTORY_SHARE) if options.data else HISTORY_BARS
    with TemporaryDirectory(prefix="hyperdrift-demo-", ignore_cleanup_errors=True) as folder:
        setup = DemoSetup(Path(folder), recording, int(recording.t[history]), options, _free_port())
        _fill_store(setup)
        generate_keys(setup.data_dir / "keys" / "hyperdrift.key", setup.public_key)
        yield setup


def write_config(setup: DemoSetup, rest_url: str, ws_url: str) -> None:
    """Write the settings; the limits of the policy are short, for a demo of a few days."""
    threshold = '"auto"' if setup.options.data else "0.005"
    horizon = LABEL_DEFAULTS.get(setup.slot.interval, LABEL_DEFAULTS["5m"])[0]
    text = f"""\
[daemon]
data_dir = "{setup.data_dir}"
[[slots]]
coin = "{setup.slot.coin}"
interval = "{setup.slot.interval}"
horizon_bars = {horizon}
threshold = {threshold}
history_days = 180
[hyperliquid]
rest_url = "{rest_url}"
ws_url = "{ws_url}"
speed = {setup.speed}
[mqtt]
port = {setup.mqtt_port}
[policy]
cooldown_hours = 6
max_retrains_per_day = 4
min_new_bars = 144
retry_bars = 144
probation_hours = 24
"""
    setup.config_path.write_text(text)


def compare_store(setup: DemoSetup) -> tuple[int, bool]:
    """Hold the streamed bars in the store against the recording, value for value."""
    rec = setup.recording
    with open_store(setup.data_dir, read_only=True) as store:
        stored = store.bars(setup.slot, from_t=setup.first_t)
    past, count = setup.past_bars, len(stored["t"])
    equal = all(
        (stored[name] == getattr(rec, name)[past : past + count]).all()
        for name in ("t", "open", "high", "low", "close", "volume")
    )
    return count, bool(equal)


def describe_models(setup: DemoSetup) -> tuple[dict[str, Any], ...]:
    """Describe the versions, oldest first, for a look side by side."""
    try:
        versions = Registry(setup.data_dir / "models").versions(setup.slot)
    except HyperdriftError:
        return ()
    return tuple(asdict(version) for version in reversed(versions))


def _fill_store(setup: DemoSetup) -> None:
    """Import what lies beyond the venue's reach, as an owner with a file would."""
    rec, past = setup.recording, setup.past_bars
    columns = (rec.t, rec.open, rec.high, rec.low, rec.close, rec.volume)
    rows = zip(*(c[: max(0, past - IMPORT_OVERLAP)].tolist() for c in columns), strict=True)
    known = rec.funding_t < setup.first_t
    rates = zip(rec.funding_t[known].tolist(), rec.funding_rate[known].tolist(), strict=True)
    with open_store(setup.data_dir) as store:
        store.put_bars(setup.slot, [Bar(*row) for row in rows], Provenance.IMPORT)
        store.put_funding(setup.slot.coin, [Funding(*rate) for rate in rates])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
