"""What the daemon and its cluster process say to each other: one JSON object a line."""

from typing import Final

import msgspec

__all__ = [
    "CancelJob",
    "ClusterSeen",
    "JobBegan",
    "JobDone",
    "JobLost",
    "JobPrinted",
    "RunJob",
    "TlsFiles",
    "TlsWanted",
    "WorkerSeen",
    "order_of",
    "report_of",
]


class RunJob(msgspec.Struct, frozen=True, kw_only=True, tag="run"):
    """Order: run the job of a folder on a worker.

    Attributes:
        job: Names it in every answer.
        folder: Holds `job.json` and `bars.npz`; what comes back is written there.
        module: What to run, and `arguments` what follows the folder.
        wanted: Files, or folders of files, to bring back.
        nice: Niceness of the child on the worker.
        timeout_s: Seconds after which it is killed.
        memory_mib: What it may allocate, MiB; 0 sets no limit.
        without: Addresses of workers that failed this job.
        can_wait: Whether jobs that came later may begin before it.
    """

    job: str
    folder: str
    module: str
    wanted: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    nice: int = 10
    timeout_s: float = 3600.0
    memory_mib: int = 0
    without: tuple[str, ...] = ()
    can_wait: bool = False


class CancelJob(msgspec.Struct, frozen=True, tag="cancel"):
    """Order: end a job; nothing is answered."""

    job: str


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True, tag="tls"):
    """Order: connect with these; the texts of files, or `why` they cannot be read."""

    authority: str = ""
    certificate: str = ""
    key: str = ""
    why: str = ""


class WorkerSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A worker; `places` is how many jobs it takes at once, `why_not` why it gets none."""

    address: str
    name: str
    places: int = 0
    why_not: str = ""


class ClusterSeen(msgspec.Struct, frozen=True, tag="seen"):
    """The workers that were asked; `trouble` says why the scheduler cannot be used."""

    trouble: str = ""
    workers: tuple[WorkerSeen, ...] = ()

    @property
    def places(self) -> int:
        """How many jobs may run at once."""
        return sum(worker.places for worker in self.workers if not worker.why_not)


class TlsWanted(msgspec.Struct, frozen=True, tag="tls_wanted"):
    """The files of TLS are needed as they are now; `TlsFiles` answers."""


class JobBegan(msgspec.Struct, frozen=True, tag="began"):
    """A worker has begun a job."""

    job: str
    worker: str


class JobPrinted(msgspec.Struct, frozen=True, tag="printed"):
    """A line of the child, while it runs."""

    job: str
    line: str


class JobDone(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """The child has ended, and its files lie in the folder of the job.

    `address` and `worker` name where it ran; `lines` and `stderr` are what it printed.
    """

    job: str
    address: str
    worker: str
    code: int
    lines: tuple[str, ...]
    stderr: str


class JobLost(msgspec.Struct, frozen=True, kw_only=True, tag="lost"):
    """No answer came from a worker, or none that can be used; without one, `address` is ""."""

    job: str
    why: str
    address: str = ""
    worker: str = ""


Order = RunJob | CancelJob | TlsFiles
Report = ClusterSeen | TlsWanted | JobBegan | JobPrinted | JobDone | JobLost
_ORDERS: Final[msgspec.json.Decoder[Order]] = msgspec.json.Decoder(Order)
_REPORTS: Final[msgspec.json.Decoder[Report]] = msgspec.json.Decoder(Report)


def order_of(line: bytes) -> Order:
    """Read a line of the daemon.

    Raises:
        msgspec.MsgspecError: If it is none.
    """
    return _ORDERS.decode(line)


def report_of(line: bytes) -> Report:
    """Read a line of the cluster process.

    Raises:
        msgspec.MsgspecError: If it is none.
    """
    return _REPORTS.decode(line)
