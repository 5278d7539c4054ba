"""Check the state after `benchmarks.chaos`, and that the journal reports each fault."""

import math
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.chaos.journal_gaps import holes, unexplained
from benchmarks.chaos.plan import WORK, Planned
from benchmarks.chaos.setup import SLOT, STEP, ChaosSetup
from benchmarks.chaos.traces import TRACES
from benchmarks.chaos.verdicts import ChaosVerdict, Occurrence, verdicts
from daemon.core.bars import Bar, Provenance
from daemon.demo.faults import ClockJump
from daemon.registry.keys import trusted_keys
from daemon.registry.registry import Registry
from daemon.store.data_folder import open_store
from daemon.store.journal_kinds import SCORED
from hyperdrift.errors import HyperdriftError
from retrain.errors import RetrainError

_LAG_BARS = 4
_ASIDE = re.compile(r'"set_aside": "([^"]+)".*store\.corrupt')
_WENT_LIVE = r"swap\.ordered|model\.lost"
_SLOT_TROUBLE = r"^(?!.*(trouble_over|coin_missing)).*(does not serve|is delisted: |has no perp)"
_WRITTEN_S = 1.0
_LEARNT_S = 7.0  # from the end of a slow link until the venue's time is exact again
_CLOSES_S = 4.0  # from the end of a clock fault until it is noticed and a bar closes


def judge(
    setup: ChaosSetup, plan: list[Planned], truth: dict[int, Bar], *, each: bool
) -> dict[str, Any]:
    """Check everything at the end; `violated` has a sentence for each fault.

    Args:
        setup: The setup after the run.
        plan: The faults of the first pass.
        truth: The closed bars that the exchange serves, by open time in ms UTC.
        each: Whether every kind must have been reported at least once.
    """
    found = {
        "store": _store(setup, truth),
        "scored": _scored(setup, truth),
        "model": _model(setup),
        "bot": _bot(setup, truth),
        "faults": _faults(setup, plan, each=each),
        "processes": _processes(setup),
    }
    violated = [text for part in found.values() for text in part.pop("violated")]
    return found | {"violated": violated, "sound": not violated}


def _store(setup: ChaosSetup, truth: dict[int, Bar]) -> dict[str, Any]:
    """Compare the store with what the exchange serves, bar by bar."""
    with open_store(setup.data, read_only=True) as store:
        held = {s.bar.t: s for s in store.held(SLOT, 0, 2**62)}
        # Bars of a damaged page that the venue no longer serves are lost, and stored as gaps.
        gaps = [gap for gap in store.gaps(SLOT) if gap.to_t >= min(truth)]
        fault = store.fault()
    settled = sorted(truth)[:-_LAG_BARS]
    missing = [t for t in settled if t not in held]
    wrong = [
        t
        for t in settled
        if t in held and (held[t].bar, held[t].provenance) != (truth[t], Provenance.REST)
        and held[t].provenance is not Provenance.IMPORT
    ]  # fmt: skip
    invented = [
        t for t, s in held.items() if settled[0] <= t <= settled[-1]
        and t not in truth and (s.provenance is not Provenance.FILLED or s.bar.volume)
    ]  # fmt: skip
    violated = []
    for name, bars in (("missing", missing), ("wrong", wrong), ("invented", invented)):
        if bars:
            examples = [str(held.get(t)) + " / " + str(truth.get(t)) for t in bars[:2]]
            violated.append(f"store: {len(bars)} bars {name}, first {bars[0]}: {examples}")
    if gaps:
        violated.append(f"store: {len(gaps)} gaps given up, first {gaps[0]}")
    if fault:
        violated.append(f"store: {fault}")
    return {"compared": len(settled), "equal": len(settled) - len(missing) - len(wrong),
            "violated": violated}  # fmt: skip


def _scored(setup: ChaosSetup, truth: dict[int, Bar]) -> dict[str, Any]:
    """Find bars that were scored twice, or lost without a damaged page."""
    asides = [
        (line.at, setup.data / Path(name[1]).name)
        for line in setup.journal.lines() if (name := _ASIDE.search(line.text))
    ]  # fmt: skip
    with open_store(setup.data, read_only=True) as store:
        scored = [row.body["t"] for row in store.journal(SLOT, kinds=[SCORED])]
    violated = []
    if doubled := [t for t, n in Counter(scored).items() if n > 1]:
        violated.append(f"journal: {len(doubled)} bars scored twice, first {doubled[0]}")
    lost = holes(scored, STEP)
    wrong = unexplained(lost, setup.undamaged, asides)
    if wrong:
        violated.append(f"journal: {len(wrong)} of {len(lost)} bars are gone, first: {wrong[0]}")
    if not scored or scored[-1] < max(truth) - _LAG_BARS * STEP:
        violated.append("journal: the newest bars were not scored")
    return {
        "bars": len(scored),
        "on_damaged_pages": len(lost),
        "stores_set_aside": len(asides),
        "violated": violated,
    }


