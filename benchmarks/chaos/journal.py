"""Collect the lines of the daemon and its service manager while `benchmarks.chaos` runs.

On a host `journalctl` has both. The timeline of the run is left out, because an operator has
none.
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
    """The daemon's log, the service manager's lines and the daemon's events."""

    def __init__(self, folder: Path) -> None:
        self._log, self._managers = folder / "daemon.log", folder / "manager.log"
        self._events: list[Line] = []
        self._manager: list[Line] = []
        self._daemon: list[Line] = []
        self._read_to, self._last = 0, 0.0
        self._counts: tuple[int, dict[str, int]] = (0, {})

    def manage(self, text: str) -> None:
        """Append a line of the service manager or of a process."""
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
        """Return all lines so far, oldest first."""
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
        """Take a line. One without a time, as in a traceback, gets the time of the last line."""
        if stamp := _STAMP.search(text):
            self._last = datetime.fromisoformat(stamp[1]).timestamp()
        self._daemon.append(Line(self._last, "daemon", text))

    def when(self, pattern: str, since: float = 0.0) -> list[float]:
        """Return the times of the daemon's lines that match a pattern, wall clock, s."""
        wanted = re.compile(pattern)
        return [
            line.at for line in self.lines() if line.at >= since and line.by == "daemon"
            and wanted.search(line.text)
        ]  # fmt: skip

    def spans(self, begins: str, ends: str) -> list[tuple[float, float]]:
        """Return the spans from a line `begins` to a line `ends` or to the daemon's end."""
        spans, since = [], 0.0
        begin, end = re.compile(begins), re.compile(rf"{ends}|^daemon ended with")
        for line in self.lines():
            if since and end.search(line.text):
                spans.append((since, line.at))
                since = 0.0
            elif not since and line.by == "daemon" and begin.search(line.text):
                since = line.at
        return spans + ([(since, time.time())] if since else [])
