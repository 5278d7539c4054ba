"""Define every key of the configuration, with its type and default."""

from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from daemon.core.suggestions import several
from hyperdrift.errors import ConfigError
from hyperdrift.process.home import expanded
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

AS_WRITTEN: Final = "[[slots]] as written"
"""No key of a file has this name."""

TRADE_FIELDS: Final = ("trade_id", "side", "opened_ms", "closed_ms", "pnl")
"""What every trade in a file must have, under these names or those of `[trades.columns]`."""
TRADE_OWNER_FIELDS: Final = ("slot", "coin", "interval")
"""They say whose trade it is; a file of one slot may do without."""

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


def _place(url: str) -> str:
    """Return host, port and path of an address, in the same form however it is written."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    host = "127.0.0.1" if host == "localhost" else host
    port = parts.port if parts.port not in {None, {"http": 80}.get(parts.scheme, 443)} else None
    path = parts.path.rstrip("/").removesuffix("/info")
    return (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "") + path


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Root of the sections."""


class DaemonSection(_Section, frozen=True, kw_only=True):
    """`[daemon]`: the process."""

    data_dir: str = "~/.local/share/hyperdrift"
    """Folder of the store, the models and the keys, from `/` or `~` on."""


class SlotKeys(_Section, frozen=True, kw_only=True):
    """What can be said of one slot, and of many at once."""

    horizon_bars: Annotated[int, Meta(ge=1)] | None = None
    """Bars from a prediction to its outcome; not for several intervals at once."""
    threshold: float | str | None = None
    """Return that separates NEUTRAL from UP and DOWN: a fraction above 0 and below 1, `"auto"`, or
    `"vol:0.8"` for 0.8 times the trailing volatility. Default: the interval's, where that leaves 55
    to 92 % of the training block NEUTRAL, else as `"auto"`."""
    history_days: Positive | None = None
    """Days of bars that a model learns from. Default: 180 days, or 5000 bars if that is more."""
    costs: dict[str, float | str] = msgspec.field(default_factory=dict)
    """Costs of this slot where they differ from `[costs]`, such as `{ slippage_bps = 2.0 }`."""


class SlotSection(SlotKeys, frozen=True, kw_only=True):
    """One coin at one interval, with all that the `[[slots]]` say of it."""

    coin: Annotated[str, Meta(min_length=1)]
    """Name of the coin, as the venue writes it."""
    interval: str = "5m"
    """Length of a bar."""

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
        """Length of the training window in ms; see `history_days`."""
        if self.history_days is not None:
            return round(self.history_days * DAY_MS)
        return max(HISTORY_DAYS * DAY_MS, HISTORY_BARS * self.name.interval_ms)

    @property
    def label_threshold(self) -> float | str:
        """What `retrain.labels.resolve_threshold` takes; `default:` begins that of no threshold."""
        if self.threshold is not None:
            return self.threshold
        return f"default:{LABEL_DEFAULTS[self.name.interval][1]}"


class CostsSection(_Section, frozen=True, kw_only=True):
    """`[costs]`: what a round trip costs, which decisions and figures subtract."""

    maker_bps: Annotated[float, Meta(ge=-10, le=1000)] = 1.5
    """Fee of an order that rests in the book, basis points; a rebate is negative."""
    taker_bps: Annotated[float, Meta(ge=0, le=1000)] = 4.5
    """Fee of an order that takes from the book, basis points."""
    entry: str = "taker"
    """What opens a position: `maker` or `taker`."""
    exit: str = "taker"
    """What closes a position: `maker` or `taker`."""
    slippage_bps: Annotated[float, Meta(ge=0, le=1000)] = 0.0
    """What an order of a taker loses beside its fee, basis points."""
    funding_bps: Annotated[float, Meta(ge=0, le=1000)] = 0.0
    """What a position of either side pays for each hour that it is held, basis points."""


class HyperliquidSection(_Section, frozen=True, kw_only=True):
    """`[hyperliquid]`: the venue."""

    network: str = "mainnet"
    """`mainnet` or `testnet`."""
    rest_url: str = ""
    """Base address of REST, `https://...`; empty takes the network's."""
    ws_url: str = ""
    """Address of the stream, `wss://...`; empty takes the network's, or `/ws` beside `rest_url`."""
    speed: Positive = 1.0
    """Venue seconds per wall second; only a replay exchange runs faster than 1."""
    weight_per_minute: Count = 1000
    """Request weight per minute that the daemon spends; the venue allows 1200."""

    @property
    def urls(self) -> tuple[str, str]:
        """REST base and WebSocket address."""
        rest, stream = NETWORKS[self.network]
        if self.rest_url and not self.ws_url:  # never the stream of another venue
            host = self.rest_url.rstrip("/").removesuffix("/info")
            stream = f"ws{host.removeprefix('http')}/ws"
        return self.rest_url or rest, self.ws_url or stream

    @property
    def venue(self) -> str:
        """Name of the venue: `mainnet`, `testnet`, or host, port and path of `rest_url`."""
        known = {_place(rest): network for network, (rest, _) in NETWORKS.items()}
        place = _place(self.urls[0])
        return known.get(place, place)


