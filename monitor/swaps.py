"""Track the swaps of a slot: order them, note how they end, and roll back from a bad model.

Two rules hold in any order of events: there is one swap at a time, and no automatic rollback
from a model that was itself rolled back to.
"""

from monitor import events
from monitor.actions import Deploy, Promote, Rollback
from monitor.bots import Bots
from monitor.outbox import Outbox
from monitor.state import JudgedCandidate, PendingSwap
from monitor.watch import Champion, Watch

# More answers than bots run on a slot; a flood of them must not fill the memory.
_EARLY = 100
_NO_WAY_BACK = (
    "there is no earlier version to go back to; `hyperdrift models list` shows all there are, "
    "and `hyperdrift models promote` puts one of them live"
)


class Swaps:
    """The swaps of one slot.

    Args:
        out: Collects the orders, events and alerts.
        watch: Holds the champion; begins to watch each model that goes live.
        bots: Knows the bots of the slot.

    Attributes:
        pending: The swap that was ordered and has not ended, None if there is none.
    """

    def __init__(self, out: Outbox, watch: Watch, bots: Bots) -> None:
        self._out, self._watch, self._bots = out, watch, bots
        self.pending: PendingSwap | None = None
        self._early: list[events.SwapAcked] = []

    @property
    def under_way(self) -> str:
        """What is under way, in words; "" if nothing is."""
        return f"a {self.pending.kind} is under way" if self.pending is not None else ""

    def deploy(self, candidate: JudgedCandidate) -> None:
        """Order that a candidate goes live; it has passed every gate."""
        self.pending = PendingSwap("deploy", candidate.model_id)
        self._out.order(
            Deploy,
            job_id=candidate.job.job_id,
            model_id=candidate.model_id,
            trigger=candidate.job.trigger,
            reason=candidate.job.reason,
        )

    def ask_rollback(self, event: events.CommandReceived) -> tuple[bool, str]:
        """Roll back because an operator asks; return whether it is ordered, and the answer."""
        champion = self._watch.champion
        if self.pending is not None:
            return False, f"{self.under_way}; ask again when it is done"
        if champion is not None and champion.model_id == event.model_id:
            return False, f"{event.model_id} is live already"
        to = event.model_id or (champion and champion.previous_id) or ""
        if champion is None or to in {"", champion.model_id}:
            return False, _NO_WAY_BACK
        self._roll_back(to, event.reason or "an operator asked", by=event.by or "operator")
        return True, f"going back to {to}"

    def ask_promote(self, event: events.CommandReceived) -> tuple[bool, str]:
        """Put a version live because an operator asks; return as `ask_rollback` does."""
        champion = self._watch.champion
        if not event.model_id:
            return False, "name the version to promote in model_id"
        if self.pending is not None:
            return False, f"{self.under_way}; ask again when it is done"
        if champion is not None and champion.model_id == event.model_id:
            return False, f"{event.model_id} is live already"
        self.pending = PendingSwap("promote", event.model_id)
        why = event.reason or "an operator asked"
        self._out.order(Promote, model_id=event.model_id, reason=why, by=event.by)
        return True, f"promoting {event.model_id}, whatever its gates said"

    def served(self, event: events.ModelServed) -> None:
        """Note that a version went live, and begin to watch it."""
        swap, self.pending = self.pending, None
        champion = self._watch.champion
        if champion is not None and champion.model_id == event.model_id:
            return  # the same model again, after a restart: its probation goes on
        back = event.rollback or (swap is not None and swap.kind == "rollback")
        found = self._watch.begin(event, back=back)
        kind = "rolled_back" if back else "swapped"
        text = f"{event.model_id} is live: {event.reason}"
        self._out.publish(kind, text, model_id=event.model_id, previous_id=event.previous_id)
        self._out.tell(found)
        early, self._early = self._early, []
        for answer in early:
            self.acked(answer)

    def acked(self, event: events.SwapAcked) -> None:
        """Note a bot's answer; if it refused the live model, and no bot loaded it, roll back.

        A model that one bot has loaded is a good one: what keeps another bot from it is that
        bot's own, and a person is told of it by name. So it is if a name refuses that is none of
        the known bots.
        """
        champion = self._watch.champion
        if self.pending is not None and self.pending.model_id == event.model_id:
            self._early = [*self._early[-_EARLY:], event]  # before `ModelServed` came
            return
        if champion is None or champion.model_id != event.model_id:
            return
        if event.loaded:
            champion.loaded_by = champion.loaded_by or event.bot_id or "(unnamed)"
            return
        if event.bot_id in champion.refused_by:
            return
        champion.refused_by.add(event.bot_id)
        text = f"bot {event.bot_id or '(unnamed)'} refused {event.model_id}: {event.error}"
        why = self._bots.why_strange(event.bot_id)
        if champion.loaded_by is not None:
            why = f"bot {champion.loaded_by} has loaded it: mend the bot"
        text += f"; it stays live, {why}" if why else ""
        self._out.publish("swap_refused", text, model_id=event.model_id, bot_id=event.bot_id)
        self._out.alert("critical", text)
        if not why:
            self._fall_back(champion, text)

    def failed(self, event: events.SwapFailed) -> PendingSwap | None:
        """Note that the pending swap failed; return it, None if there was none."""
        swap, self.pending = self.pending, None
        if swap is not None:
            text = f"{swap.kind} of {event.model_id or 'the previous model'} failed: {event.error}"
            self._out.publish("swap_refused", text, model_id=event.model_id)
            self._out.alert("critical", text)
        return swap

    def settle_probation(self, now_ms: int) -> None:
        """Confirm the champion or roll back, if its probation has a verdict.

        Args:
            now_ms: Event time, ms UTC.
        """
        champion = self._watch.champion
        if champion is None or champion.probation is None or self.pending is not None:
            return
        verdict = champion.probation.verdict(now_ms)
        if verdict is None:
            return
        champion.probation = None
        if verdict.worse:
            self._out.alert("critical", f"{champion.model_id} is {verdict}")
            self._fall_back(champion, str(verdict))
        else:
            text = f"{champion.model_id} is confirmed: {verdict}"
            self._out.publish("confirmed", text, model_id=champion.model_id, pairs=verdict.pairs)

    def _fall_back(self, champion: Champion, reason: str) -> None:
        """Roll back without an operator, but never from a model that was rolled back to."""
        previous = champion.previous_id
        if previous is None or not champion.may_fall_back or self.pending is not None:
            text = f"{champion.model_id} stays live: no earlier version to trust"
            self._out.alert("critical", text)
            return
        self._roll_back(previous, reason)

    def _roll_back(self, to_model_id: str, reason: str, by: str = "") -> None:
        self.pending = PendingSwap("rollback", to_model_id)
        self._out.order(Rollback, to_model_id=to_model_id, reason=reason, by=by)
