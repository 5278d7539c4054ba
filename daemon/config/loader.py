"""Read the configuration once, into one frozen value.

A misspelt key is an error: the bot would otherwise trade on a default that nobody chose. The
error names the key, says what is wrong and what to write.
Environment variables `HYPERDRIFT_<SECTION>__<KEY>` override the file.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from daemon.config.backend import LEAST_MIB, read_backend
from daemon.config.environment import override, variable_of
from daemon.config.notify_times import times_problem
from daemon.config.schema import (
    LABEL_DEFAULTS,
    NETWORKS,
    TRADE_FIELDS,
    TRADE_OWNER_FIELDS,
    Config,
    CostsSection,
    FeaturesSection,
    HyperliquidSection,
    MqttSection,
    RetrainSection,
    SlotSection,
    TradesSection,
)
from daemon.config.slot_entries import patterns, read_entries, with_followed
from daemon.config.validation_errors import explain
from daemon.config.web_rules import url_fault, web_problem
from daemon.core.outside_text import printable
from daemon.mqtt.broker.access import OPERATOR
from daemon.mqtt.passwords import password_path
from hyperdrift.errors import BadInput, ConfigError
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.login import FileLogin, FixedLogin, Login
from hyperdrift.mqtt.password_file import read_password
from hyperdrift.process.home import expanded

SEARCH_PATHS: Final = (Path("hyperdrift.toml"), Path("/etc/hyperdrift/hyperdrift.toml"))
# The unit of the service takes the broker's password from here, and so do root's commands.
CREDSTORE: Final = Path("/etc/credstore/hyperdrift.mqtt-password")
_VENUE_WEIGHT: Final = 1200
# What to write, by a part of the parser's message.
_TOML_REMEDIES: Final = {
    "Invalid value": "write text in quotes, and true and false in small letters",
    "Cannot declare": "write each section once, with all of its keys below it",
    "Cannot overwrite a value": "write each key once",
    "Expected '='": "write key = value",
    "Expected newline": "write one key = value a line, with text in quotes",
    "Unclosed array": "close the list with ]",
    "Illegal character": "close the quotes on the line where they begin",
    "Unterminated string": "close the quotes on the line where they begin",
    "Unescaped": "write text with a \\ in single quotes",
    "Invalid hex": "write text with a \\ in single quotes",
}
_COMPUTER: Final = re.compile(r"[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*")
_VOLATILITY: Final = re.compile(r"vol:(\d+(\.\d+)?)")


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Read `path`, or the first of the usual places, or take the defaults.

    Args:
        path: A TOML file; None searches `hyperdrift.toml`, then `/etc/hyperdrift/`.
        environ: Holds the overrides; the process environment by default.

    Raises:
        ConfigError: One sentence that names the key and says what to write.
    """
    path = find(path)
    raw = _read(path) if path is not None else {}
    used = override(raw, os.environ if environ is None else environ)
    try:
        return _checked(raw)
    except ConfigError as e:
        where = variable_of(str(e), used) or path or "configuration"
        raise ConfigError(f"{where}: {e}") from e


def _checked(raw: dict[str, Any]) -> Config:
    try:
        entries = read_entries(raw)
        config = msgspec.convert({k: v for k, v in raw.items() if k != "slots"}, Config)
    except msgspec.ValidationError as e:
        raise ConfigError(explain(str(e), raw)) from e
    try:
        config = with_followed(msgspec.structs.replace(config, entries=entries))
    except BadInput as e:
        raise ConfigError(f"[[slots]] {e}") from e
    if problem := _problem(config):
        raise ConfigError(problem)
    return config


def find(path: Path | None = None) -> Path | None:
    """Return `path`, or the first of the usual places with a file, or None."""
    return path or next((p for p in SEARCH_PATHS if _is_there(p)), None)


def _is_there(path: Path) -> bool:
    try:
        path.stat()  # `exists` says no of what may not be seen, from Python 3.14 on
    except OSError as e:
        # Reading it raises the error with the reason. But after `sudo -u` somebody else's home may
        # be the working folder: nobody keeps a file for this user there.
        return isinstance(e, PermissionError) and path.is_absolute()
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as e:
        sudo = "run this with sudo, or " if isinstance(e, PermissionError) else ""
        remedy = f"{sudo}give a file with --config"
        raise ConfigError(f"{path}: cannot be read ({e.strerror}); {remedy}") from e
    except (ValueError, RecursionError) as e:  # of TOML, of UTF-8, or a number of 5000 digits
        raise ConfigError(f"{path}: is not TOML: {printable(str(e))}{_toml_remedy(str(e))}") from e