class MqttSection(_Section, frozen=True, kw_only=True):
    """`[mqtt]`: how the bot and the operators are reached."""

    broker: str = "embedded"
    """`embedded`, or `mqtt://user@host:1883`, or `mqtts://user@host:8883`."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    """TCP port of the embedded broker, on 127.0.0.1."""
    prefix: str = "hyperdrift"
    """First level of every topic."""
    password_file: str = ""
    """File with the broker's password. Empty: the service's credential `mqtt-password`, if any."""
    anonymous: bool = False
    """Whether every user of this host may command and be a bot; with the embedded broker only."""
    ca_file: str = ""
    """Certificates that vouch for an `mqtts://` broker; empty trusts the system's."""
    cert_file: str = ""
    """Certificate of this client, for an `mqtts://` broker that asks for one. Empty: none."""
    key_file: str = ""
    """Key of `cert_file`, not encrypted. Empty: it stands in `cert_file`, too."""
    homeassistant: bool = False
    """Whether each slot is a device of Home Assistant, by MQTT discovery below `homeassistant/`."""
    command_keys: tuple[str, ...] = ()
    """Files with the public keys of those who may command. Empty: all who reach the broker may."""


class FeaturesSection(_Section, frozen=True, kw_only=True):
    """`[features]`: how features are computed."""

    computer: str = "builtin"
    """`builtin`, or `package.module:Class` for the bot's own formulas."""
    path: str = ""
    """Folder that is put on the import path for the `computer`."""
    cohort_file: str = ""
    """CSV with the columns address and cohort (top or bottom). Empty: no order flow of cohorts."""
    learn_cohorts: bool = False
    """Learn the cohorts from the trades heard, anew before each retrain.

    It keeps about 0.6 MB a day for each 5m slot, for `history_days`.
    """

    @property
    def folder(self) -> str:
        """`path`, `~` expanded and made absolute; empty if there is none."""
        return str(expanded(self.path).resolve()) if self.path else ""


class TradesSection(_Section, frozen=True, kw_only=True):
    """`[trades]`: the bot's closed trades, if it does not publish them."""

    file: str = ""
    """File of the bot's closed trades: CSV, JSON, the venue's fills, or freqtrade's database.
    Empty: none is read."""
    columns: dict[str, str] = msgspec.field(default_factory=dict)
    """The file's names for the fields of a trade, where they differ from ours."""

    @property
    def path(self) -> Path:
        """The file, `~` expanded."""
        return expanded(self.file)


class RetrainSection(_Section, frozen=True, kw_only=True):
    """`[retrain]`: the child process that trains and judges."""

    python: str = ""
    """Interpreter of the child process, best the bot's own. Empty: the daemon's."""
    nice: Annotated[int, Meta(ge=0, le=19)] = 10
    """Niceness of the child process."""
    timeout_s: Positive = 3600.0
    """Seconds after which a retrain is killed."""
    memory_mib: Annotated[int, Meta(ge=0)] = 4096
    """MiB of memory that all child processes may take, each its share; 0 sets no limit."""
    parallel: Count = 1
    """Retrains of all slots that run at the same time; the others wait in the queue. They share the
    cores and `memory_mib`."""
    backend: str = "local"
    """Where retrains run: `local`; `dask`, on workers that the daemon starts on this host; or
    `dask://host:8786`, on a Dask cluster, with TLS as `dasks://host:8786`."""
    dask_ca_file: str = ""
    """Certificate of the authority of a `dasks://` cluster; refused beside `dask://`."""
    dask_cert_file: str = ""
    """The daemon's certificate for a `dasks://` cluster."""
    dask_key_file: str = ""
    """Key of `dask_cert_file`, not encrypted."""
    min_signal_rate: Annotated[float, Meta(gt=0, le=0.2)] = 0.005
    """Least fraction of the bars with a signal of each side. A model that is not expected to earn
    its costs gives no more; the most is 0.2."""
    seed: int = 0
    """Seed of a retrain: the same bars and seed give the same model."""


