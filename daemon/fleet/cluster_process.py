"""The process that speaks with Dask for the daemon.

    python -m daemon.fleet.cluster_process SETTINGS

Dask imports for a second, unpickles what its peers send, and may run what they like. So it has a
process of its own, without keys and passwords. It takes orders as JSON lines on stdin, and answers
so on stdout; large files lie in the folders of the jobs.
"""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import cloudpickle
import dask
import msgspec
from distributed import Client, LocalCluster
from distributed.security import Security

from daemon.core.tasks import single_failure
from daemon.fleet import on_worker
from daemon.fleet.cluster import Cluster, Say
from daemon.fleet.handshake import RESOURCE, own_facts
from daemon.fleet.messages import CancelJob, ClusterSeen, RunJob, TlsFiles, TlsWanted, order_of
from daemon.fleet.process_settings import ProcessSettings
from daemon.fleet.tls_files import as_files
from hyperdrift.clock import Clock, SystemClock

_CONNECT_S: Final = 5.0
_AGAIN_S: Final = 3.0
_LONGEST_LINE: Final = 1 << 20

AskTls = Callable[[], Awaitable[TlsFiles]]


async def serve(settings: ProcessSettings, clock: Clock, say: Say) -> None:
    """Follow the cluster and run jobs until stdin ends."""
    cloudpickle.register_pickle_by_value(on_worker)
    facts = await asyncio.to_thread(own_facts, settings.trainer, sys.executable, settings.path)
    cluster, handed = Cluster(facts, clock, say), asyncio.Queue[TlsFiles]()

    async def tls() -> TlsFiles:
        say(TlsWanted())
        return await handed.get()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_follow(settings, cluster, clock, say, tls), name="follow")
        async for line in _stdin():
            match order_of(line):
                case RunJob() as order:
                    cluster.start(order, tasks)
                case CancelJob(job=job):
                    cluster.cancel(job)
                case TlsFiles() as files:
                    handed.put_nowait(files)
        sys.exit()  # the daemon is gone


async def _follow(
    settings: ProcessSettings, cluster: Cluster, clock: Clock, say: Say, tls: AskTls
) -> None:
    """Connect with the scheduler, again whenever it went away."""
    async with contextlib.AsyncExitStack() as stack:
        peer: Any = settings.address
        if not peer:
            peer = await stack.enter_async_context(_own_cluster(settings.workers))
        while True:
            try:
                with _security(await tls() if settings.secure else None) as security:
                    await _connected(cluster, peer, security)
            except (OSError, ValueError, RuntimeError) as e:
                where = settings.address or "the cluster of this host"
                words = " ".join(str(e).split()) or type(e).__name__
                say(ClusterSeen(f"{where} does not answer ({words})"))
            await clock.sleep(_AGAIN_S)


async def _connected(cluster: Cluster, peer: Any, security: Security | None) -> None:
    """Use one connection for as long as it lasts.

    Raises:
        OSError: If the scheduler does not answer, or no longer.
    """
    client = Client(
        peer,
        asynchronous=True,
        security=security,
        timeout=_CONNECT_S,
        set_as_default=False,
        name="hyperdrift",
    )
    try:
        await client
        with single_failure():
            async with asyncio.TaskGroup() as tasks:
                await cluster.use(client, tasks)
    finally:
        with contextlib.suppress(Exception):  # it is closed already, or away
            await asyncio.wait_for(client.close(), _CONNECT_S)


def _own_cluster(workers: int) -> LocalCluster:
    """Make one process for each worker; other users of this host cannot speak with them."""
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        resources={RESOURCE: 1},
        host="127.0.0.1",
        memory_limit=0,
        dashboard_address="127.0.0.1:0",
        security=True,
        asynchronous=True,
        silence_logs=logging.CRITICAL,
    )


@contextlib.contextmanager
def _security(files: TlsFiles | None) -> Iterator[Security | None]:
    """Yield what Dask connects with, None without TLS.

    Raises:
        OSError: If the files cannot be read.
    """
    if files is None:
        yield None
        return
    if files.why:
        raise OSError(files.why)
    with as_files(files.authority, files.certificate, files.key) as (authority, certificate, key):
        yield Security(
            tls_ca_file=authority,
            tls_client_cert=certificate,
            tls_client_key=key,
            require_encryption=True,
        )


async def _stdin() -> Any:
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        yield line


def _private_stdout() -> Say:
    """Keep stdout for reports; what else prints, in this process or a worker, goes to stderr."""
    ours = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def say(report: msgspec.Struct) -> None:
        ours.write(msgspec.json.encode(report) + b"\n")
        ours.flush()

    return say


def main(told: str) -> None:
    """Run until the daemon closes stdin."""
    say = _private_stdout()
    logging.disable(logging.CRITICAL)  # the daemon logs what counts, once
    dask.config.set({"distributed.comm.retry.count": 0, "distributed.comm.timeouts.connect": "5s"})
    asyncio.run(serve(msgspec.json.decode(told, type=ProcessSettings), SystemClock(), say))


if __name__ == "__main__":
    main(sys.argv[1])
