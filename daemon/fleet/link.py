"""Keep the cluster process running, and hand jobs over to it.

Only short lines pass between the two, so the event loop is not held by what Dask does.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import urlsplit

import msgspec
import structlog

from daemon.core import subprocesses
from daemon.core.outside_text import printable
from daemon.fleet.messages import (
    CancelJob,
    ClusterSeen,
    JobBegan,
    JobDone,
    JobLost,
    JobPrinted,
    Report,
    RunJob,
    TlsFiles,
    TlsWanted,
    WorkerSeen,
    report_of,
)
from hyperdrift.clock import Clock
from hyperdrift.errors import HyperdriftError

log = structlog.get_logger()

_AGAIN_S: Final = 5.0
_SETTLE_S: Final = 20.0
_SLACK_S: Final = 300.0
# So many hosts and reasons are remembered; a worker may come again and again with another name.
_MOST_REFUSED: Final = 100
_HERE: Final = "retrains run on this host meanwhile"

_UNASKED: Final = ClusterSeen("it was not asked yet")

Start = Callable[[], contextlib.AbstractAsyncContextManager[asyncio.subprocess.Process]]
OnReport = Callable[[JobBegan | JobPrinted], None]


class _Waiting:
    """A job that the cluster process has, and who waits for its end."""

    def __init__(self, on_report: OnReport) -> None:
        self.on_report = on_report
        self.end: asyncio.Future[JobDone | JobLost] = asyncio.get_running_loop().create_future()


class ClusterLink:
    """The daemon's end of the cluster process.

    Args:
        start: Starts the process, and ends it.
        clock: Paces new starts.
        read_tls: Reads the files of TLS, which the process cannot.
    """

    def __init__(
        self, start: Start, clock: Clock, read_tls: Callable[[], TlsFiles] = TlsFiles
    ) -> None:
        self._start, self._clock, self._read_tls = start, clock, read_tls
        self._process: asyncio.subprocess.Process | None = None
        self._jobs: dict[str, _Waiting] = {}
        self._settled = asyncio.Event()
        self._refused, self._said = dict[tuple[str, str], None](), set[str]()
        self.seen = _UNASKED
        self.changed: Callable[[], None] = lambda: None

    async def run(self) -> None:
        """Run the process, again whenever it ends, until cancelled."""
        while True:
            try:
                why = await self._follow()
            except (HyperdriftError, OSError) as e:
                why = str(e)
            self._take(ClusterSeen(f"the process that speaks with Dask ended: {printable(why)}"))
            await self._clock.sleep(_AGAIN_S)

    async def _follow(self) -> str:
        """Run the process once; return its last words."""
        try:
            async with self._start() as process, asyncio.TaskGroup() as tasks:
                errors = tasks.create_task(subprocesses.tail(process.stderr), name="fleet-stderr")
                self._process = process
                await self._read(process)
            return errors.result().strip().rpartition("\n")[2] or f"exit {process.returncode}"
        finally:
            self._process = None
            self._lose_all("the process that speaks with Dask ended")

    async def settled(self) -> None:
        """Wait until it is known which workers there are, but not for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_S):
                await self._settled.wait()
        self._settled.set()

    async def ask(self, order: RunJob, on_report: OnReport) -> JobDone | JobLost:
        """Let a worker run a job; if the caller is cancelled, so is the job.

        Args:
            order: What to run.
            on_report: Called when a worker has begun, and with each line of progress.
        """
        if self._process is None or not self.seen.places:
            return JobLost(job=order.job, why=self.seen.trouble or "no worker fits")
        waiting = self._jobs[order.job] = _Waiting(on_report)
        try:
            self._write(order)
            # Its own limits are one time to wait for a worker, and another one to train.
            async with asyncio.timeout(2 * order.timeout_s + _SLACK_S):
                return await waiting.end
        except TimeoutError:
            self._end_hung()
            return JobLost(job=order.job, why="the process that speaks with Dask hangs")
        finally:
            del self._jobs[order.job]
            if not waiting.end.done() or waiting.end.cancelled():
                self._write(CancelJob(order.job))

    def _end_hung(self) -> None:
        """End a process that answers no more; `run` starts another one."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def say_once(self, why: str) -> None:
        """Log why a job runs on this host, once for each reason."""
        if why not in self._said:
            self._said.add(why)
            log.info("fleet.local", why=why)

    def _write(self, order: msgspec.Struct) -> None:
        if self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(ConnectionError, RuntimeError):  # it ended; reading says so
            self._process.stdin.write(msgspec.json.encode(order) + b"\n")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
                if not line:
                    return
                report = report_of(line)
                if isinstance(report, TlsWanted):
                    self._write(await asyncio.to_thread(self._read_tls))
                else:
                    self._take(report)
            except (ValueError, msgspec.MsgspecError):  # too long, or no report
                continue

    def _take(self, report: Report) -> None:
        match report:
            case ClusterSeen():
                self._look(report)
            case JobBegan() | JobPrinted():
                if waiting := self._jobs.get(report.job):
                    waiting.on_report(report)
            case JobDone() | JobLost():
                waiting = self._jobs.get(report.job)
                if waiting is not None and not waiting.end.done():
                    waiting.end.set_result(report)

    def _look(self, now: ClusterSeen) -> None:
        """Log once what has changed."""
        before, self.seen = self.seen, now
        if now.trouble and (not before.trouble or before is _UNASKED):
            log.warning("fleet.away", why=now.trouble, outcome=f"{_HERE}; it is asked again")
        elif not now.trouble and (before.trouble or now.places > before.places == 0):
            log.info("fleet.connected", workers=len(now.workers), places=now.places)
        self._tell_refused(now.workers)
        if not now.trouble and not now.places and (before.trouble or before.places):
            why = "no worker fits" if now.workers else "the cluster has no worker"
            remedy = f"{_HERE}; start workers, and look with `hyperdrift doctor`"
            log.warning("fleet.no_worker", why=why, outcome=remedy)
        self._settled.set()
        self.changed()

    def _tell_refused(self, workers: Collection[WorkerSeen]) -> None:
        """Log why workers get no job, once for each reason on a host."""
        for worker in workers:
            if not worker.why_not:
                continue
            host = urlsplit(worker.address).hostname or worker.address
            told = host, worker.why_not.replace(worker.address, "")
            if told not in self._refused:
                why, outcome = worker.why_not, "it gets no jobs until that is mended"
                log.warning(
                    "fleet.worker_refused", worker=worker.name, host=host, why=why, outcome=outcome
                )
            self._refused.pop(told, None)
            self._refused[told] = None  # the newest
        while len(self._refused) > _MOST_REFUSED:
            del self._refused[next(iter(self._refused))]

    def _lose_all(self, why: str) -> None:
        for job, waiting in self._jobs.items():
            if not waiting.end.done():
                waiting.end.set_result(JobLost(job=job, why=why))