class SwapSection(_Section, frozen=True, kw_only=True):
    """`[swap]`: what happens when a version goes live."""

    on_deploy: tuple[str, ...] = ()
    """Command that runs after a version went live, for a bot that must be restarted. No shell."""


class WebSection(_Section, frozen=True, kw_only=True):
    """`[web]`: the status page."""

    listen: str = "127.0.0.1:8377"
    """Address of the status page; empty switches it off. Everybody on this host may read a page on
    127.0.0.1 or [::1]; on any other address reading takes the token, and TLS or a proxy."""
    names: tuple[str, ...] = ()
    """Names of hosts by which browsers reach the page, such as `bots.example.org`."""
    cert_file: str = ""
    """Certificate of the page, for TLS, with those between it and its authority. Empty: no TLS."""
    key_file: str = ""
    """Key of `cert_file`, not encrypted. Empty: it stands in `cert_file`, too."""
    proxy: bool = False
    """Whether a proxy stands before the page. Its `X-Forwarded-` headers count then, and reading
    takes the token."""

    @property
    def place(self) -> tuple[str, int]:
        """Host and port of `listen`; an IPv6 host has no brackets."""
        parts = urlsplit(f"//{self.listen}")
        return parts.hostname or "", parts.port or 0

    @property
    def url(self) -> str:
        """The address for a browser on this host; empty if there is no page."""
        host, port = self.place
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, self.listen.rpartition(":")[0])  # noqa: S104 - told, not bound
        return f"{'https' if self.cert_file else 'http'}://{shown}:{port}/" if self.listen else ""


class NotifySection(_Section, frozen=True, kw_only=True):
    """`[notify]`: messages to people about what matters, by any service that apprise knows."""

    urls: tuple[str, ...] = ()
    """Where messages go, such as `tgram://TOKEN/CHAT`. Secrets are better kept in `urls_file`."""
    urls_file: str = ""
    """File with one address a line; `#` begins a comment. Empty: the service's credential
    `notify-urls`, if any."""
    quiet_hours: str = ""
    """Hours in which only what is critical is sent, such as `22:00-07:00`. The rest waits for their
    end and comes in one message. Empty: none."""
    timezone: str = ""
    """Time zone of `quiet_hours`, `digest` and the times in messages, such as `Europe/Berlin`.
    Empty: the host's."""
    max_per_hour: Count = 20
    """Messages within an hour; what is more comes in one message when the hour allows it."""
    digest: str = "mon 08:00"
    """When the weekly digest is sent, a day and a time. Empty: never."""


class Config(_Section, frozen=True, kw_only=True):
    """Everything a person may set; `daemon.config.slot_entries` makes the `slots` of the file's."""

    daemon: DaemonSection = DaemonSection()
    slots: tuple[SlotSection, ...] = (SlotSection(coin="BTC"),)
    costs: CostsSection = CostsSection()
    hyperliquid: HyperliquidSection = HyperliquidSection()
    mqtt: MqttSection = MqttSection()
    features: FeaturesSection = FeaturesSection()
    trades: TradesSection = TradesSection()
    retrain: RetrainSection = RetrainSection()
    policy: dict[str, Any] = msgspec.field(default_factory=dict)
    gates: dict[str, Any] = msgspec.field(default_factory=dict)
    swap: SwapSection = SwapSection()
    web: WebSection = WebSection()
    notify: NotifySection = NotifySection()
    entries: tuple[SlotKeys, ...] = msgspec.field(default=(), name=AS_WRITTEN)
    """The `[[slots]]` as they stand in the file."""

    @property
    def data_dir(self) -> Path:
        """The data folder, `~` expanded."""
        return expanded(self.daemon.data_dir)

    def costs_of(self, slot: SlotSection) -> CostsSection:
        """Return the costs of a slot: `[costs]`, with what the slot itself says."""
        said: dict[str, Any] = slot.costs
        return msgspec.structs.replace(self.costs, **said)

    @property
    def keep_takers_ms(self) -> int:
        """For how long it is kept what addresses took, in ms; 0 if cohorts are not learnt."""
        learns = self.features.learn_cohorts
        return max((slot.history_ms for slot in self.slots), default=0) if learns else 0

    def slot(self, name: SlotName) -> SlotSection:
        """Return the section of one slot.

        Raises:
            ConfigError: If no such slot is configured.
        """
        for section in self.slots:
            if section.name == name:
                return section
        have = several(s.name for s in self.slots)
        msg = f"slot {name} is not configured; this configuration has {have}"
        raise ConfigError(msg)
