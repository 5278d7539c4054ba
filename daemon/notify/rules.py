"""Decide when which message is sent, from what was told and the time; no clock, no network.

What happens to many slots within a minute is one message. A trouble that comes and goes is one
trouble. What may not be sent yet, in quiet hours or beyond the hour's limit, waits and comes in
one message.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from daemon.config.notify_times import QuietHours
from daemon.notify.matters import MANY_REFUSALS, Ended, Matter, Verdict, read
from daemon.notify.notice import Notice
from daemon.notify.wording import Wording
from daemon.runtime.announcements import Announcement
from hyperdrift.slot_name import DAY_MS, HOUR_MS

GATHER_MS: Final = 60_000
"""So long a message waits for others of its kind."""
MARKET_GATHER_MS: Final = 30 * 60_000
"""So long the news of models that go live wait for others, after a change of the market."""
CALM_MS: Final = 10 * 60_000
"""So long a trouble must be gone until it is over."""
_MARKET_MS: Final = 3 * HOUR_MS
_SHORT_MS: Final = 5 * 60_000
_AFTER_START_MS: Final = 2 * HOUR_MS
_TOGETHER_MS: Final = 10_000
# Longer than news are sent that are found in the journal after a restart.
_KNOWN_MS: Final = DAY_MS + HOUR_MS
_MOST: Final = 500


class Waiting(msgspec.Struct, kw_only=True):
    """A matter that is not sent yet; `held` if it could not be when it was due."""

    matter: Matter
    since_ms: int
    held: bool = False


class Open(msgspec.Struct, kw_only=True):
    """A trouble that lasts; `gone_ms` is since when it seems over, `told` whether it was sent."""

    matter: Matter
    since_ms: int
    gone_ms: int | None = None
    told: bool = False


class RulesState(msgspec.Struct, kw_only=True):
    """All that the rules must know after a restart. Times are ms UTC."""

    waiting: list[Waiting] = []
    open: dict[str, Open] = {}
    told: dict[str, int] = {}
    refusals: dict[str, int] = {}
    sent_ms: list[int] = []
    left_out: int = 0
    market_ms: int = 0


class Rules:
    """Decides what is sent.

    Args:
        state: What was known before a restart.
        wording: Puts it into words.
        quiet: The quiet hours, None if there are none.
        max_per_hour: How many messages are sent within an hour at most.
    """

    def __init__(
        self, state: RulesState, wording: Wording, quiet: QuietHours | None, max_per_hour: int
    ) -> None:
        self.state, self._wording = state, wording
        self._quiet, self._max = quiet, max_per_hour

    def restarted(self, now_ms: int) -> None:
        """Doubt the open troubles that nobody ends if they ended while the daemon was down."""
        for trouble in self.state.open.values():
            if "|trouble|" in trouble.matter.key and trouble.gone_ms is None:
                trouble.gone_ms = now_ms + _AFTER_START_MS - CALM_MS

    def take(self, told: Announcement, now_ms: int) -> bool:
        """Take what was told; return whether it matters.

        Args:
            told: What was told.
            now_ms: The time, ms UTC of the host.
        """
        found = read(told)
        match found:
            case Matter():
                self._take_matter(found, now_ms)
            case Ended():
                self._take_end(found.key, now_ms)
            case Verdict():
                self._take_verdict(found, now_ms)
        return found is not None

    def due(self, now_ms: int) -> list[Notice]:
        """Return the messages to send now, each once.

        Args:
            now_ms: The time, ms UTC of the host.
        """
        state = self.state
        self._settle(now_ms)
        for one in state.waiting:  # the host's clock may have been set back
            one.since_ms = min(one.since_ms, now_ms)
        state.sent_ms = [ms for ms in state.sent_ms if now_ms - HOUR_MS < ms <= now_ms]
        state.told = {key: ms for key, ms in state.told.items() if now_ms - ms < _KNOWN_MS}
        ready, is_quiet = self._ready(now_ms), self._is_quiet(now_ms)
        sendable = [one for one in ready if one.matter.critical or not is_quiet]
        left = self._max - len(state.sent_ms)
        for one in ready:
            one.held = one.held or one not in sendable or left <= 0
        if not sendable or left <= 0:
            return []
        messages = self._messages(sendable, left)
        state.waiting = [one for one in state.waiting if one not in sendable]
        for one in sendable:
            if (trouble := state.open.get(one.matter.key)) is not None:
                trouble.told = True
        state.sent_ms += [now_ms] * len(messages)
        return [msgspec.structs.replace(message, at_ms=now_ms) for message in messages]

    def allows(self, now_ms: int) -> bool:
        """Return whether a message that is not critical may be sent, and count it if so."""
        recent = [ms for ms in self.state.sent_ms if now_ms - HOUR_MS < ms <= now_ms]
        if self._is_quiet(now_ms) or len(recent) >= self._max:
            return False
        self.state.sent_ms.append(now_ms)
        return True

    def _is_quiet(self, now_ms: int) -> bool:
        return self._quiet is not None and self._quiet.hold(now_ms)

    def _take_matter(self, matter: Matter, now_ms: int) -> None:
        state, at = self.state, f"{matter.key}@{matter.at_ms}"
        if matter.topic == "market":
            state.market_ms = now_ms
        if (trouble := state.open.get(matter.key)) is not None:
            trouble.gone_ms = None
        elif matter.key not in state.told and at not in state.told:
            if matter.lasts:
                state.open[matter.key] = Open(matter=matter, since_ms=now_ms)
            self._wait(matter, now_ms)
        state.told[at if matter.lasts else matter.key] = now_ms

    def _take_end(self, key: str, now_ms: int) -> None:
        if (trouble := self.state.open.get(key)) is not None and trouble.gone_ms is None:
            trouble.gone_ms = now_ms

    def _take_verdict(self, verdict: Verdict, now_ms: int) -> None:
        key = f"{verdict.slot}|verdict|{verdict.at_ms}"
        if key in self.state.told:
            return
        self.state.told[key] = now_ms
        count = 0 if verdict.passed else self.state.refusals.get(verdict.slot, 0) + 1
        self.state.refusals[verdict.slot] = count
        if count == MANY_REFUSALS:
            matter = Matter(
                slot=verdict.slot, topic="refused", key=key, at_ms=verdict.at_ms, text=verdict.text
            )
            self._wait(matter, now_ms)

    def _wait(self, matter: Matter, now_ms: int) -> None:
        waiting = self.state.waiting
        waiting.append(Waiting(matter=matter, since_ms=now_ms))
        if len(waiting) > _MOST:
            drop = next((i for i, one in enumerate(waiting) if not one.matter.critical), 0)
            del waiting[drop]
            self.state.left_out += 1

    def _settle(self, now_ms: int) -> None:
        """Close the troubles that are over; tell so of those that were told."""
        for key, trouble in list(self.state.open.items()):
            if trouble.gone_ms is None or now_ms - trouble.gone_ms < CALM_MS:
                continue
            del self.state.open[key]
            if trouble.told:
                self._wait(_over(trouble.matter, trouble.gone_ms), now_ms)
            elif trouble.gone_ms - trouble.since_ms < _SHORT_MS:
                keep = [one for one in self.state.waiting if one.matter.key != key]
                self.state.waiting = keep

    def _ready(self, now_ms: int) -> list[Waiting]:
        """Return what has waited for its like, with its like, and with the rest of its slot."""
        gone = {key for key, one in self.state.open.items() if one.gone_ms is not None}
        there = [
            one
            for one in self.state.waiting
            if one.matter.topic == "over" or one.matter.key not in gone
        ]
        first = [one for one in there if one.held or self._has_gathered(one, now_ms)]
        since = {one.matter.slot: one.since_ms for one in first}
        topics = {one.matter.topic for one in first}
        topics |= {
            one.matter.topic
            for one in there
            if one.since_ms - since.get(one.matter.slot, -DAY_MS) < _TOGETHER_MS
        }
        return [one for one in there if one.held or one.matter.topic in topics] if first else []

    def _has_gathered(self, one: Waiting, now_ms: int) -> bool:
        """Return whether it has waited for its like: longer while all slots get new models."""
        follows = one.matter.topic == "live" and one.since_ms - self.state.market_ms < _MARKET_MS
        return now_ms - one.since_ms >= (MARKET_GATHER_MS if follows else GATHER_MS)

    def _messages(self, sendable: Iterable[Waiting], most: int) -> list[Notice]:
        """Return at most `most` messages that say all of it."""
        sendable = list(sendable)
        late = [one.matter for one in sendable if one.held]
        groups = _grouped([one.matter for one in sendable if not one.held])
        groups.sort(key=lambda group: not any(matter.critical for matter in group))
        if len(groups) + bool(late or self.state.left_out) > most:
            cut = most - 1
            late = [*late, *(matter for group in groups[cut:] for matter in group)]
            groups = groups[:cut]
        messages = [self._wording.message(group) for group in groups]
        if len(late) == 1 and not self.state.left_out:
            messages.append(self._wording.message(late))
        elif late or self.state.left_out:
            messages.append(self._wording.summary(late, self.state.left_out))
            self.state.left_out = 0
        return messages


def _over(matter: Matter, at_ms: int) -> Matter:
    text = f"it is over: {matter.text}"
    return msgspec.structs.replace(matter, topic="over", critical=False, at_ms=at_ms, text=text)


def _grouped(matters: list[Matter]) -> list[list[Matter]]:
    """Return what makes a message each: a topic with many slots, or a slot with many topics."""
    by_topic: dict[str, list[Matter]] = {}
    for matter in matters:
        by_topic.setdefault(matter.topic, []).append(matter)
    groups, single = [], dict[str, list[Matter]]()
    for group in by_topic.values():
        if len({matter.slot for matter in group}) > 1:
            groups.append(group)
        else:
            single.setdefault(group[0].slot, []).extend(group)
    return groups + list(single.values())