def _toml_remedy(error: str) -> str:
    return next((f"; {remedy}" for part, remedy in _TOML_REMEDIES.items() if part in error), "")


def _problem(config: Config) -> str | None:
    """Check the rules that the types cannot express."""
    if not config.entries:
        return "there is no [[slots]]; write one with coin and interval"
    for slot in (*config.slots, *patterns(config)):
        problem = _slot_problem(slot) or _slot_costs_problem(slot)
        if problem:
            return f"[[slots]] {slot.name}: {problem}"
    _check_limits(config)
    read_backend(config.retrain)
    return (
        _folder_problem(config.daemon.data_dir)
        or _costs_problem(config.costs)
        or _venue_problem(config.hyperliquid)
        or web_problem(config.web)
        or _features_problem(config.features)
        or _memory_problem(config.retrain)
        or _mqtt_problem(config.mqtt)
        or _trades_problem(config.trades)
        or times_problem(config.notify)
    )


def _slot_problem(slot: SlotSection) -> str | None:
    if slot.name.interval not in LABEL_DEFAULTS and (
        slot.horizon_bars is None or slot.threshold is None
    ):
        return "this interval has no measured defaults; write horizon_bars and threshold"
    threshold = slot.threshold
    if threshold is None:
        return None
    if isinstance(threshold, str):
        if threshold != "auto" and not _VOLATILITY.fullmatch(threshold):
            wanted = 'a fraction like 0.005, without quotes, or "auto" or "vol:0.8"'
            return f"threshold is {threshold!r}; write {wanted}"
    elif not 0 < threshold < 1:
        return f"threshold is {threshold}; write a fraction between 0 and 1, like 0.005 for 0.5 %"
    return None


def _slot_costs_problem(slot: SlotSection) -> str | None:
    raw = {"costs": slot.costs}
    try:
        return _costs_problem(msgspec.convert(raw, Config).costs)
    except msgspec.ValidationError as e:
        return explain(str(e), raw)


def _costs_problem(costs: CostsSection) -> str | None:
    for key in ("entry", "exit"):
        if (value := getattr(costs, key)) not in {"maker", "taker"}:
            return f'costs.{key} is {value!r}; write "maker" or "taker"'
    return None


def _check_limits(config: Config) -> None:
    """Check the names and values of `[policy]` and `[gates]`.

    Raises:
        ConfigError: If one cannot be used.
    """
    if not (config.policy or config.gates):
        return
    from daemon.config import limits  # noqa: PLC0415 - with it come the libraries of a retrain

    limits.gate_limits(config.gates)
    for slot in (*config.slots, *patterns(config)):
        limits.policy_settings(config.policy, slot.name)


def _folder_problem(data_dir: str) -> str | None:
    """Refuse a relative folder: it would differ with the folder of each command."""
    try:
        if expanded(data_dir).is_absolute():
            return None
    except ConfigError as e:
        return f"daemon.data_dir is {e}"
    return f"daemon.data_dir is {data_dir!r}; write a whole path, from / or ~ on"


def _venue_problem(venue: HyperliquidSection) -> str | None:
    if venue.network not in NETWORKS:
        return f"hyperliquid.network is {venue.network!r}; write mainnet or testnet"
    for name, url, scheme in (("rest_url", venue.rest_url, "http"), ("ws_url", venue.ws_url, "ws")):
        if url and not url.startswith((f"{scheme}://", f"{scheme}s://")):
            return f"hyperliquid.{name} is {url!r}; write {scheme}s://... (or {scheme}://...)"
        if url and (fault := url_fault(url)):
            return f"hyperliquid.{name} is {url!r}: {fault}; write {scheme}s://host or host:port"
    if venue.ws_url and not venue.rest_url:
        return "hyperliquid.ws_url is given without rest_url; write both, of the same venue"
    if venue.weight_per_minute > _VENUE_WEIGHT and not venue.rest_url:
        return (
            f"hyperliquid.weight_per_minute is {venue.weight_per_minute}; write at most "
            f"{_VENUE_WEIGHT}, all that the venue allows an address"
        )
    return None