def _model(setup: ChaosSetup) -> dict[str, Any]:
    """Check that LATEST.json names an intact, signed version that daemon and bot use."""
    registry = Registry(setup.data / "models", ring=trusted_keys(setup.data))
    violated, live_id = [], ""
    try:
        live = registry.live(SLOT)
        live_id = live.model_id if live is not None else ""
        registry.load(SLOT, live_id)
    except (HyperdriftError, RetrainError) as e:
        violated.append(f"model: LATEST.json does not verify: {e}")
    states = [e for e in setup.events if e["topic"] == "state"]
    said = {
        "daemon": states[-1].get("model_id") if states else None,
        "bot": next((e["model_id"] for e in reversed(setup.events) if e.get("online")), None),
    }
    for who, model_id in said.items():
        if model_id != live_id:
            violated.append(f"model: {who} answers with {model_id}, LATEST.json names {live_id}")
    if setup.retrained == "":
        violated.append("model: a retrain after all faults left no candidate")
    swaps = Counter(e["kind"] for e in setup.events if e["topic"] == "event")
    kinds = ("swapped", "rolled_back", "swap_refused", "retrain_started", "retrain_finished",
             "retrain_failed")  # fmt: skip
    counts = {k: swaps[k] for k in kinds}
    return {"live": live_id, **counts, "retrained": setup.retrained, "violated": violated}


def _bot(setup: ChaosSetup, truth: dict[int, Bar]) -> dict[str, Any]:
    """Find bars that a running bot with a model did not predict."""
    told = setup.lives()
    born, lives = [began for began, _ in told], [answers for _, answers in told]
    unanswered = [
        b for life in lives for (_, a), (_, b) in pairwise(life) if b != a + STEP
    ]  # fmt: skip
    violated = []
    if unanswered:
        violated.append(
            f"bot: {len(unanswered)} holes in its answers, first before {unanswered[0]}"
        )
    newest = max((t for life in lives for _, t in life), default=0)
    if not lives or not lives[-1] or newest < max(truth) - _LAG_BARS * STEP:
        violated.append("bot: the newest bars were not answered")
    blind = [life[0][0] - at for at, life in zip(born, lives, strict=True) if life]
    return {"lives": len(lives), "answers": sum(map(len, lives)),
            "longest_until_first_answer_s": round(max(blind, default=0), 1),
            "violated": violated}  # fmt: skip


def occurrences(setup: ChaosSetup) -> list[Occurrence]:
    """Return every fault done so far, with the number of times that it met the daemon."""
    met = [_with_end(setup, done.of) for done in setup.faults_done if not done.missed]
    for fault, touched in setup.exchange.touched():
        begin, end = (edge / (1 if fault.of_wall else setup.speed * 1000) for edge in fault.span)
        if setup.opened + begin > time.time():
            continue
        first, last = (
            None if at is None else setup.opened + at.wall_s for at in (touched.first, touched.last)
        )
        kind = str(fault.__struct_config__.tag)
        begin, end = setup.opened + begin, setup.opened + end
        met.append(Occurrence(kind, begin, end, touched.times, first, last))
    return met


def _with_end(setup: ChaosSetup, done: Occurrence) -> Occurrence:
    """Note when another version went live; from then on the damaged file is not read."""
    if "live" not in TRACES[done.kind].needs:
        return done
    moved = setup.journal.when(_WENT_LIVE, done.end + _WRITTEN_S)
    return replace(done, gone=moved[0]) if moved else done


