"""Everything a person may set, and its defaults: the shape of the configuration."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from hyperdrift.errors import ConfigError
from hyperdrift.slot_name import DAY_MS, SlotName, interval_name

NETWORKS: Final = {
    "mainnet": ("https://api.hyperliquid.xyz", "wss://api.hyperliquid.xyz/ws"),
    "testnet": ("https://api.hyperliquid-testnet.xyz", "wss://api.hyperliquid-testnet.xyz/ws"),
}
# Horizon in bars and label threshold, for the intervals whose class shares were measured.
HISTORY_DAYS: Final = 180
HISTORY_BARS: Final = 5000
"""As many bars as the venue serves: 180 days hold 180 daily ones, too few to learn from."""

LABEL_DEFAULTS: Final = {"5m": (12, 0.005), "1h": (4, 0.0075), "12h": (1, 0.015), "1d": (1, 0.025)}

TRADE_FIELDS: Final = ("trade_id", "side", "opened_ms", "closed_ms", "pnl")
"""What every trade in a file must have, under these names or those of `[trades.columns]`."""
TRADE_OWNER_FIELDS: Final = ("slot", "coin")
"""Either says whose trade it is; a file of one slot may do without."""

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Root of the sections."""


class DaemonSection(_Section, frozen=True, kw_only=True):
    """`[daemon]`."""

    data_dir: str = "~/.local/share/hyperdrift"


class SlotSection(_Section, frozen=True, kw_only=True):
    """One `[[slots]]`; horizon, threshold and history default by interval."""

    coin: Annotated[str, Meta(min_length=1)]
    interval: str = "5m"
    horizon_bars: Annotated[int, Meta(ge=1)] | None = None
    threshold: float | str | None = None
    history_days: Positive | None = None

    @property
    def name(self) -> SlotName:
        """The slot, with the venue's name of its interval."""
        return SlotName.parse(f"{self.coin}-{interval_name(self.interval)}")

    @property
    def horizon(self) -> int:
        """Bars from a prediction to its outcome."""
        return self.horizon_bars or LABEL_DEFAULTS[self.name.interval][0]

    @property
    def history_ms(self) -> int:
        """How far back a model learns; by default what `HISTORY_DAYS` and `HISTORY_BARS` say."""
        if self.history_days is not None:
            return round(self.history_days * DAY_MS)
        return max(HISTORY_DAYS * DAY_MS, HISTORY_BARS * self.name.interval_ms)

    @property
    def label_threshold(self) -> float | str:
        """Return that separates NEUTRAL from the rest: a fraction, `auto` or `vol:K`."""
        return LABEL_DEFAULTS[self.name.interval][1] if self.threshold is None else self.threshold


class HyperliquidSection(_Section, frozen=True, kw_only=True):
    """`[hyperliquid]`."""

    network: str = "mainnet"
    rest_url: str = ""
    ws_url: str = ""
    speed: Positive = 1.0
    weight_per_minute: Count = 1000

    @property
    def urls(self) -> tuple[str, str]:
        """REST base and WebSocket address."""
        rest, stream = NETWORKS[self.network]
        return self.rest_url or rest, self.ws_url or stream


class MqttSection(_Section, frozen=True, kw_only=True):
    """`[mqtt]`; `port` is where the embedded broker listens, on 127.0.0.1.

    `ca_file` has the certificates that vouch for an `mqtts://` broker; empty trusts the system's.

    `command_keys` are files with the public keys of those who may command; empty, everybody
    may who reaches the broker.
    """

    broker: str = "embedded"
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    prefix: str = "hyperdrift"
    password_file: str = ""
    ca_file: str = ""
    command_keys: tuple[str, ...] = ()


class FeaturesSection(_Section, frozen=True, kw_only=True):
    """`[features]`; `path` is put on the import path for a `computer` of the bot's own."""

    computer: str = "builtin"
    path: str = ""
    cohort_file: str = ""

    @property
    def folder(self) -> str:
        """`path`, `~` expanded and made absolute; empty if there is none."""
        return str(Path(self.path).expanduser().resolve()) if self.path else ""


class TradesSection(_Section, frozen=True, kw_only=True):
    """`[trades]`; `columns` gives the file's names for our fields, where they differ."""

    file: str = ""
    columns: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file, `~` expanded."""
        return Path(self.file).expanduser()


class RetrainSection(_Section, frozen=True, kw_only=True):
    """`[retrain]`."""

    python: str = ""
    nice: Annotated[int, Meta(ge=0, le=19)] = 10
    timeout_s: Positive = 3600.0
    memory_mib: Annotated[int, Meta(ge=0)] = 4096
    backend: str = "local"
    signal_rate: Annotated[float, Meta(gt=0, le=0.3)] = 0.05
    seed: int = 0


class SwapSection(_Section, frozen=True, kw_only=True):
    """`[swap]`; `on_deploy` is a command for a bot that must be restarted."""

    on_deploy: tuple[str, ...] = ()


class WebSection(_Section, frozen=True, kw_only=True):
    """`[web]`; an empty `listen` switches the status page off. Not served yet: a warning."""

    listen: str = ""


class NotifySection(_Section, frozen=True, kw_only=True):
    """`[notify]`."""

    urls: tuple[str, ...] = ()


class Config(_Section, frozen=True, kw_only=True):
    """Everything a person may set."""

    daemon: DaemonSection = DaemonSection()
    slots: tuple[SlotSection, ...] = (SlotSection(coin="BTC"),)
    hyperliquid: HyperliquidSection = HyperliquidSection()
    mqtt: MqttSection = MqttSection()
    features: FeaturesSection = FeaturesSection()
    trades: TradesSection = TradesSection()
    retrain: RetrainSection = RetrainSection()
    policy: dict[str, float | bool] = msgspec.field(default_factory=dict)
    gates: dict[str, float] = msgspec.field(default_factory=dict)
    swap: SwapSection = SwapSection()
    web: WebSection = WebSection()
    notify: NotifySection = NotifySection()

    @property
    def data_dir(self) -> Path:
        """The data folder, `~` expanded."""
        return Path(self.daemon.data_dir).expanduser()

    def slot(self, name: SlotName) -> SlotSection:
        """Return the section of one slot.

        Raises:
            ConfigError: If no such slot is configured.
        """
        for section in self.slots:
            if section.name == name:
                return section
        have = ", ".join(str(s.name) for s in self.slots)
        msg = f"slot {name} is not configured; this configuration has {have}"
        raise ConfigError(msg)
