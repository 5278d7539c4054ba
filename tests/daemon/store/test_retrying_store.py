"""A disk that refuses for a while: what was to be written waits, is told of once, is written."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.core.bars import Bar, Provenance
from daemon.store.async_store import ThreadedStore
from daemon.store.database import StoreUnavailable
from daemon.store.folder_lock import folder_lock
from daemon.store.retrying_store import RetryingStore, SingleAttemptStore, until_available
from daemon.store.store import Store
from hyperdrift.errors import ConfigError
from hyperdrift.slot_name import SlotName
from tests.captured import capture_logs
from tests.daemon.powerless import without_roots_power
from tests.fakes import FakeClock

SLOT = SlotName("BTC", "5m")
LONG = {"text": "x" * 100_000}


class Remedy(FakeClock):
    """Somebody mends it after so many waits."""

    def __init__(self, waits: int, mend: Callable[[], object]) -> None:
        super().__init__()
        self._waits, self._mend = waits, mend

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        if len(self.slept) >= self._waits:
            self._mend()


def fill(store: Store) -> None:
    """Let no page be added any more: what SQLite sees of a full disk."""
    pages = store.database.read("PRAGMA page_count")[0][0]
    store.database.read(f"PRAGMA max_page_count = {pages}")


async def test_what_cannot_be_written_waits_for_room_and_is_told_of_once(tmp_path: Path) -> None:
    store, alarms = ThreadedStore(Store(tmp_path / "db")), list[str]()
    fill(store.store)
    clock = Remedy(6, lambda: store.store.database.read("PRAGMA max_page_count = 1000000"))
    retrying = RetryingStore(store, clock, alarms.append)
    with capture_logs() as logs:
        write = Store.append_journal
        await asyncio.gather(
            *(retrying.call(write, SLOT, n, "decision", LONG | {"n": n}) for n in range(3))
        )
    assert [entry["event"] for entry in logs] == ["store.unavailable", "store.back"]
    assert len(alarms) == 1
    assert "full" in alarms[0]
    assert "check disk space" in alarms[0]
    assert retrying.trouble == ""
    assert sorted(row.body["n"] for row in store.store.journal(SLOT)) == [0, 1, 2]
    retrying.close()


async def test_who_does_not_wait_is_refused_and_it_is_told_of_until_the_disk_takes_it(
    tmp_path: Path,
) -> None:
    store, alarms = ThreadedStore(Store(tmp_path / "db")), list[str]()
    clock = FakeClock()
    retrying = RetryingStore(store, clock, alarms.append)
    single, write = SingleAttemptStore(retrying), Store.append_journal
    bar = Bar(0, 1.0, 1.0, 1.0, 1.0, 1.0)
    await single.call(Store.put_bars, SLOT, [bar], Provenance.REST)
    fill(store.store)
    with capture_logs() as logs:
        for n in range(3):
            with pytest.raises(StoreUnavailable):
                await single.call(write, SLOT, n, "decision", LONG)
            await single.call(Store.newest_t, SLOT, Provenance.REST)  # reading goes on
            await single.call(write, SLOT, n, "decision", {})  # the last page has room
            await clock.sleep(2.0)
            # What is there already is not written again.
            await single.call(Store.put_bars, SLOT, [bar], Provenance.REST)
            assert "full" in retrying.trouble
            with pytest.raises(StoreUnavailable):
                await single.call(write, SLOT, n, "decision", LONG)
            await clock.sleep(2.0)
        store.store.database.read("PRAGMA max_page_count = 1000000")
        await single.call(write, SLOT, 3, "decision", LONG)
    assert [entry["event"] for entry in logs] == ["store.unavailable", "store.back"]
    assert len(alarms) == 1
    assert retrying.trouble == ""
    retrying.close()


async def test_a_start_waits_for_a_store_that_cannot_be_opened(tmp_path: Path) -> None:
    folder = tmp_path / "not there yet"
    with capture_logs() as logs:
        clock = Remedy(3, lambda: folder.mkdir(exist_ok=True))
        store = await until_available(lambda: Store(folder / "db"), clock)
    store.close()
    assert len(clock.slept) >= 3
    assert [entry["event"] for entry in logs] == ["store.unavailable", "store.back"]


LOCK = """
from pathlib import Path
from hyperdrift.errors import HyperdriftError
from daemon.store.folder_lock import folder_lock
try:
    with folder_lock(Path({path!r})):
        print("locked")
