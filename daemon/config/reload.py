"""Apply a changed configuration while the daemon runs, where that is safe, and refuse the rest.

On SIGHUP the file is read again. Keys that matter only when a retrain is decided on, trained or
judged can change at once, and so can the slots. All other keys need a restart. A change of one of
them refuses the whole file, so that the daemon never runs on a mixture of two files.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol, TypeVar

import msgspec
import structlog

from daemon.config.environment import misspelt
from daemon.config.limits import gate_limits, policy_settings
from daemon.config.schema import Config, CostsSection, NotifySection
from daemon.config.slot_entries import begin_stars, doubts, with_followed
from hyperdrift.errors import ConfigError
from hyperdrift.slot_name import SlotName
from monitor.policy import PolicySettings

log = structlog.get_logger()

_POLICY: Final = (
    *("cooldown_hours", "min_new_bars", "min_bars", "max_age_days", "schedule_days"),
    *("on_drift", "on_win_rate", "challenge", "retry_bars", "max_retrains_per_day"),
)
_COSTS: Final = CostsSection.__struct_fields__
_RETRAIN: Final = ("nice", "timeout_s", "memory_mib", "parallel", "min_signal_rate", "seed")
SLOTS: Final = "[[slots]]"
LIVE: Final = frozenset(
    {"swap.on_deploy", SLOTS}
    | {f"policy.{key}" for key in _POLICY}
    | {f"retrain.{key}" for key in _RETRAIN}
    | {f"costs.{key}" for key in _COSTS}
    | {f"notify.{key}" for key in NotifySection.__struct_fields__}
)
"""Keys that can change while the daemon runs, beside all of `[gates]`."""

P = TypeVar("P")


class Reconfigurable(Protocol):
    """What can take another configuration: the runner of a slot."""

    slot: SlotName

    def adopt(self, config: Config, settings: PolicySettings) -> None:
        """Use these from now on."""
        ...


class ChangesSlots(Protocol[P]):
    """What adds and removes slots while the daemon runs."""

    def plan(self, config: Config) -> P:
        """Build what is added; nothing changes yet.

        Raises:
            ConfigError: If the slots of this configuration cannot be run.
        """
        ...

    async def carry_out(self, plan: P) -> None:
        """Remove and add slots as planned."""
        ...


class Party(Protocol):
    """What else follows the configuration, and may refuse one."""

    def prepare(self, config: Config) -> None:
        """Read, in a thread, what the configuration names.

        Raises:
            ConfigError: If it cannot be used.
        """
        ...

    def adopt(self, config: Config) -> None:
        """Use from now on what was prepared last."""
        ...


class Reload:
    """Reads the configuration again when it is asked to.

    Args:
        config: What the daemon runs with.
        read: Reads it again, from where it came.
    """

    def __init__(self, config: Config, read: Callable[[], Config]) -> None:
        self._config, self._read = config, read
        self._parties: list[Party] = []
        self._slots: ChangesSlots[Any] | None = None
        self._waits = asyncio.Event()
        self._asked, self._reads = asyncio.Event(), False

    def tell(self, party: Party) -> None:
        """Let another part follow the configuration too."""
        self._parties.append(party)

    def follow_slots(self, slots: ChangesSlots[Any]) -> None:
        """Let the slots change from now on; a change that was asked for before is made now."""
        self._slots = slots
        if self._waits.is_set():
            self.ask()

    def ask(self) -> None:
        """Read the file again."""
        self._reads = True
        self._asked.set()

    def follow_coins(self) -> None:
        """Take the coins that stars stand for by now; what else stands in the file is not read."""
        self._asked.set()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGHUP for a request while the block runs."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self.ask)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)

    async def run(self, runners: Mapping[SlotName, Reconfigurable]) -> None:
        """Serve requests for ever; the runners are those of the slots there are."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            self._waits.clear()
            reads, self._reads = self._reads, False
            try:
                found = await asyncio.to_thread(self._found if reads else self._grown)
                changed = self._check(found)
                if self._slots is None and SLOTS in changed:
                    self._waits.set()
                    log.info("config.reload_waits", changed=changed)
                    continue
                plan = self._slots.plan(found) if self._slots else None
                self._adopt(found, runners)
            except ConfigError as e:
                log.error("config.reload_refused", why=str(e))  # noqa: TRY400 - no trace
                continue
            if SLOTS in changed and reads:
                log_doubts(found)
            if self._slots:
                await self._slots.carry_out(plan)
            log.info("config.reloaded", changed=changed)

    def _grown(self) -> Config:
        return with_followed(self._config)

    def _found(self) -> Config:
        found = begin_stars(self._read(), self._config)
        for party in self._parties:
            party.prepare(found)
        return found

    def _check(self, found: Config) -> list[str]:
        """Return the keys that changed, if all of them may."""
        changed = changes(self._config, found)
        fixed = [key for key in changed if key not in LIVE and not key.startswith("gates.")]
        if fixed:
            msg = f"{', '.join(fixed)}: needs a restart; nothing of the file is used until then"
            raise ConfigError(msg)
        gate_limits(found.gates)
        return changed

    def _adopt(self, found: Config, runners: Mapping[SlotName, Reconfigurable]) -> None:
        settings = {one.name: policy_settings(found.policy, one.name) for one in found.slots}
        for slot, policy in settings.items():
            if runner := runners.get(slot):
                runner.adopt(found, policy)
        for party in self._parties:
            party.adopt(found)
        self._config = found


def log_doubts(config: Config) -> None:
    """Log what a configuration, or a variable, says that may be meant otherwise."""
    for why in (*doubts(config), *misspelt(os.environ)):
        log.warning("config.doubt", why=why)


def changes(old: Config, new: Config) -> list[str]:
    """Return the keys that differ, as `section.key`; the list of slots is one key."""
    before, after = (_flat(msgspec.structs.replace(c, entries=())) for c in (old, new))
    return sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))


def _flat(config: Config) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for section, content in msgspec.to_builtins(config).items():
        if isinstance(content, dict):
            flat |= {f"{section}.{key}": value for key, value in content.items()}
        else:
            flat[f"[[{section}]]"] = content
    return flat
