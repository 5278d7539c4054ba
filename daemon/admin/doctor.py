"""Check everything that a daemon depends on, and say what to do about each fault.

This works before the first start and beside a running daemon, which it asks over MQTT. It
changes nothing: the store is opened read-only, and no lock is taken.
"""

import asyncio
import socket
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from websockets.exceptions import WebSocketException

from daemon.admin import host_checks, local_daemon, page_check, remote_client
from daemon.admin.fleet_check import check_backend
from daemon.admin.host_checks import Check
from daemon.admin.notify_check import check_services
from daemon.admin.slot_checks import newest_bars, slot_troubles
from daemon.admin.trade_check import check_trades
from daemon.config.loader import broker_address, operator_login
from daemon.config.schema import Config
from daemon.core.clock import VenueClock
from daemon.core.errors import NoAnswer, Unreachable, VenueUnreachable
from daemon.core.suggestions import several
from daemon.core.terminal.console import EscapingConsole
from daemon.core.times import utc
from daemon.hyperliquid.connecting import proxy_for, stream_socket
from daemon.hyperliquid.listings import Listings
from daemon.hyperliquid.rest import RestClient
from daemon.mqtt.messages import decode
from daemon.registry.bot_compatibility import BotCompatibility
from hyperdrift.clock import Clock
from hyperdrift.errors import BadInput, ConfigError, HyperdriftError
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import BotPresence
from hyperdrift.mqtt.topics import Topics

# The retries of one call take longer, but a person waits for this answer.
_VENUE_S: Final = 20.0
_STREAM_S: Final = 10.0
# A command is stale after 60 s, so the clocks of operator and daemon must differ by less.
_CLOCK_LIMIT_MS: Final = 5000
_START: Final = "`systemctl start hyperdrift`, or `hyperdrift run`"

Presences = dict[str, BotPresence]


async def check_up(config: Config, clock: Clock, file: Path | None = None) -> list[Check]:
    """Return every check, in the order in which faults should be repaired.

    Args:
        config: The configuration of the daemon.
        clock: The clock of this host.
        file: Path that the configuration was read from; None for the defaults.
    """
    found = await asyncio.to_thread(host_checks.inspect, config, file)
    time = VenueClock(clock, config.hyperliquid.speed)
    status: dict[str, Any] = {}
    venue, broker, backend = await asyncio.gather(
        _venue(config, clock, time), _broker(config, clock, status), check_backend(config, clock)
    )
    page = await asyncio.to_thread(page_check.page, config)
    services = await asyncio.to_thread(check_services, config)
    bars = await asyncio.to_thread(newest_bars, config, time.now_ms())
    trades = await asyncio.to_thread(check_trades, config, time, status)
    told = {check.problem for check in venue if check.problem}  # the daemon says the same
    broker = [check for check in broker if check.problem not in told]
    return [*found, *venue, *broker, *backend, page, *services, *bars, *trades]


def exit_code(found: list[Check]) -> int:
    """Return 0 if all is well, 4 if venue or broker does not answer, 1 for any other fault."""
    if any(check.unreachable for check in found):
        return Unreachable.exit_code
    return int(any(check.problem for check in found))


def document(found: list[Check]) -> dict[str, Any]:
    """Return the checks as `--json` prints them."""
    checks = [
        {"name": c.name, "ok": not c.problem, "problem": c.problem, "note": c.note} for c in found
    ]
    return {"ok": exit_code(found) == 0, "checks": checks}


def show(found: list[Check]) -> None:
    """Print one line for each check."""
    console = EscapingConsole(highlight=False, soft_wrap=True)
    width = max(15, *(len(check.name) + 2 for check in found))
    for check in found:
        verdict = check.problem or ("ok" + f" ({check.note})" * bool(check.note))
        console.print(f"{check.name:<{width}}{verdict}")


