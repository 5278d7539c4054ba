"""What must be true after `benchmarks.chaos`, and where each fault can be read of."""

import contextlib
import json
import re
from collections import Counter
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.chaos_plan import WORK, Planned
from benchmarks.chaos_stage import SLOT, STEP, Stage
from daemon.bars import Bar, Provenance
from daemon.errors import DaemonError
from daemon.imports import STORE_NAME, open_store
from daemon.keys import trusted_keys
from daemon.registry import Registry
from retrain.errors import RetrainError

# A person finds each kind of fault by one of these, in the log or among the events.
TRACES = {
    "daemon_kill": r"daemon ended with SIGKILL",
    "daemon_stop": r"daemon ended with code 0",
    "daemon_hang": r"daemon (watchdog|start) timeout",
    "second_daemon": r"another hyperdrift runs",
    "child_kill": r"killed by SIGKILL",
    "child_hang": r"it was stopped.* after 60 s|daemon was stopped meanwhile",
    "child_out_of_memory": r"ran out of its 300 MiB",
    "broker_kill": r"bus\.lost",
    "broker_hang": r"bus\.lost",
    "broker_gone": r"bus\.lost",
    "bot_kill": r'"online": false.*bot\.presence',
    "bot_never_answers": r"swap\.unanswered|has not answered",
    "disk_full": r"disk is full|No space left|disk I/O error",
    "read_only": r"readonly|[Rr]ead-only|Permission denied|unable to open database",
    "store_corrupt": r"store\.corrupt",
    "model_tampered": r"model\.lost|model\.damaged|swap\.refused|digest",
    "pointer_lost": r"LATEST\.json was missing|LATEST\.json: cannot be read|model\.lost",
    "pointer_old": r"an old LATEST\.json came back",
    "link_down": r"bus\.lost|feed\.stream_lost|feed\.trouble|venue\.unreachable",
    "malformed_messages": r"malformed|payload",
    "disconnect": r"feed\.stream_lost",
    "stall": r"feed\.stream_lost",
    "malformed": r"feed\.trouble|stream\.odd_frame|odd|cannot be read|not understood",
    "bad_bar": r"bar_refused|future_bar|price_doubted",
    "http_error": r"feed\.trouble|venue\.unreachable|funding_late",
    "clock_jump": r"venue\.clock_jumped",
}
# Everyday habits of the venue: counted in `hyperdrift status`, and nothing that a person must know.
UNTOLD = (
    *("bot_hang", "link_slow", "expired", "withhold", "late", "reorder", "duplicate"),
    *("no_trades", "slow", "stale_rest", "dropped_keepalive"),
)
_AFTER_S = 75.0
_LAG_BARS = 4


class Log:
    """The lines of a process's log, with the wall time of each that has one."""

    def __init__(self, *paths: Path) -> None:
        self.lines: list[tuple[float, str]] = []
        for path in paths:
            self._read(path)
        self.lines.sort()

    def _read(self, path: Path) -> None:
        last = 0.0
        for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                last = datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()
            self.lines.append((last, line))

    def has(self, pattern: str, begin: float, end: float) -> bool:
        return any(begin <= at <= end and re.search(pattern, line) for at, line in self.lines)


def judge(stage: Stage, plan: list[Planned], truth: dict[int, Bar]) -> dict[str, Any]:
    """Hold all that is left against what must be; `violated` has a sentence for each fault."""
    log = Log(stage.folder / "daemon.log", stage.folder / "second.log")
    log.lines += [(e["wall"], e["text"]) for e in stage.timeline]
    found = {
        "store": _store(stage, truth),
        "scored": _scored(stage, truth),
        "model": _model(stage),
        "bot": _bot(stage, truth),
        "faults": _faults(stage, plan, log),
        "processes": _processes(stage, log),
    }
    violated = [text for part in found.values() for text in part.pop("violated")]
    return found | {"violated": violated, "sound": not violated}


def answers(stage: Stage) -> bool:
    """Whether what LATEST.json names is whole."""
    try:
        live = stage.registry.live(SLOT)
        return live is not None and bool(stage.registry.verify(SLOT, live.model_id))
    except (DaemonError, RetrainError):
        return False


def _store(stage: Stage, truth: dict[int, Bar]) -> dict[str, Any]:
    """Compare the store with what the exchange serves, bar for bar."""
    with open_store(stage.data, read_only=True) as store:
        held = {s.bar.t: s for s in store.held(SLOT, 0, 2**62)}
        # What a damaged page held and the venue has no more is lost, and said so.
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


def _scored(stage: Stage, truth: dict[int, Bar]) -> dict[str, Any]:
    """Look for bars that were scored twice, or passed over; a set-aside store begins anew."""
    stores = [p for p in sorted(stage.data.glob(f"{STORE_NAME}*")) if p.suffix != ".lock"]
    aside = sum(".corrupt-" in p.name and not p.name.endswith(("-wal", "-shm")) for p in stores)
    with open_store(stage.data, read_only=True) as store:
        scored = [row.body["t"] for row in store.journal(SLOT, kinds=["BarScored"])]
    violated = []
    if doubled := [t for t, n in Counter(scored).items() if n > 1]:
        violated.append(f"journal: {len(doubled)} bars scored twice, first {doubled[0]}")
    leaps = [b for a, b in pairwise(scored) if b != a + STEP]
    if len(leaps) > aside:  # one where a damaged page of the journal could not be saved
        violated.append(f"journal: {len(leaps)} times bars were passed over, first {leaps[0]}")
    if not scored or scored[-1] < max(truth) - _LAG_BARS * STEP:
        violated.append("journal: the newest bars were not scored")
    return {"bars": len(scored), "stores_set_aside": aside, "violated": violated}