def told_so_far(setup: ChaosSetup) -> list[ChaosVerdict]:
    """Judge by the journal every fault done so far."""
    daemon, broker = (
        [*unit.away, *([(unit.away_since, time.time())] if unit.away_since else [])]
        for unit in (setup.daemon, setup.broker)
    )
    spans = setup.journal.spans
    away = {
        "daemon": daemon,
        "disk": spans(r"store\.unavailable", r"store\.back"),
        "link": [(d.of.begin, d.of.end) for d in setup.faults_done if d.of.kind == "link_down"],
        "stream": spans(r"feed\.stream_(lost|renewed)", r"feed\.stream_(back|connected)"),
        "rest": [
            *spans(r"feed\.trouble", r"feed\.recovered"),
            *spans(_SLOT_TROUBLE, r"trouble_over"),
        ],
        "list": spans(r"venue\.(coins_unasked|unreachable)", r"venue\.answers"),
        "broker": [*broker, *spans(r"bus\.lost", r"bus\.connected")],
        "presence": _between(
            spans(r'"online": true.*bot\.presence', r'"online": false.*bot\.presence')
        ),
        "clock": _set_back(setup),
        "bars": spans(r"feed\.bar_late", r"feed\.bars_on_time"),
        "time": [
            (d.of.begin, d.of.end + _LEARNT_S)
            for d in setup.faults_done
            if d.of.kind == "link_slow"
        ],
    }
    return verdicts(occurrences(setup), setup.journal.lines(), away)


def _between(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the spans between successive spans."""
    edges = [0.0, *(edge for span in spans for edge in span), math.inf]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _set_back(setup: ChaosSetup) -> list[tuple[float, float]]:
    """Return the spans in which the venue's clock was before the newest bar; no bar closes."""
    return [
        (setup.opened + fault.span[0], setup.opened + fault.span[1] + _CLOSES_S)
        for fault, _ in setup.exchange.touched()
        if isinstance(fault, ClockJump) and fault.jump_ms < 0
    ]


def _faults(setup: ChaosSetup, plan: list[Planned], *, each: bool) -> dict[str, Any]:
    """Search the journal for each fault that was done, one by one."""
    found = told_so_far(setup)
    missed = Counter(done.of.kind for done in setup.faults_done if done.missed)
    done = Counter(v.of.kind for v in found)
    counts = {outcome: Counter(v.of.kind for v in found if v.outcome == outcome)
              for outcome in ("told", "masked", "untouched", "untold")}  # fmt: skip
    began = setup.opened
    violated = [
        f"journal: {v.of.kind} at {v.of.begin - began:.0f} s and no line tells of it"
        for v in found if v.outcome == "untold"
    ]  # fmt: skip
    planned = Counter(p.kind for p in plan if p.kind not in WORK)
    never = [kind for kind in planned if each and not counts["told"][kind]]
    violated += [f"journal: {kind} was never told of" for kind in never]
    unseen = {k: n - done[k] - missed[k] for k, n in planned.items() if n > done[k] + missed[k]}
    if unseen:
        violated.append(f"timeline: not done to the end: {unseen}")
    counts = {"done": done, **counts, "missed": missed}
    table = {kind: {name: n[kind] for name, n in counts.items()} for kind in sorted(planned)}
    masked = [
        {"kind": v.of.kind, "at_s": round(v.of.begin - began), "by": v.why}
        for v in found if v.outcome == "masked"
    ]  # fmt: skip
    return {"table": table, "masked": masked, "violated": violated}


def _processes(setup: ChaosSetup) -> dict[str, Any]:
    """Return the processes that ended by themselves, and the errors that they logged."""
    violated, ends = [], {}
    for unit in (setup.daemon, setup.bot, setup.broker):
        by_itself = Counter(code for _, code, ours in unit.ends if not ours)
        ends[unit.name] = {
            "starts": unit.starts,
            "by_us": sum(ours for *_, ours in unit.ends),
            "by_itself": dict(by_itself),
        }
    for name in ("daemon", "bot", "manager"):
        path = setup.folder / f"{name}.log"
        traces = path.read_text(errors="replace").count("Traceback") if path.exists() else 0
        if traces:
            violated.append(f"{name}: {traces} tracebacks in its log")
    if any("is not started again" in e["text"] for e in setup.timeline):
        violated.append("daemon: it gave up for good, as for a mistake in the configuration")
    if not setup.daemon_was_ready:
        violated.append("daemon: it was not ready at the end")
    if setup.stop_s > 10:
        violated.append(f"daemon: its stop took {setup.stop_s:.1f} s")
    errors = Counter(
        event[1]
        for line in setup.journal.lines()
        if '"level": "error"' in line.text
        and (event := re.search(r'"event": "([^"]+)"', line.text))
    )
    return {"ends": ends, "errors_logged": dict(errors), "stop_s": round(setup.stop_s, 1),
            "violated": violated}  # fmt: skip