def _features_problem(features: FeaturesSection) -> str | None:
    if features.learn_cohorts and features.cohort_file:
        return "features.learn_cohorts and features.cohort_file exclude each other; remove one"
    if features.computer == "builtin":
        return None
    if not _COMPUTER.fullmatch(features.computer):
        wrong = f"features.computer is {features.computer!r}"
        return f'{wrong}; write "builtin" or "package.module:Class"'
    if features.path and not _may_be_folder(expanded(features.path)):
        return f"features.path {features.path!r} is not a folder; write the one of the package"
    return None


def _may_be_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except PermissionError:  # the start tells of it, and goes on
        return True


def _mqtt_problem(mqtt: MqttSection) -> str | None:
    if not mqtt.prefix or set("+#") & set(mqtt.prefix):
        return f'mqtt.prefix is {mqtt.prefix!r}; write a name without + and #, like "hyperdrift"'
    if mqtt.prefix.startswith("$"):
        return f"mqtt.prefix is {mqtt.prefix!r}; only a broker's own topics begin with $"
    for key in ("ca_file", "cert_file", "key_file"):
        if mqtt.broker == "embedded" and getattr(mqtt, key):
            return f"mqtt.{key} is of no use with the embedded broker; remove the key"
    if mqtt.broker != "embedded" and mqtt.anonymous:
        return "mqtt.anonymous is about the embedded broker; remove the key, or mqtt.broker"
    try:
        broker_address(mqtt)
    except ConfigError as e:
        return str(e).replace("in a file", "in a file that mqtt.password_file names")
    return None


def _trades_problem(trades: TradesSection) -> str | None:
    known = (*TRADE_FIELDS, *TRADE_OWNER_FIELDS)
    for name in trades.columns:
        if name not in known:
            return f"[trades.columns] {name!r} is not a field of a trade; write {', '.join(known)}"
    return None


def broker_address(mqtt: MqttSection) -> BrokerAddress:
    """Return the address of the broker, also of the embedded one.

    Raises:
        ConfigError: If there is a password in it.
    """
    if mqtt.broker == "embedded":
        return BrokerAddress.parse(f"mqtt://127.0.0.1:{mqtt.port}")
    files = (mqtt.ca_file, mqtt.cert_file, mqtt.key_file)
    return BrokerAddress.parse(mqtt.broker, *(expanded(file) if file else None for file in files))


def operator_login(config: Config) -> Login:
    """Return how a command of this host logs in at the broker.

    Raises:
        ConfigError: If the file of the password cannot be read.
    """
    mqtt, address = config.mqtt, broker_address(config.mqtt)
    if mqtt.broker != "embedded":
        return FixedLogin(address.user, broker_password(mqtt))
    return FileLogin(OPERATOR, [password_path(config.data_dir, OPERATOR)], address.port)


def broker_password(mqtt: MqttSection) -> str | None:
    """Read the broker's password from its file, or from the credential of the service.

    Raises:
        ConfigError: If the file cannot be read.
    """
    path = expanded(mqtt.password_file) if mqtt.password_file else None
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    # systemd makes the folder unreadable if it has no credential to put there.
    if path is None and credentials and os.access(f"{credentials}/mqtt-password", os.F_OK):
        path = Path(credentials) / "mqtt-password"
    if path is None and mqtt.broker != "embedded" and os.access(CREDSTORE, os.R_OK):
        path = CREDSTORE
    if path is None:
        return None
    try:
        return read_password(path)
    except OSError as e:
        raise ConfigError(
            f"mqtt.password_file {path}: cannot be read ({e.strerror}): write the password there"
        ) from e


def _memory_problem(retrain: RetrainSection) -> str | None:
    """Refuse a share of the memory that no retrain can work with."""
    each = retrain.memory_mib // retrain.parallel
    if retrain.parallel == 1 or retrain.memory_mib == 0 or each >= LEAST_MIB:
        return None
    return (
        f"retrain.memory_mib = {retrain.memory_mib} leaves {each} MiB for each of retrain.parallel "
        f"= {retrain.parallel}, and a retrain needs {LEAST_MIB}; write at least memory_mib = "
        f"{LEAST_MIB * retrain.parallel}, or fewer in parallel"
    )
