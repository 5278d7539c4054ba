"""Collect what the daemon and its service manager wrote while `benchmarks.chaos` ran.

On a host both are in `journalctl`. The timeline of the run is not part of it: an operator has
no such thing.
"""

import json
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.chaos.verdicts import Line

_STAMP = re.compile(r'"timestamp": "([^"]+)"')


class Journal:
    """The log of the daemon, what the manager says of its processes, and the daemon's events."""

    def __init__(self, folder: Path) -> None:
        self._log, self._managers = folder / "daemon.log", folder / "manager.log"
        self._events: list[Line] = []
        self._manager: list[Line] = []
        self._daemon: list[Line] = []
        self._read_to, self._last = 0, 0.0
        self._counts: tuple[int, dict[str, int]] = (0, {})

    def manage(self, text: str) -> None:
        """Append what the service manager did, or a line of a process."""
        now = time.time()
        self._manager.append(Line(now, "manager", text))
        with self._managers.open("a") as file:
            file.write(f"{datetime.fromtimestamp(now, UTC).isoformat()} {text}\n")

    def hear(self, event: dict[str, Any]) -> None:
        """Take an event that the daemon published."""
        self._events.append(Line(event["wall"], "daemon", json.dumps(event)))

    def count(self, status: dict[str, Any]) -> None:
        """Take the daemon's status, with the anomalies counted since the last one.

        A lasting anomaly is logged once an hour; the counts show that it lasted.
        """
        since_ms, counts = (
            status.get("since_ms", 0),
            (status.get("venue") or {}).get("oddities", {}),
        )
        before = self._counts[1] if self._counts[0] == since_ms else {}
        self._counts = (since_ms, counts)
        self._events += [
            Line(status["wall"], "daemon", f"counted more: {kind}")
            for kind, times in counts.items() if times > before.get(kind, 0)
        ]  # fmt: skip

    def lines(self) -> Sequence[Line]:
        """Return everything so far, oldest first."""
        if self._log.exists():
            with self._log.open("rb") as file:
                file.seek(self._read_to)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read_to += len(whole)
            for text in whole.decode(errors="replace").splitlines():
                self._take(text)
        return sorted([*self._daemon, *self._manager, *self._events])

    def _take(self, text: str) -> None:
        """Take a line; one without a time, as in a traceback, gets the time of the line before."""
        if stamp := _STAMP.search(text):
            self._last = datetime.fromisoformat(stamp[1]).timestamp()
        self._daemon.append(Line(self._last, "daemon", text))

    def when(self, pattern: str, since: float = 0.0) -> list[float]:
        """Return when the daemon wrote lines that match a pattern."""
        wanted = re.compile(pattern)
        return [
            line.at for line in self.lines() if line.at >= since and line.by == "daemon"
            and wanted.search(line.text)
        ]  # fmt: skip

    def spans(self, begins: str, ends: str) -> list[tuple[float, float]]:
        """Return from when to when something was so, as the daemon said; with it, it ends."""
        spans, since = [], 0.0
        begin, end = re.compile(begins), re.compile(rf"{ends}|^daemon ended with")
        for line in self.lines():
            if since and end.search(line.text):
                spans.append((since, line.at))
                since = 0.0
            elif not since and line.by == "daemon" and begin.search(line.text):
                since = line.at
        return spans + ([(since, time.time())] if since else [])
