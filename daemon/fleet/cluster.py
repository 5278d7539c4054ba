"""Know the workers of a cluster, and run jobs on those that fit."""

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from distributed import Client

from daemon.fleet import on_worker
from daemon.fleet.handshake import (
    CALIBRATION,
    RESOURCE,
    Facts,
    differences,
    made_otherwise,
    read_facts,
    seen,
)
from daemon.fleet.messages import (
    ClusterSeen,
    JobBegan,
    JobDone,
    JobLost,
    JobPrinted,
    RunJob,
    WorkerSeen,
)
from daemon.fleet.parcels import fault, pack, unpack
from hyperdrift.clock import Clock

_LOOK_S: Final = 1.0
_ANSWER_S: Final = 60.0
_GRACE_S: Final = 30.0
_PATIENCE: Final = 3
_FIRST_S: Final = 10.0
# What a worker says must fit into one line of the daemon's pipe.
_MOST_TEXT: Final = 2000
_TOPIC: Final = "hyperdrift-progress"
# Dask's states of a task that a worker has yet to end.
_UNDONE: Final = ("waiting", "ready", "constrained", "executing", "long-running")

Say = Callable[[msgspec.Struct], None]


@dataclass(frozen=True, slots=True)
class _Peer:
    """A worker that was asked: what it has, and how many threads a job has there."""

    seen: WorkerSeen
    facts: Facts
    threads: int


class _Attempt:
    """A job on its way to a worker and back, and how long it is waited for."""

    def __init__(self, order: RunJob, peer: _Peer) -> None:
        self.order, self.peer = order, peer
        self.key = f"hyperdrift-{order.job}-{uuid.uuid4().hex[:12]}"
        self._limit: asyncio.Timeout | None = None
        self._why = ""

    async def wait(self, future: Any) -> Any:
        """Return the result of the worker.

        Raises:
            ConnectionError: If the worker is lost.
            TimeoutError: If it takes too long to begin, or then to answer.
            Exception: Anything else, of Dask.
        """
        try:
            async with asyncio.timeout(self.order.timeout_s) as self._limit:
                return await future.result()
        except TimeoutError:
            if self._why:
                raise ConnectionError(self._why) from None
            limit = f"{self.order.timeout_s:.0f} s (retrain.timeout_s)"
            raise TimeoutError(f"it did not answer within {limit}") from None
        finally:
            self._limit = None

    def begin(self) -> None:
        """Count the time of the child from now on."""
        if self._limit is not None:
            now = asyncio.get_running_loop().time()
            self._limit.reschedule(now + self.order.timeout_s + _GRACE_S)

    def lose(self, why: str) -> None:
        """Wait no longer."""
        if self._limit is not None:
            self._why = why
            self._limit.reschedule(0)


