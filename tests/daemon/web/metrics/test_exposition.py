import asyncio
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_text

from daemon.web.metrics.catalogue import ENTRIES
from daemon.web.metrics.exposition import Exporter
from daemon.web.metrics.families import DaemonReading
from daemon.web.metrics.loop_delay import LoopDelay
from tests.daemon.web.metrics.readings import busy_tally, reading
from tests.fakes import FakeClock

OPEN = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def exporter(folder: Path, *slots: str, now: DaemonReading | None = None) -> Exporter:
    store = folder / "store.db"
    store.write_bytes(b"x" * 100)
    found = now or reading(*slots)
    return Exporter(lambda: found, store, busy_tally(*slots), LoopDelay(FakeClock()))


async def test_a_scrape_is_text_unless_open_metrics_is_asked_for(tmp_path: Path) -> None:
    page = exporter(tmp_path, "BTC-5m")
    text, kind = await page.scrape("text/plain")
    assert kind.startswith("text/plain; version=0.0.4")
    assert b"# EOF" not in text
    opened, kind = await page.scrape(OPEN)
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert opened.endswith(b"# EOF\n")
    assert b'hyperdrift_phase{hyperdrift_phase="retraining",slot="BTC-5m"} 1.0' in opened
    assert b"# TYPE hyperdrift_phase stateset" in opened


@pytest.mark.parametrize("accept", ["text/plain", OPEN])
async def test_both_forms_can_be_read_and_have_every_metric_of_the_catalogue(
    tmp_path: Path, accept: str
) -> None:
    body, _ = await exporter(tmp_path, "BTC-5m", "ETH-5m").scrape(accept)
    parse = parse_open if accept is OPEN else parse_text
    families = list(parse(body.decode()))
    shown = {sample.name for family in families for sample in family.samples}
    wanted = {e.name + ("_bucket" if e.kind == "histogram" else "") for e in ENTRIES}
    assert wanted <= shown
    assert not any(name.endswith("_created") for name in shown)
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total"} <= shown


async def test_the_size_of_the_store_includes_its_log(tmp_path: Path) -> None:
    page = exporter(tmp_path, "BTC-5m")
    (tmp_path / "store.db-wal").write_bytes(b"y" * 23)
    body, _ = await page.scrape()
    assert b"\nhyperdrift_store_size_bytes 123.0\n" in body


async def test_a_folder_that_is_gone_leaves_the_disk_out_and_the_rest_in(tmp_path: Path) -> None:
    page = exporter(tmp_path, "BTC-5m")
    shutil.rmtree(tmp_path)
    body, _ = await page.scrape()
    assert b"hyperdrift_disk_free_bytes" not in body
    assert b"hyperdrift_ready 1.0" in body


async def test_promtool_finds_nothing_to_say_about_a_scrape(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    body, _ = await exporter(tmp_path, "BTC-5m").scrape()
    done = await asyncio.to_thread(
        subprocess.run, [promtool, "check", "metrics"], input=body, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


async def test_a_scrape_of_200_slots_is_made_in_a_thread(tmp_path: Path) -> None:
    slots = [f"C{number}-5m" for number in range(200)]
    found, held = reading(*slots), threading.get_ident()
    where: list[int] = []

    class Store(type(tmp_path)):  # type: ignore[misc]
        """Notes which thread looks at the disk."""

        @property
        def parent(self) -> Path:
            where.append(threading.get_ident())
            return Path(super().parent)

    page = Exporter(
        lambda: found, Store(tmp_path / "store.db"), busy_tally(*slots), LoopDelay(FakeClock())
    )
    body, _ = await page.scrape(OPEN)
    assert where
    assert held not in where
    assert body.count(b"\n") > 10_000


async def test_the_delay_of_the_event_loop_is_how_late_a_sleep_ends() -> None:
    clock = FakeClock()
    delay = LoopDelay(clock)
    task = asyncio.create_task(delay.run())
    await asyncio.sleep(0)
    clock.ms += 200  # something held the loop
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    total = next(s.value for f in delay.collect() for s in f.samples if s.name.endswith("_sum"))
    assert total == pytest.approx(0.2)
