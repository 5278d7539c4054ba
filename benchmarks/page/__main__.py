"""Measure the status page: bytes and time of an answer, how long the loop is held, memory.

    python -m benchmarks.page --slots 4,50,200 --readers 20 --seconds 60 --json
    python -m benchmarks.page --slots 4 --seconds 864 --hurry 100      # a day of open pages

A process of its own serves made-up slots that change once a second. `readers` keep the first page
open all the time, and each page is asked for again and again. The peer, in the same run, is an
aiohttp server that answers the first page's bytes as a constant.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web

from tests.ports import free_port

WARM = 5


@contextlib.asynccontextmanager
async def served(slots: int, hurry: float) -> AsyncIterator[str]:
    port = free_port()
    command = (sys.executable, "-m", "benchmarks.page.server")
    process = await asyncio.create_subprocess_exec(
        *(*command, "--slots", str(slots), "--port", str(port), "--hurry", str(hurry))
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession() as client:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with client.get(f"{url}/healthz"):
                        break
                await asyncio.sleep(0.1)
        yield url
    finally:
        process.terminate()
        await process.wait()


async def keep_open(url: str, pushes: list[int]) -> None:
    """Show the first page as a browser does, until cancelled; count what is pushed to it."""
    endless, path = aiohttp.ClientTimeout(total=None), "/live?topics=overview,journal"
    async with aiohttp.ClientSession(timeout=endless) as client, client.get(url + path) as news:
        async for line in news.content:
            pushes[0] += line == b"event: overview\n"


async def asked(client: aiohttp.ClientSession, url: str) -> tuple[float, bytes]:
    began = time.perf_counter()
    async with client.get(url) as answer:
        body = await answer.read()
        assert answer.status == 200, (url, answer.status, body[:300])
    return (time.perf_counter() - began) * 1000, body


def figures(taken: list[float], body: bytes) -> dict[str, Any]:
    taken = sorted(taken[WARM:] or taken)
    p99 = taken[min(len(taken) - 1, int(len(taken) * 0.99))]
    return {
        "ms_p50": round(statistics.median(taken), 2),
        "ms_p99": round(p99, 2),
        "bytes": len(body),
    }


async def constant(body: bytes, count: int) -> dict[str, Any]:
    """Return the figures of a server that answers `body` without any work."""
    app, port = web.Application(), free_port()

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body)

    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with aiohttp.ClientSession() as client:
        taken = [(await asked(client, f"http://127.0.0.1:{port}/"))[0] for _ in range(count)]
    await runner.cleanup()
    return figures(taken, body)


async def measure(slots: int, readers: int, seconds: float, hurry: float) -> dict[str, Any]:
    async with served(slots, hurry) as url, asyncio.TaskGroup() as tasks:
        pushes = [0]
        open_pages = [tasks.create_task(keep_open(url, pushes)) for _ in range(readers)]
        async with aiohttp.ClientSession() as client:
            first = json.loads((await asked(client, f"{url}/api/v1/overview"))[1])
            slot = first["slots"][0]["slot"]
            paths = ("/", f"/slots/{slot}", "/feed", "/journal", "/api/v1/overview")
            taken: dict[str, list[float]] = {path: [] for path in paths}
            bodies: dict[str, bytes] = {}
            memory, held = [], []
            ends = time.monotonic() + seconds
            while time.monotonic() < ends or len(taken["/"]) <= WARM:
                for path in paths:
                    ms, bodies[path] = await asked(client, url + path)
                    taken[path].append(ms)
                burden = json.loads((await asked(client, f"{url}/burden"))[1])
                memory.append(burden["rss_mib"])
                held.append(burden["held_ms"])
                await asyncio.sleep(0.1)
            assets = [
                len((await asked(client, f"{url}/static/{name}"))[1])
                for name in ("page.css", "live.js", "favicon.svg")
            ]
        for page in open_pages:
            page.cancel()
    third = max(1, len(memory) // 3)
    return {
        "slots": slots,
        "pages": {path: figures(taken[path], bodies[path]) for path in paths},
        "first_page_with_assets_bytes": len(bodies["/"]) + sum(assets),
        "constant": await constant(bodies["/"], 200),
        "loop_held_ms": round(max(held[WARM:] or held), 1),
        "pushes_to_a_page": round(pushes[0] / max(1, readers)),
        "answers": sum(map(len, taken.values())),
        "rss_mib_first_third": round(statistics.mean(memory[:third]), 1),
        "rss_mib_last_third": round(statistics.mean(memory[-third:]), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", default="4,50,200")
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--hurry", type=float, default=1, help="Seconds of the page in a second.")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for slots in map(int, options.slots.split(",")):
        found = asyncio.run(measure(slots, options.readers, options.seconds, options.hurry))
        if options.json:
            print(json.dumps(found))
            continue
        news = f"{options.readers} pages open, {found['pushes_to_a_page']} pushes to each"
        print(f"{slots} slots, {found['answers']} answers, {news}")
        for path, one in found["pages"].items():
            print(f"  {path:24} {one['ms_p50']:7} ms, p99 {one['ms_p99']:7}, {one['bytes']} bytes")
        print(f"  {'a constant':24} {found['constant']['ms_p50']:7} ms")
        print(f"  with its assets {found['first_page_with_assets_bytes']} bytes")
        memory = f"{found['rss_mib_first_third']} then {found['rss_mib_last_third']} MiB"
        print(f"  loop held {found['loop_held_ms']} ms at most, memory {memory}")


if __name__ == "__main__":
    main()