class Cluster:
    """The workers that a scheduler knows, and the jobs that run on them.

    Args:
        facts: What a worker must have.
        clock: Paces the looks at the scheduler.
        say: Takes each report.
    """

    def __init__(self, facts: Facts, clock: Clock, say: Say) -> None:
        self._facts, self._clock, self._say = facts, clock, say
        self._client: Client | None = None
        self._peers: dict[str, _Peer] = {}
        self._asked: dict[str, asyncio.Task[None]] = {}
        self._silences = Counter[str]()
        self._loads: dict[str, int] = {}
        self._folders: dict[str, str | None] = {}
        self._attempts: dict[str, _Attempt] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._told: ClusterSeen | None = None
        self._since = 0.0

    async def use(self, client: Client, tasks: asyncio.TaskGroup) -> None:
        """Follow the workers of a connected client until its scheduler goes away.

        Args:
            client: It is connected.
            tasks: Run what asks the workers.

        Raises:
            ConnectionError: When it did.
        """
        client.subscribe_topic(_TOPIC, self._printed)
        self._client, self._since = client, self._clock.monotonic()
        try:
            while client.status == "running" and client.scheduler is not None:
                async with asyncio.timeout(_ANSWER_S / 4):
                    known = await client.scheduler.identity(n_workers=-1)
                self._look(client, known["workers"], tasks)
                await self._clock.sleep(_LOOK_S)
            raise ConnectionError("it went away")
        finally:
            self._client = None
            self._leave({})
            self._told = None

    def start(self, order: RunJob, tasks: asyncio.TaskGroup) -> None:
        """Run a job as one of `tasks`; its end is said."""
        task = tasks.create_task(self._run(order), name=f"job-{order.job}")
        self._running[order.job] = task
        task.add_done_callback(lambda _: self._running.pop(order.job, None))

    def cancel(self, job: str) -> None:
        """End a job; nothing is said."""
        if task := self._running.get(job):
            task.cancel()

    def _look(
        self, client: Client, known: Mapping[str, Mapping[str, Any]], tasks: asyncio.TaskGroup
    ) -> None:
        """Take over which workers there are; ask those that are new."""
        # A worker that was started again may have its address back at once, but no folder twice.
        folders = {address: info.get("local_directory") for address, info in known.items()}
        self._leave([a for a, folder in folders.items() if self._folders.get(a, folder) == folder])
        self._folders = folders
        self._loads = {address: _load(info) for address, info in known.items()}
        for address in known.keys() - self._asked.keys():
            asking = self._ask(client, address, known[address])
            self._asked[address] = tasks.create_task(asking, name=f"ask-{address}")
        self._tell()

    def _ask_anew(self, address: str) -> None:
        """Shake hands with a worker again: it has changed since the last time."""
        self._peers.pop(address, None)
        self._asked.pop(address, None)

    def _leave(self, known: Collection[str]) -> None:
        """Forget the workers whose addresses are not among these."""
        for address in set(self._asked).difference(known):
            self._asked.pop(address).cancel()
            self._peers.pop(address, None)
            self._silences.pop(address, None)
        for attempt in self._attempts.values():
            if attempt.peer.seen.address not in known:
                attempt.lose("the worker, or the scheduler, is gone")

    def _tell(self) -> None:
        """Say what is known, first when all have answered or some have had their time.

        After a restart of the scheduler the first of them needs some seconds to come back.
        """
        waited_s, wanted = self._clock.monotonic() - self._since, max(1, len(self._asked))
        if self._told is None and len(self._peers) < wanted and waited_s < _FIRST_S:
            return
        workers = tuple(sorted((p.seen for p in self._peers.values()), key=lambda one: one.name))
        found = ClusterSeen("", workers)
        if found != self._told:
            self._told = found
            self._say(found)

    async def _ask(self, client: Client, address: str, info: Mapping[str, Any]) -> None:
        """Shake hands with a worker."""
        facts: Facts = {}
        try:
            async with asyncio.timeout(_ANSWER_S):
                facts = await _facts_of(client, address, self._facts["python"])
            why_not = differences(facts, self._facts)
        except Exception as e:  # noqa: BLE001 - a foreign process may fail in any way
            self._silences[address] += 1
            if self._silences[address] < _PATIENCE:  # it may be about to leave: ask it again
                self._asked.pop(address, None)
                return
            why_not = f"it does not answer ({type(e).__name__}: {_words(e)})"
        found = seen(address, info, why_not[:_MOST_TEXT])
        threads = max(1, int(info.get("nthreads", 1)) // max(1, found.places))
        self._peers[address] = _Peer(found, facts, threads)
        self._tell()

    def _pick(self, order: RunJob) -> _Peer | None:
        """Choose the worker that has most free places, and of equals what others use least."""
        busy = Counter(attempt.peer.seen.address for attempt in self._attempts.values())
        fit = [
            peer
            for address, peer in self._peers.items()
            if not peer.seen.why_not
            and address not in order.without
            and (order.module == "retrain" or self._calibrates(peer))
        ]

        def fitness(peer: _Peer) -> tuple[int, int]:
            address = peer.seen.address
            return peer.seen.places - busy[address], -self._loads.get(address, 0)

        return max(fit, key=fitness, default=None)

    def _calibrates(self, peer: _Peer) -> bool:
        ours = self._facts.get(CALIBRATION, "")
        return bool(ours) and peer.facts.get(CALIBRATION) == ours

    async def _run(self, order: RunJob) -> None:
        peer, client = self._pick(order), self._client
        if peer is None or client is None:
            self._say(JobLost(job=order.job, why="no worker fits"))
            return
        where = {"job": order.job, "address": peer.seen.address, "worker": peer.seen.name}
        attempt = self._attempts[order.job] = _Attempt(order, peer)
        try:
            answer = await self._sent(client, attempt)
            why = fault(answer, order.wanted)
            if not why and (why := made_otherwise(answer["files"], self._facts)):
                self._ask_anew(peer.seen.address)
            if why:
                self._say(JobLost(**where, why=why))
                return
            await asyncio.to_thread(unpack, Path(order.folder), answer["files"])
            lines, code, stderr = tuple(answer["lines"]), answer["code"], answer["stderr"]
            self._say(JobDone(**where, code=code, lines=lines, stderr=stderr))
        except Exception as e:  # noqa: BLE001 - a foreign process may fail in any way
            words = _words(e)
            if client.status != "running":  # no fault of the worker
                where |= {"address": "", "worker": ""}
            self._say(JobLost(**where, why=words))
        finally:
            del self._attempts[order.job]

    async def _sent(self, client: Client, attempt: _Attempt) -> Any:
        """Send a job to its worker, and return what the worker answers.

        Raises:
            Exception: If none comes: of Dask, or a TimeoutError.
        """
        order, peer, key = attempt.order, attempt.peer, attempt.key
        files = await asyncio.to_thread(pack, Path(order.folder))
        future = client.submit(
            on_worker.run_job,
            _job(order, key, files, peer.threads),
            key=key,
            pure=False,
            workers=[peer.seen.address],
            allow_other_workers=False,
            resources={RESOURCE: 1},
            priority=-int(order.can_wait),
        )
        try:
            return await attempt.wait(future)
        finally:  # the worker ends a job that nobody waits for
            with contextlib.suppress(Exception):
                await future.cancel(force=True)

    def _printed(self, event: tuple[float, Any]) -> None:
        """Pass on a line of progress; an empty one says that a worker has begun."""
        _, said = event
        if not isinstance(said, dict):
            return
        key, line = said.get("key"), said.get("line")
        for job, attempt in self._attempts.items():
            # A job of another daemon, or a lost attempt that still prints, may have the same name.
            if key != attempt.key:
                continue
            if line == "":
                attempt.begin()
                self._say(JobBegan(job, attempt.peer.seen.name))
            elif isinstance(line, str) and len(line) < _MOST_TEXT:
                self._say(JobPrinted(job, line))


async def _facts_of(client: Client, address: str, python: str) -> Facts:
    """Return what a worker has.

    Raises:
        Exception: Anything at all, of Dask or of the worker.
    """
    # Another Python cannot read what is sent by value, so its version comes first.
    assert client.scheduler is not None
    said = await client.scheduler.broadcast(msg={"op": "versions"}, workers=[address])
    theirs = ".".join(str(said[address]["host"]["python"]).split(".")[:2])
    if theirs != python:
        return {"python": theirs}
    answer = await client.run(on_worker.facts, workers=[address], on_error="return")
    return read_facts(answer[address])


def _load(info: Mapping[str, Any]) -> int:
    """Return how many jobs of anybody a worker has, as it told the scheduler last."""
    counts = (info.get("metrics") or {}).get("task_counts") or {}
    return sum(n for state in _UNDONE if isinstance(n := counts.get(state), int))


def _words(error: Exception) -> str:
    """Return the message of an error in one line that is not too long."""
    return " ".join(str(error).split())[:_MOST_TEXT] or type(error).__name__


def _job(order: RunJob, key: str, files: Mapping[str, bytes], threads: int) -> dict[str, Any]:
    """Return what `on_worker.run_job` takes."""
    return {
        "key": key,
        "topic": _TOPIC,
        "files": dict(files),
        "module": order.module,
        "arguments": list(order.arguments),
        "wanted": list(order.wanted),
        "nice": order.nice,
        "timeout_s": order.timeout_s,
        "memory_mib": order.memory_mib,
        "threads": threads,
    }
