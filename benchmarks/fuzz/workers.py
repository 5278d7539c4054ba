"""Fuzz in several processes, so that a text that ends a process is found too.

A library written in C may end the whole process. So each process writes a text to a file before
its decoder gets it.
"""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.fuzz import campaign
from benchmarks.fuzz.campaign import FuzzCrash, FuzzedDecoder, FuzzTally
from benchmarks.fuzz.file_decoders import file_decoders
from benchmarks.fuzz.message_decoders import message_decoders
from benchmarks.fuzz.venue_decoders import venue_decoders
from benchmarks.fuzz.version_decoders import version_decoders

_SPAWN = multiprocessing.get_context("spawn")


def every_decoder(folder: Path) -> list[FuzzedDecoder]:
    """Return all decoders; those of files write below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        *venue_decoders(),
        *message_decoders(folder),
        *version_decoders(folder),
        *file_decoders(folder),
    ]


def fuzz_in_processes(
    folder: Path, tries: dict[str, int], seed: int, jobs: int
) -> tuple[dict[str, FuzzTally], list[FuzzCrash]]:
    """Fuzz the decoders that `tries` names, each so often, `jobs` processes at a time.

    Args:
        folder: For the files of the processes.
        tries: Name of a decoder -> how many texts it gets.
        seed: The same seed gives each decoder the same texts.
        jobs: How many processes work at a time; each has a part of the decoders.
    """
    parts = [list(tries)[number::jobs] for number in range(jobs)]
    work = partial(_part, tries=tries, seed=seed)
    with ThreadPoolExecutor(jobs) as pool:
        done = list(pool.map(work, [folder / str(n) for n in range(jobs)], parts))
    tallies = {name: tally for found, _ in done for name, tally in found.items()}
    return {name: tallies[name] for name in tries}, [c for _, found in done for c in found]


def _part(
    folder: Path, names: list[str], tries: dict[str, int], seed: int
) -> tuple[dict[str, FuzzTally], list[FuzzCrash]]:
    """Fuzz some decoders in a process of their own; go on after one that ended the process."""
    tallies: dict[str, FuzzTally] = {}
    crashes: list[FuzzCrash] = []
    while left := [name for name in names if name not in tallies]:
        ours, theirs = _SPAWN.Pipe(duplex=False)
        work = {name: tries[name] for name in left}
        place = folder / str(len(tallies))
        process = _SPAWN.Process(target=_work, args=(place, work, seed, theirs))
        process.start()
        theirs.close()
        with contextlib.suppress(EOFError):
            while True:
                name, tally, found = ours.recv()
                tallies[name] = tally
                crashes += found
        process.join()
        if still := [name for name in left if name not in tallies]:
            crashes.append(_ended(place, still[0], process.exitcode or 0, seed))
            tallies[still[0]] = FuzzTally(crashed=1)
    return tallies, crashes


def _work(folder: Path, tries: dict[str, int], seed: int, out: Connection) -> None:
    decoders = every_decoder(folder)
    others = [text for decoder in decoders for text in decoder.inputs]
    with (folder / "last").open("wb", buffering=0) as last:

        def kept(read: Callable[[bytes], bool], text: bytes) -> bool:
            last.seek(0)
            last.truncate()
            last.write(text)
            return read(text)

        for decoder in (one for one in decoders if one.name in tries):
            named = FuzzedDecoder(decoder.name, decoder.inputs, partial(kept, decoder.read))
            tally, crashes = campaign.fuzz(named, others, tries[decoder.name], seed)
            out.send((decoder.name, tally, crashes))


def _ended(folder: Path, name: str, code: int, seed: int) -> FuzzCrash:
    """Return the crash of a process that ended while it fuzzed a decoder."""
    why = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    text = (folder / "last").read_bytes() if (folder / "last").exists() else b""
    return FuzzCrash(name, seed, f"the process ended: {why}", text)