async def _venue(config: Config, clock: Clock, venue: VenueClock) -> list[Check]:
    """Check that the venue answers, and set `venue` by its answer."""
    rest_url, stream_url = config.hyperliquid.urls
    try:
        async with asyncio.timeout(_VENUE_S), RestClient(rest_url, clock, venue) as rest:
            await rest.learn_clock()
            faults = await Listings(rest).faults({slot.coin for slot in config.slots})
        stream = await _stream(stream_url, proxy_for(stream_url))
    except TimeoutError:
        why = f"{rest_url} does not answer within {_VENUE_S:g} s: check the network"
        return [Check("venue", why, unreachable=True)]
    except HyperdriftError as e:
        gone = isinstance(e, VenueUnreachable)
        return [Check("venue", str(e), unreachable=gone)]
    note = rest_url + (" through a proxy" if proxy_for(rest_url) else "")
    found = Check("venue", stream, note, unreachable=bool(stream))
    coins = [Check(f"coin {coin}", fault.text) for coin, fault in sorted(faults.items())]
    return [found, *coins, _clock(venue, clock)]


async def _stream(url: str, proxy: str | None) -> str:
    """Return why the venue's stream cannot be opened, "" if it can."""
    try:
        async with stream_socket(url, proxy, open_timeout=_STREAM_S, close_timeout=1):
            return ""
    except (OSError, WebSocketException, TimeoutError) as e:
        why = str(e) or type(e).__name__
        remedy = "look at the proxy" if proxy else "let port 443 out through the firewall"
        return f"{url} cannot be opened ({why}): {remedy}"


def _clock(venue: VenueClock, clock: Clock) -> Check:
    """Compare the host's clock with the venue's, unless the venue is a faster replay."""
    if venue.speed != 1:
        return Check("clock", note=f"not compared: the venue runs at {venue.speed:g} x")
    offset_ms = clock.now_ms() - venue.now_ms()
    if abs(offset_ms) <= _CLOCK_LIMIT_MS + venue.uncertainty_ms:
        return Check("clock", note=f"{offset_ms:+} ms against the venue")
    where = "behind" if offset_ms < 0 else "ahead of"
    wrong = f"this host is {abs(offset_ms) / 1000:.0f} s {where} the venue"
    return Check("clock", f"{wrong}: `timedatectl set-ntp true`")


async def _broker(config: Config, clock: Clock, status: dict[str, Any]) -> list[Check]:
    """Check the broker and what is connected to it; fill in the daemon's published status."""
    mqtt, topics = config.mqtt, Topics(config.mqtt.prefix)
    embedded = mqtt.broker == "embedded"
    try:
        address, login = broker_address(mqtt), operator_login(config)
        if embedded and not await asyncio.to_thread(_listens, address.host, address.port):
            silent = Check("broker", note=f"embedded: {address} comes with the daemon")
            return [silent, await asyncio.to_thread(_absent, config)]
        async with remote_client.connected(address, clock, login) as bus:
            bots = _listen_for_bots(bus, topics)
            said = await remote_client.status(bus, topics, clock)
            status.update(said["status"])
    except (ConfigError, Unreachable) as e:
        why = local_daemon.silence(config) if isinstance(e, NoAnswer) and embedded else ""
        told = [Check("daemon", why)] if why else []
        return [Check("broker", str(e), unreachable=isinstance(e, Unreachable)), *told]
    daemon = _daemon(config, said["status"])
    if embedded and not local_daemon.silence(config) and said["status"]["state"] != "online":
        taken = f"another broker than the daemon's has port {mqtt.port}: stop it, set mqtt.port"
        return [Check("broker", f'{taken}, or set mqtt.broker = "{address}"'), daemon]
    slots = slot_troubles(said) if said["status"]["state"] == "online" else []
    bots_found = await _bots(config, topics, bots, said["slots"])
    return [_broker_check(config, address), daemon, *slots, *bots_found]


def _broker_check(config: Config, address: BrokerAddress) -> Check:
    """Say that the broker answers, and warn if it is open to everybody."""
    if config.mqtt.anonymous:
        what = "every user of this host may command, speak as a bot and fill it"
        return Check("broker", f"{what}: remove mqtt.anonymous once your bots log in")
    return Check("broker", note=str(address))


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


