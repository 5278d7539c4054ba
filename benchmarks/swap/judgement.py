"""Check the log files of `benchmarks.swap`: bars answered, answers correct, models live."""

from collections.abc import Iterator
from typing import Any

import numpy as np

# Seconds for which a bot may use a model after the pointer moved, because it was loading it.
OVERTAKEN_S = 5.0


def lives(lines: list[dict[str, Any]], deaths: list[int], end_ns: int) -> Iterator[list[Any]]:
    """Split a log file by process: (ready line, lines, end of the process)."""
    starts = [i for i, line in enumerate(lines) if line["event"] == "ready"]
    for here, there in zip(starts, [*starts[1:], len(lines)], strict=True):
        until = next((d for d in deaths if d > lines[here]["ns"]), end_ns)
        yield [lines[here], lines[here:there], until]


def answers(
    lines: list[dict[str, Any]], deaths: list[int], end_ns: int, bar_s: float
) -> dict[str, Any]:
    """Count the bars that a running bot did not answer, and measure the delay of the others."""
    bar_ns, unanswered, behind, total = round(bar_s * 1e9), 0, 0, 0
    late: list[float] = []
    for ready, said, until in lives(lines, deaths, end_ns):
        answered = {
            line["bar"]: line["ns"] for line in said if line["event"] == "answer" and line["model"]
        }
        last = max(answered, default=ready["bar"] - 1)
        # On a busy machine a bot answers late. Bars due just before its death are not lost.
        behind += max(0, until // bar_ns - last - 1)
        due = range(ready["bar"], last + 1)
        unanswered += sum(bar not in answered for bar in due)
        late += [(answered[bar] - bar * bar_ns) / 1e6 for bar in due if bar in answered]
        total += len(due)
    return {
        "bars": total,
        "unanswered": unanswered,
        "behind_at_death": behind,
        "answer_ms": percentiles(late),
        "answered_after_the_next_bar": sum(ms > bar_s * 1000 for ms in late),
    }


def stalls(lines: list[dict[str, Any]], swaps: list[tuple[int, int]]) -> dict[str, Any]:
    """Split the stalls of the loop into those during an undisturbed swap and all others."""
    starts = np.array([began for began, _ in swaps])
    during, elsewhere = [0.0], [0.0]
    for line in lines:
        if line["event"] == "stall":
            at = int(np.searchsorted(starts, line["ns"])) - 1
            within = at >= 0 and line["ns"] <= swaps[at][1]
            (during if within else elsewhere).append(line["late_ms"])
    return {
        name: {"over_50": sum(ms > 50 for ms in found), "max": round(max(found), 1)}
        for name, found in (("at_swaps", during), ("elsewhere", elsewhere))
    }


def torn(lines: list[dict[str, Any]], expected: dict[str, np.ndarray]) -> int:
    """Count the answers that differ from the exact answer of the model that they name."""
    wrong = 0
    for line in lines:
        if line["event"] == "answer":
            table = expected.get(line["model"])
            row = table[line["bar"] % len(table)] if table is not None else None
            wrong += row is None or not np.allclose(row, line["p"], rtol=0, atol=1e-12)
    return wrong


def takeovers(lines: list[dict[str, Any]], history: list[tuple[int, str]]) -> dict[str, Any]:
    """Compare each model that the bot loaded with the version in LATEST.json at that time."""
    never, overtaken, before = 0, [0.0], None
    for line in lines:
        if line["event"] == "ready":
            before = None
        if line["event"] != "answer" or line["model"] == before:
            continue
        before, at = line["model"], line["ns"]
        left = [
            there
            for (here, name), (there, _) in zip(history, [*history[1:], (at + 1, "")], strict=True)
            if name == line["model"] and here <= at
        ]
        if not left:
            never += 1
            continue
        gone = max(0, at - left[-1]) / 1e6
        overtaken.append(gone)
        never += gone > OVERTAKEN_S * 1000
    return {"not_called_live": never, "longest_overtaken_ms": round(max(overtaken), 1)}


def percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "max": round(max(values), 2)}