def _model(stage: Stage) -> dict[str, Any]:
    """Check that what LATEST.json names is whole, ours, and what daemon and bot answer with."""
    registry = Registry(stage.data / "models", ring=trusted_keys(stage.data))
    violated, live_id = [], ""
    try:
        live = registry.live(SLOT)
        live_id = live.model_id if live is not None else ""
        registry.load(SLOT, live_id)
    except (DaemonError, RetrainError) as e:
        violated.append(f"model: LATEST.json does not verify: {e}")
    states = [e for e in stage.events if e["topic"] == "state"]
    said = {
        "daemon": states[-1].get("model_id") if states else None,
        "bot": next((e["model_id"] for e in reversed(stage.events) if e.get("online")), None),
    }
    for who, model_id in said.items():
        if model_id != live_id:
            violated.append(f"model: {who} answers with {model_id}, LATEST.json names {live_id}")
    swaps = Counter(e["kind"] for e in stage.events if e["topic"] == "event")
    kinds = ("swapped", "rolled_back", "swap_refused", "retrain_started", "retrain_failed")
    return {"live": live_id, **{k: swaps[k] for k in kinds}, "violated": violated}


def _bot(stage: Stage, truth: dict[int, Bar]) -> dict[str, Any]:
    """Look for bars that a living bot with a model did not answer."""
    lives: list[list[tuple[float, int]]] = []
    born: list[float] = []
    for line in (stage.folder / "bot.diary").read_text().splitlines():
        at, t = line.split()[:2]
        if t == "0":
            lives.append([])
            born.append(float(at))
        else:
            lives[-1].append((float(at), int(t)))
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


def _faults(stage: Stage, plan: list[Planned], log: Log) -> dict[str, Any]:
    """Find each fault in the journal: in the timeline, and in what the daemon says."""
    done: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    told: Counter[str] = Counter()
    # Who was away when it happened tells of nothing, and had nothing to tell.
    masked: Counter[str] = Counter()
    away = [at for at, _, _ in stage.daemon.ends]
    for entry in stage.timeline:
        if (kind := entry.get("kind")) is None or entry["text"].endswith(" ends"):
            continue
        if entry.get("missed"):
            missed[kind] += 1
            continue
        done[kind] += 1
        pattern = TRACES.get(kind)
        begin, end = entry.get("since", entry["wall"]) - 1, entry["wall"] + _AFTER_S
        is_told = pattern is not None and log.has(pattern, begin, end)
        told[kind] += is_told
        masked[kind] += not is_told and any(begin < at < end for at in away)
    violated = [
        f"journal: {kind} happened {done[kind]} times and no line tells of it"
        for kind in sorted(done)
        if kind in TRACES and not told[kind] and masked[kind] < done[kind]
    ]
    planned = Counter(p.kind for p in plan)
    unseen = {k: n - done[k] - missed[k] for k, n in planned.items() if n > done[k] + missed[k]}
    if unseen:
        violated.append(f"timeline: not done to the end: {unseen}")
    table = {
        kind: {"done": done[kind], "missed": missed[kind], "masked": masked[kind],
               "told": "-" if kind in UNTOLD or kind in WORK else told[kind]}
        for kind in sorted(planned)
    }  # fmt: skip
    return {"table": table, "violated": violated}


def _processes(stage: Stage, log: Log) -> dict[str, Any]:
    """Say how the processes fared: what ended by itself, and with what words."""
    violated, ends = [], {}
    for unit in (stage.daemon, stage.bot, stage.broker):
        by_itself = Counter(code for _, code, ours in unit.ends if not ours)
        ends[unit.name] = {
            "starts": unit.starts,
            "by_us": sum(ours for *_, ours in unit.ends),
            "by_itself": dict(by_itself),
        }
    for name in ("daemon", "bot", "second"):
        path = stage.folder / f"{name}.log"
        traces = path.read_text(errors="replace").count("Traceback") if path.exists() else 0
        if traces:
            violated.append(f"{name}: {traces} tracebacks in its log")
    if any("is not started again" in e["text"] for e in stage.timeline):
        violated.append("daemon: it gave up for good, as for a mistake in the configuration")
    if not stage.daemon_was_ready:
        violated.append("daemon: it was not ready at the end")
    if stage.stop_s > 10:
        violated.append(f"daemon: its stop took {stage.stop_s:.1f} s")
    errors = Counter(
        json.loads(line)["event"]
        for _, line in log.lines
        if line.startswith("{") and '"level": "error"' in line
    )
    return {"ends": ends, "errors_logged": dict(errors), "stop_s": round(stage.stop_s, 1),
            "violated": violated}  # fmt: skip