except HyperdriftError as e:
    print(type(e).__name__, e)
"""


def test_a_folder_that_cannot_be_written_any_more_is_waited_for_one_that_never_could_is_a_mistake(
    tmp_path: Path,
) -> None:
    before, never = tmp_path / "before", tmp_path / "never"
    with folder_lock(before):
        pass
    never.mkdir()
    for path in (before / "lock", before, never):
        path.chmod(0o555)
    assert without_roots_power(LOCK.format(path=str(before))).startswith("StoreUnavailable")
    said = without_roots_power(LOCK.format(path=str(never)))
    assert said.startswith("ConfigError daemon.data_dir")
    for path in (before, before / "lock"):
        path.chmod(0o755)
    assert without_roots_power(LOCK.format(path=str(before))) == "locked"


def test_a_folder_that_may_not_be_looked_into_is_a_mistake_that_names_the_key(
    tmp_path: Path,
) -> None:
    data, home = tmp_path / "home" / "data", tmp_path / "home"
    data.mkdir(parents=True)
    home.chmod(0)
    said = without_roots_power(LOCK.format(path=str(data)))
    home.chmod(0o755)
    assert said.startswith(f"ConfigError daemon.data_dir {data}: Permission denied; write a folder")


def test_a_folder_on_a_read_only_file_system_is_waited_for_only_if_it_was_used_before(
    tmp_path: Path,
) -> None:
    mount = ("mount", "-t", "tmpfs", "tmpfs", str(tmp_path))
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount")
    try:
        with folder_lock(tmp_path / "before"):
            pass
        subprocess.run(("mount", "-o", "remount,ro", str(tmp_path)), check=True)
        with pytest.raises(StoreUnavailable), folder_lock(tmp_path / "before"):
            pass
        with pytest.raises(ConfigError, match="ReadWritePaths"), folder_lock(tmp_path / "never"):
            pass
    finally:
        subprocess.run(("umount", str(tmp_path)), check=True)


OPEN = """
from pathlib import Path
from hyperdrift.errors import HyperdriftError
from daemon.store.store import Store
try:
    Store.open_or_rebuild(Path({path!r})).close()
    print("opened")
except HyperdriftError as e:
    print(type(e).__name__, e)
"""


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_a_store_that_is_not_ours_to_write_is_not_opened_before_it_is(
    tmp_path: Path, suffix: str
) -> None:
    path, part = tmp_path / "db", tmp_path / f"db{suffix}"
    Store(path).close()  # opened to read, SQLite would refuse every write until the next start
    part.touch()
    part.chmod(0o444)
    said = without_roots_power(OPEN.format(path=str(path)))
    assert said.startswith(f"StoreUnavailable the store {part} cannot be used (it is not this")
    part.chmod(0o644)
    assert without_roots_power(OPEN.format(path=str(path))) == "opened"


async def test_other_faults_are_not_waited_for() -> None:
    def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        await until_available(fail, FakeClock())


async def test_a_reader_that_was_refused_is_told_of_again_once_it_was_back(tmp_path: Path) -> None:
    Store(tmp_path / "db").close()
    reader, clock = ThreadedStore(Store(tmp_path / "db", read_only=True)), FakeClock()
    retrying = RetryingStore(reader, clock)
    refusals = 1

    def read(store: Store) -> int:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise StoreUnavailable("disk I/O error")
        return store.count(SLOT)

    with capture_logs() as logs:
        for _ in range(2):
            refusals = 1
            assert await retrying.call(read) == 0
    assert [entry["event"] for entry in logs] == ["store.unavailable", "store.back"] * 2