def _daemon(config: Config, status: dict[str, Any]) -> Check:
    """Check the status of the running daemon."""
    if status["state"] != "online":
        return _absent(config)
    if halted := local_daemon.stopped(config):
        return Check("daemon", halted)
    ours, runs = version("hyperdrift"), status.get("version", "")
    restart = "restart it: `systemctl restart hyperdrift`"
    if runs != ours:
        return Check("daemon", f"it is version {runs}, installed is {ours}; {restart}")
    wanted, has = {str(s.name) for s in config.slots}, set(status.get("slots", ()))
    if wanted != has:
        return Check("daemon", _other_slots(wanted - has, has - wanted))
    if trouble := status.get("trouble"):
        return Check("daemon", trouble)
    if doing := status.get("doing"):
        return Check("daemon", note=f"version {runs}, {doing}")
    venue = status.get("venue")
    if venue and not venue["connected"]:
        return Check("daemon", "its stream from the venue is down; `journalctl -u hyperdrift`")
    return Check("daemon", note=f"version {runs}, {len(has)} slot{'s' * (len(has) != 1)}")


def _other_slots(lacking: set[str], besides: set[str]) -> str:
    told = {"does not follow": lacking, "still follows": besides}
    wrong = " and ".join(f"{what} {several(sorted(of))}" for what, of in told.items() if of)
    return f"it {wrong}: `systemctl reload hyperdrift` takes the configuration of now"


def _absent(config: Config) -> Check:
    """Report that no daemon answers: no fault if none runs and there is no store yet."""
    if silent := local_daemon.silence(config):
        return Check("daemon", silent)
    if not host_checks.has_store(config):
        return Check("daemon", note=f"not running; {_START}")
    return Check("daemon", f"it is not running: {_START}; `journalctl -t hyperdrift -n 5` says why")


def _listen_for_bots(bus: MqttConnection, topics: Topics) -> Presences:
    """Collect the presence message of every bot, by topic."""
    bots: Presences = {}

    def take(topic: str, payload: bytes, _retained: bool) -> None:  # noqa: FBT001 - Handler
        try:
            bot = decode(payload, BotPresence)
        except BadInput:
            return  # the daemon logs it
        if bot.online:
            bots[topic] = bot

    for presences in topics.bots("+"):
        bus.subscribe(presences, take)
    return bots


async def _bots(
    config: Config, topics: Topics, bots: Presences, states: dict[str, Any]
) -> list[Check]:
    """Check each bot: whether it can load models, has the ordered one, and predicts.

    Args:
        config: The configuration of the daemon.
        topics: Gives the names of the topics.
        bots: The presences, by topic.
        states: Slot -> its state, as the daemon publishes it.
    """
    if not bots:
        return [Check("bots", note="none is online")]
    compatibility, known = BotCompatibility(config.retrain.python), {s.name for s in config.slots}
    await compatibility.learn()
    found = []
    for topic, bot in sorted(bots.items()):
        slot = topics.slot_of(topic)
        problem = compatibility.fault(bot)
        if not problem and slot is not None:
            problem = _told_of(bot, states.get(str(slot[0]), {}).get("bots", ()))
        if not problem and slot is not None and slot[0] not in known:
            problem = f"bot {bot.bot_id} follows {slot[0]}, which has no [[slots]]: add it"
        loads = " or ".join(bot.forms) or "joblib"
        note = f"{bot.bot_id}: Python {bot.python}, loads {loads}"
        if bot.sklearn:
            note += f", scikit-learn {bot.sklearn}"
        found.append(Check("bot", problem, note))
    return found


def _told_of(bot: BotPresence, known: Iterable[dict[str, Any]]) -> str:
    """Return what is wrong with a bot according to itself and to the daemon, "" if nothing."""
    name = f"bot {bot.bot_id}"
    if bot.waiting_for:
        return f"{name} waits for a version: {bot.waiting_for}"
    for each in known:
        if each["bot_id"] != bot.bot_id:
            continue
        if not each["online"]:
            return f"{name} is a ghost: it does not speak; start it again, or leave it"
        if each["silent_since_ms"]:
            since = utc(each["silent_since_ms"])
            return f"{name} has published no prediction since {since} UTC; see in its log why"
    return ""
