"""Run one child process: set its limits, read its output, and end it with all its children.

The output is not trusted: a child may be killed in the middle of a line, and an interpreter may
print other text. Only lines of a known form reach the listener. Each failure becomes one
sentence that says what a person can do.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import structlog

from daemon.core import confined
from daemon.core.errors import NoInterpreter, RetrainFailedError, UnfitBars
from daemon.core.outside_text import printable
from monitor.errors import BadReference
from retrain.errors import BadFrame, BadSetting, BadThreshold, ClassMissing, TooFewBars

log = structlog.get_logger()

# A line of progress is short; a child that prints more than this without a newline is broken.
_LONGEST_LINE: Final = 1 << 20
_KEEP_STDERR: Final = 4000
_KIB: Final = 1 << 10
# Errors of a child that the same bars and settings always give.
_UNFIT: Final = frozenset(
    each.__name__
    for each in (TooFewBars, ClassMissing, BadFrame, BadSetting, BadThreshold, BadReference)
)
# What an interpreter, the C++ library and a thread library print when memory has run out; an
# extension module that has none left for its own error makes Python say the last.
_OUT_OF_MEMORY: Final = (
    *("memoryerror", "bad_alloc", "cannot allocate memory", "memory allocation"),
    *("start new thread", "error return without exception set"),
)
# The child's shell sets the limits before it becomes the interpreter. On a busy machine, limits
# set from outside could come after the child's allocations. When memory runs out, the kernel ends
# the process with the highest score first. A setting that the system refuses is left out.
_CONFINE: Final = (
    '{ echo 800 >/proc/self/oom_score_adj; [ $0 -eq 0 ] || ulimit -d $0; } 2>/dev/null; exec "$@"'
)

OnLine = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """How a child may run: its interpreter, niceness (0 to 19), time in seconds, memory in MiB.

    Memory is what the child has allocated (RLIMIT_DATA), whether it uses it or not. With the
    stacks and buffers of threads this is several times the resident memory. 0 sets no limit.
    """

    python: str = ""
    nice: int = 10
    timeout_s: float = 3600.0
    memory_mib: int = 4096

    @property
    def interpreter(self) -> str:
        """The interpreter of the child process; ours by default."""
        if os.sep in self.python:  # the child runs in another folder
            return str(Path(self.python).absolute())
        return self.python or sys.executable


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a child runs: its whole environment, its working folder, what may not be touched.

    `confined` has the paths that `daemon.core.confined` takes from it; None takes nothing.
    """

    environment: Mapping[str, str]
    folder: Path
    confined: Mapping[str, Sequence[str]] | None = None

    @property
    def prefix(self) -> tuple[str, ...]:
        """The command prefix that takes them."""
        if self.confined is None:
            return ()
        return (sys.executable, "-I", confined.__file__, json.dumps(dict(self.confined)))


class _Progress(msgspec.Struct, tag_field="event", tag="progress"):
    step: str
    percent: Annotated[float, msgspec.Meta(ge=0, le=100)]


class _Gate(msgspec.Struct, tag_field="event", tag="gate"):
    name: str
    passed: bool


class _Failed(msgspec.Struct, tag_field="event", tag="failed"):
    error: str
    kind: str = ""


_FORMS: Final = {"progress": _Progress, "gate": _Gate, "failed": _Failed}


async def run(
    arguments: tuple[str, ...], limits: Limits, where: Surroundings, on_line: OnLine
) -> dict[str, Any]:
    """Run `limits.interpreter` with these arguments; return its line `finished`.

    If the caller is cancelled, the child and its workers are killed.

    Args:
        arguments: The command line after the interpreter.
        limits: How the child may run.
        where: Where it runs.
        on_line: Called with each JSON line of the child while it runs.

    Raises:
        RetrainFailedError: If it ended in any other way; says why.
    """
    process = await start(arguments, limits, where)
    report = ChildReport(on_line)
    try:
        with workers_end_with(process):
            async with asyncio.timeout(limits.timeout_s), asyncio.TaskGroup() as tasks:
                errors = tasks.create_task(tail(process.stderr), name="child-stderr")
                async for line in json_lines(process.stdout):
                    report.take(line)
                code = await process.wait()
    except TimeoutError:
        limit = f"{limits.timeout_s:.0f} s (retrain.timeout_s)"
        raise RetrainFailedError(f"it was stopped{report.place} after {limit}") from None
    finally:
        await end(process)
    if code == 0 and report.finished:
        return report.finished
    raise failure(code, errors.result(), report, limits)


async def start(
    arguments: tuple[str, ...],
    limits: Limits,
    where: Surroundings,
    *,
    stdin: int = asyncio.subprocess.DEVNULL,
) -> asyncio.subprocess.Process:
    """Start a child within its limits; the caller reads and writes its pipes.

    Raises:
        NoInterpreter: If there is no such interpreter.
    """
    if shutil.which(limits.interpreter) is None:
        msg = f"{limits.interpreter} is no program that can be started; correct retrain.python"
        raise NoInterpreter(msg)
    return await asyncio.create_subprocess_exec(
        *(*where.prefix, *_priority_prefix(limits), limits.interpreter, *arguments),
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
        env=dict(where.environment),
        cwd=where.folder,
        start_new_session=True,  # so that its own workers can be killed with it
    )


