"""Check the newest bar of each slot in the store, whether or not a daemon runs."""

from collections.abc import Iterator
from typing import Any

import msgspec

from daemon.admin.host_checks import Check, has_store
from daemon.config.limits import policy_settings
from daemon.config.schema import Config
from daemon.core.bars import Provenance
from daemon.core.times import utc
from daemon.market_data.silence import age, limit_ms
from daemon.mqtt.messages import FeatureMismatch
from daemon.registry.registry import Registry
from daemon.store.data_folder import open_store
from daemon.store.store import Store
from daemon.web.data.needs import mismatch_told
from hyperdrift.errors import HyperdriftError
from hyperdrift.slot_name import SlotName
from monitor.policy import Situation, collecting

_FRESH = "no bar yet: the daemon fetches what the venue serves of it"


def newest_bars(config: Config, now_ms: int) -> list[Check]:
    """Return one check for each slot: how old its newest bar of record is.

    Args:
        config: The configuration of the daemon.
        now_ms: The venue's time, or the host's if the venue does not answer, ms UTC.
    """
    slots = [slot.name for slot in config.slots]
    try:
        if not has_store(config):
            return [Check(_name(slot), note=_FRESH) for slot in slots]
        with open_store(config.data_dir, read_only=True) as store:
            return list(_checks(config, slots, store, now_ms))
    except (HyperdriftError, OSError):
        return []  # the check of the store says why


def slot_troubles(said: dict[str, Any]) -> list[Check]:
    """Return a check for all that a running daemon says a slot lacks, or that its bot differs in.

    Args:
        said: The status of the daemon and the state of each slot, as they are published.
    """
    found = []
    for slot, state in sorted(said["slots"].items()):
        problems = (state.get("trouble"), _differs(state.get("mismatch")))
        found += [Check(f"slot {slot}", problem) for problem in problems if problem]
    return found


def _differs(published: Any) -> str:
    try:
        return mismatch_told(msgspec.convert(published, FeatureMismatch | None))
    except msgspec.ValidationError:
        return ""  # of another version of the daemon, which the check of the daemon tells


def _checks(config: Config, slots: list[SlotName], store: Store, now_ms: int) -> Iterator[Check]:
    registry = Registry(config.data_dir / "models")
    for slot in slots:
        newest = store.newest_t(slot, Provenance.IMPORT)
        if newest is None:
            yield Check(_name(slot), note=_FRESH)
            continue
        close_ms = newest + slot.interval_ms
        found = f"the newest bar of record closed {utc(close_ms)} UTC, {age(now_ms - close_ms)} ago"
        if now_ms - close_ms > limit_ms(slot):
            what = "`hyperdrift status` says what the slot lacks; if no daemon runs, start it"
            yield Check(_name(slot), f"{found}: {what}")
            continue
        first = "" if registry.pointer(slot).exists() else _first(config, slot, store, now_ms)
        yield Check(_name(slot), note="; ".join(filter(None, (found, first))))


def _first(config: Config, slot: SlotName, store: Store, now_ms: int) -> str:
    """Return how far the bars for a first model are; "" if there are enough."""
    settings = policy_settings(config.policy, slot)
    bars = len(store.bars(slot)["t"])
    now = Situation(now_ms=now_ms, interval_ms=slot.interval_ms, bars=bars)
    missing = collecting(settings, now)
    return f"the first model needs {settings.min_bars}: {missing}" if missing else ""


def _name(slot: SlotName) -> str:
    return f"bars {slot}"
