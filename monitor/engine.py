"""Decide about one slot's model: take events, return actions.

The engine reads no clock, file or socket. So a backtest shows what the daemon does, and the
events of the journal rebuild the same engine. Two rules hold in any order of events: there is
one retrain at a time, and no model goes live without passed gates unless an operator promotes it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from monitor import events
from monitor.actions import Action, AskChallenger, Reply, WithdrawJob
from monitor.bots import Bots
from monitor.errors import BadObservation
from monitor.outbox import Outbox
from monitor.phases import Phase
from monitor.policy import (
    PolicySettings,
    Situation,
    Start,
    causes,
    collecting,
    decide,
    earliest_ms,
    lasting,
)
from monitor.retrains import Retrains
from monitor.state import EngineSnapshot, RetrainJob, phase_of
from monitor.swaps import Swaps
from monitor.watch import Champion, SignalGain, Watch, check_bar


class Engine:
    """Decides for one slot.

    Args:
        slot: Its name, `BTC-5m`; events of other slots are refused.
        settings: The limits of the policy.
        interval_ms: Length of one bar.
        names: Names of the features, in the order of `BarScored.row`.
        history_bars: Bars stored before the first `BarScored` that it will be given.

    Attributes:
        settings: The limits that `decide` follows.
        lasting: The settings that all its records depend on, whatever `settings` becomes.
    """

    def __init__(
        self,
        slot: str,
        settings: PolicySettings,
        *,
        interval_ms: int,
        names: tuple[str, ...],
        history_bars: int = 0,
    ) -> None:
        self._slot, self.settings, self._interval_ms = slot, settings, interval_ms
        self.lasting = lasting(settings)
        self._names, self._bars = tuple(names), history_bars
        self._now_ms, self._last_t = 0, -1
        self._watch = Watch(settings, interval_ms, self._names)
        self._bots = Bots()
        self._paused = False
        self._out = Outbox(slot)
        self._swaps = Swaps(self._out, self._watch, self._bots)
        self._retrains = Retrains(slot, self._out)

    def handle(self, event: events.Event) -> tuple[Action, ...]:
        """Take one event; return the actions that follow, in order.

        Args:
            event: What happened. Events that no longer matter are ignored.

        Raises:
            BadObservation: If it belongs to another slot or has an impossible number.
        """
        if event.slot != self._slot:
            raise BadObservation("slot", event.slot, f"{self._slot!r}, the slot of this engine")
        if isinstance(event, events.Ticked) and event.at_ms < self._last_t + 3 * self._interval_ms:
            return ()  # while bars come, they tell the time, as in a backtest
        self._now_ms = max(self._now_ms, event.at_ms)
        self._out.open(self._now_ms)
        self._HANDLERS[type(event)](self, self._retrains.known(event))
        self._swaps.settle_probation(self._now_ms)
        self._deploy_candidate()
        self._consider_retrain()
        return self._out.taken()

    def adopt(self, settings: PolicySettings) -> bool:
        """Go on under other settings; those of `lasting` must be the same.

        Args:
            settings: The limits from now on.

        Returns:
            Whether its state is the one that its events would have led to under them.
        """
        self.settings = settings
        return self._watch.adopt(settings, self._now_ms)

    @property
    def phase(self) -> Phase:
        """What the slot is doing; the most urgent if several things are under way."""
        return phase_of(
            self._swaps.pending, self._retrains.job, self._champion, paused=self._paused
        )

    @property
    def is_calm(self) -> bool:
        """Whether no retrain, swap, question to a challenger or waiting candidate is under way."""
        asked = self._champion is not None and self._champion.challenge.job_id
        return not asked and not self._under_way()

    @property
    def gains(self) -> Sequence[SignalGain]:
        """What the newest signals returned after costs, oldest first."""
        return self._watch.gains

    def snapshot(self) -> EngineSnapshot:
        """Return the state for people; equal events give equal snapshots."""
        job, refusal = self._retrains.job, self._retrains.refusal
        figures = self._watch.figures(self._now_ms)
        ends_ms = figures.get("probation_ends_ms") or 0
        may_retrain_ms = max(earliest_ms(self.settings, self._situation()), ends_ms)
        if refusal is not None:
            refusal = replace(refusal, next_ms=may_retrain_ms)
        return EngineSnapshot(
            **figures,
            phase=self.phase.value,
            last_bar_t=self._last_t if self._last_t >= 0 else None,
            job_id=job.job_id if job else None,
            job_begun=job is not None and job.begun,
            swap_to=self._swaps.pending.model_id if self._swaps.pending else None,
            paused=self._paused,
            waiting_for="; ".join(filter(None, (self._out.decision, self._collecting()))),
            mismatch=self._bots.mismatch,
            objection=self._bots.objection(self._now_ms),
            speakers=dict(self._bots.speakers),
            refusal=refusal,
            may_retrain_ms=may_retrain_ms,
            causes=causes(self.settings, has_model=self._champion is not None),
        )

    @property
    def _champion(self) -> Champion | None:
        return self._watch.champion

    @property
    def _hold_ms(self) -> int:
        """How long the answer of a quick challenger holds."""
        return self.settings.retry_bars * self._interval_ms

    # Events.

    def _on_bar(self, event: events.BarScored) -> None:
        check_bar(event, len(self._names))
        if event.t <= self._last_t:
            return
        self._last_t = event.t
        self._bars = event.stored or self._bars + 1
        self._out.tell((*self._watch.bar(event), *self._bots.bar(self._now_ms)))

    def _on_trade(self, event: events.TradeClosed) -> None:
        self._out.tell(self._watch.trade(event))

    def _on_served(self, event: events.ModelServed) -> None:
        if self._champion is not None and self._champion.model_id != event.model_id:
            self._withdraw_question()
        self._swaps.served(event)
        self._retrains.replaced(event.model_id)

    def _on_swap_failed(self, event: events.SwapFailed) -> None:
        swap = self._swaps.failed(event)
        if swap is not None and swap.kind == "deploy":
            self._retrains.unsuccessful_ms = self._now_ms

    def _on_turn(self, event: events.TurnCame) -> None:
        self._retrains.begun(event)
        if self._champion is not None:
            self._champion.challenge.begun(event)

    def _on_turn_awaited(self, event: events.TurnAwaited) -> None:
        champion = self._champion
        asked = champion is not None and champion.challenge.awaited(event)
        if self._retrains.awaited(event) or asked:
            self._out.publish("retrain_late", event.detail, job=event.job_id)
            self._out.alert("warning", event.detail)

    def _on_retrain_failed(self, event: events.RetrainFailed) -> None:
        stopped = self._retrains.failed(event, self._now_ms)
        if stopped is not None and stopped.forced:  # any other is decided on anew
            self._start(Start(stopped.trigger, stopped.reason), forced=True)

    # Commands of an operator.

    def _on_command(self, event: events.CommandReceived) -> None:
        asked = {
            "retrain": self._force_retrain,
            "rollback": self._swaps.ask_rollback,
            "promote": self._swaps.ask_promote,
            "pause": self._pause,
            "resume": self._resume,
        }.get(event.command)
        if asked is None:
            accepted, detail = False, f"unknown command {event.command!r}"
        else:
            accepted, detail = asked(event)
        self._out.order(Reply, request_id=event.request_id, accepted=accepted, detail=detail)

    def _force_retrain(self, event: events.CommandReceived) -> tuple[bool, str]:
        if (running := self._retrains.join()) is not None:
            state = "was already running" if running.begun else "waits and is now one of the next"
            return True, f"joined retrain {running.job_id}, which {state}"
        if unservable := self._bots.unservable(self._now_ms):
            return False, unservable
        self._retrains.candidate = None  # the new one will be fresher
        job = self._start(Start("command", event.reason or "an operator asked"), forced=True)
        return True, f"retrain {job.job_id} ordered; its gates still decide"

    def _pause(self, event: events.CommandReceived) -> tuple[bool, str]:
        if self._paused:
            return True, "was paused already"
        self._paused = True
        self._retrains.withdraw()
        self._withdraw_question()
        detail = "no automatic retrain or deploy until resume; forced ones and rollbacks still work"
        self._out.publish("paused", detail, reason=event.reason)
        return True, detail

    def _resume(self, event: events.CommandReceived) -> tuple[bool, str]:
        if not self._paused:
            return True, "was not paused"
        self._paused, detail = False, "automatic retrains and deploys go on"
        self._out.publish("resumed", detail, reason=event.reason)
        return True, detail

    # Decisions after each event.

    def _deploy_candidate(self) -> None:
        candidate = self._retrains.candidate
        if candidate is None or self._swaps.pending is not None:
            return
        job, live = candidate.job, self._champion.model_id if self._champion else None
        if not job.forced and live != job.over:
            self._retrains.candidate = None
            text = f"{candidate.model_id} is not deployed: it was judged against another live model"
            self._out.publish("decision", text, start=False, model_id=candidate.model_id)
        elif self._bots.objection(self._now_ms):
            return  # also a forced one: see `_under_way`
        elif job.forced or not self._paused:
            self._retrains.candidate = None
            self._swaps.deploy(candidate)

    def _consider_retrain(self) -> None:
        choice = decide(self.settings, self._situation())
        if isinstance(choice, Start) and (champion := self._must_ask(choice)) is not None:
            self._ask_challenger(choice, champion)
        elif isinstance(choice, Start):
            self._out.decide(f"retrain: {choice.reason}", start=True, trigger=choice.trigger)
            self._start(choice, forced=False)
        else:
            evidence = {"evidence": list(choice.evidence)} if choice.evidence else {}
            self._out.decide(f"wait: {choice.reason}", start=False, **evidence)

    def _must_ask(self, choice: Start) -> Champion | None:
        champion = self._champion
        if champion is None or not choice.is_asked or not self.settings.challenge:
            return None
        settled = champion.challenge.settled(self._now_ms, champion.drifted, self._hold_ms)
        return None if settled else champion

    def _ask_challenger(self, choice: Start, champion: Champion) -> None:
        job_id = self._retrains.name(self._now_ms)
        champion.challenge.ask(job_id, self._now_ms, choice, champion.drifted)
        self._out.decide(f"wait: {self._under_way()}", start=False, job=job_id)
        why = {"reason": choice.reason, "since_ms": self._now_ms}
        self._out.order(AskChallenger, job_id=job_id, **why)

    def _withdraw_question(self) -> None:
        """Take back the question to a challenger that waits for its turn."""
        if self._champion is not None and (asked := self._champion.challenge.withdraw()):
            self._out.order(WithdrawJob, job_id=asked)

    def _on_challenger(self, event: events.ChallengerJudged) -> None:
        if self._champion is not None and self._champion.challenge.take(event):
            self._out.tell([self._champion.challenge.finding(event)])

    def _collecting(self) -> str:
        """Return how far the bars for a first model are; the decision has no such figures."""
        return collecting(self.settings, self._situation()) if self._now_ms > 0 else ""

    def _situation(self) -> Situation:
        champion = self._champion
        asked = (self._now_ms, champion.drifted if champion else [], self._hold_ms)
        return Situation(
            now_ms=self._now_ms,
            interval_ms=self._interval_ms,
            bars=self._bars,
            trained_to_ms=champion.served.trained_to_ms if champion else None,
            began_ms=tuple(self._retrains.began_ms),
            unsuccessful_ms=self._retrains.unsuccessful_ms,
            refusals=self._retrains.refusals,
            drifted=tuple(champion.drifted) if champion else (),
            unhelpful=champion.challenge.objection(*asked) if champion else "",
            refusal=champion.challenge.refusal(*asked) if champion else "",
            fell=champion.fell if champion else "",
            paused=self._paused,
            unservable=self._bots.unservable(self._now_ms),
            under_way=self._under_way(),
            on_probation=champion is not None and champion.on_probation,
        )

    def _under_way(self) -> str:
        job, candidate = self._retrains.job, self._retrains.candidate
        if job is not None:
            return f"retrain {job.job_id} {'is under way' if job.begun else 'waits for its turn'}"
        if swap := self._swaps.under_way:
            return swap
        if candidate is not None:
            why = self._bots.objection(self._now_ms) or "it is paused until resume"
            return f"candidate {candidate.model_id} waits: {why}"
        if self._champion is not None and self._champion.challenge.pending(self._now_ms):
            return f"{self._champion.challenge.reason}; would a retrain help?"
        return ""

    def _start(self, choice: Start, *, forced: bool) -> RetrainJob:
        if self._champion is not None:
            self._champion.challenge.drop()
        live = self._champion.model_id if self._champion else None
        return self._retrains.start(choice, self._now_ms, over=live, forced=forced)

    # The handler of each event.

    _HANDLERS: ClassVar[dict[type[events.Event], Callable[["Engine", Any], None]]] = {
        events.BarScored: _on_bar,
        **dict.fromkeys(Bots.NEWS, lambda self, news: self._out.tell(self._bots.take(news))),
        events.TradeClosed: _on_trade,
        events.ModelServed: _on_served,
        events.TurnCame: _on_turn,
        events.TurnAwaited: _on_turn_awaited,
        events.JudgingBegan: lambda self, news: self._retrains.judging(news),
        events.RetrainFinished: lambda self, news: self._retrains.finished(news, self._now_ms),
        events.RetrainFailed: _on_retrain_failed,
        events.ChallengerJudged: _on_challenger,
        events.SwapAcked: lambda self, news: self._swaps.acked(news),
        events.SwapFailed: _on_swap_failed,
        events.CommandReceived: _on_command,
        events.Ticked: lambda *_: None,  # the decisions below follow every event
    }