class ChildReport:
    """What the child has said so far."""

    def __init__(self, on_line: OnLine) -> None:
        self._on_line, self._step = on_line, ""
        self.finished: dict[str, Any] | None = None
        self.failed: _Failed | None = None

    @property
    def place(self) -> str:
        """The step in which it ended, as a part of a sentence."""
        return f" in the step {self._step!r}" if self._step else ""

    def take(self, line: dict[str, Any]) -> None:
        """Note a line that `read_line` returned, and pass it on."""
        match line.get("event"):
            case "progress":
                self._step = line["step"]
            case "finished":
                self.finished = line
            case "failed":
                self.failed = msgspec.convert(line, _Failed)
        self._on_line(line)


def _priority_prefix(limits: Limits) -> tuple[str, ...]:
    """Return a command prefix that lowers the child's priority and ends it when we end.

    Programs of util-linux and coreutils that this machine lacks are left out.
    """
    prefix: tuple[str, ...] = ()
    if shutil.which("setpriv"):
        prefix += ("setpriv", "--pdeathsig", "KILL", "--")
    if limits.nice and shutil.which("nice"):
        prefix += ("nice", "-n", str(limits.nice))
    if shutil.which("ionice"):
        prefix += ("ionice", "--class", "3", "--ignore")  # idle class; ignored if refused
    return (*prefix, "sh", "-c", _CONFINE, str(limits.memory_mib * _KIB))


@contextlib.contextmanager
def workers_end_with(process: asyncio.subprocess.Process) -> Iterator[None]:
    """Kill the child's own children as soon as the child ends.

    A worker that keeps the child's output open would block us: `process.wait()` returns only
    when that output is closed.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        _kill_group(process.pid)
        yield
        return
    loop = asyncio.get_running_loop()

    def over() -> None:
        loop.remove_reader(descriptor)
        _kill_group(process.pid)

    loop.add_reader(descriptor, over)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def json_lines(
    stream: asyncio.StreamReader | None,
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the lines of a known form; skip all others and log the first of them."""
    garbage = 0
    while stream is not None:
        try:
            raw = await stream.readline()
        except ValueError:  # longer than the limit; the rest of it is garbage too
            raw = b"?"
        if not raw:
            return
        if (line := read_line(raw)) is not None:
            yield line
            continue
        garbage += 1
        if garbage == 1:
            log.warning("retrain.garbage", text=printable(raw))


def read_line(raw: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a line of known form; None for any other line.

    A child may write NaN, which is no JSON. Half a character is refused, because nothing that
    holds one can be published or stored.
    """
    try:
        line = json.loads(raw.decode())
        if b"\\u" in raw:
            json.dumps(line, ensure_ascii=False).encode()
        if isinstance(line, dict) and (form := _FORMS.get(str(line.get("event")))):
            msgspec.convert(line, form)
    except (ValueError, RecursionError):  # msgspec's error is a ValueError too
        return None
    return line if isinstance(line, dict) else None


async def tail(stream: asyncio.StreamReader | None) -> str:
    """Read a stream to its end, keeping the last part."""
    kept = b""
    while stream is not None and (chunk := await stream.read(65536)):
        kept = (kept + chunk)[-_KEEP_STDERR:]
    return kept.decode(errors="replace")


def why_failed(code: int, stderr: str, report: ChildReport, limits: Limits) -> str:
    """Return one sentence that says why the child ended without a result."""
    error, kind = (report.failed.error, report.failed.kind) if report.failed else ("", "")
    if limits.memory_mib and _is_about_memory(f"{kind} {error} {stderr}"):
        remedy = "raise retrain.memory_mib, or train on less with history_days"
        return f"it ran out of its {limits.memory_mib} MiB of memory{report.place}; {remedy}"
    if report.failed:
        return error
    if code < 0:
        memory = "; the kernel does that when memory runs out" if code == -signal.SIGKILL else ""
        return f"the retrain process was killed by {_signal_name(-code)}{report.place}{memory}"
    mute = f"without a word; is {limits.interpreter} a Python? correct retrain.python if not"
    last = stderr.strip().rpartition("\n")[2] or mute
    return f"the retrain process ended with {code}{report.place}: {last}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a worker of a cluster may say anything
        return f"signal {number}"


def failure(code: int, stderr: str, report: ChildReport, limits: Limits) -> RetrainFailedError:
    """Return the error of a child that ended without a result."""
    why = why_failed(code, stderr, report, limits)
    if report.failed and report.failed.kind in _UNFIT and why == report.failed.error:
        return UnfitBars(why)
    return RetrainFailedError(why)


def _is_about_memory(words: str) -> bool:
    return any(word in words.lower() for word in _OUT_OF_MEMORY)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill the child and its workers and wait until the child is gone."""
    _kill_group(process.pid)
    await process.wait()
