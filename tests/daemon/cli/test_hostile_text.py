"""What others wrote reaches the terminal of no command as a terminal would obey it."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from tests.daemon.brokers import Embedded, connection

HOSTILE = "x\x1b]0;title\x07\x9b2J\u202e\nBTC-5m: live"
SHOWN = r"x\x1b]0;title\x07\x9b2J\u202e\nBTC-5m: live"
BOT = {"bot_id": HOSTILE, "online": True, "model_id": HOSTILE, "waiting_for": HOSTILE}
STATE: dict[str, Any] = {
    **dict.fromkeys(("phase", "model_id", "waiting_for", "trouble", "labels"), HOSTILE),
    **dict.fromkeys(("win_rate", "retrain", "mismatch", "probation"), None),
    "model_age_s": 1,
    "trades": 0,
    "drift": {HOSTILE: 0.1},
    "last_bar_t": 0,
    "lag_ms": 1,
    "pnl_7d": 0.0,
    "bots": [{**BOT, "silent_since_ms": None}],
}


async def said(*words: str) -> str:
    run = "import sys; from daemon.cli import main; sys.exit(main())"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", run, *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return (await process.communicate())[0].decode()


async def test_commands_show_hostile_names_as_text(tmp_path: Path) -> None:
    broker = Embedded(tmp_path)
    await broker.start()
    try:
        async with connection(broker.url) as bus:
            whole = {"state": "online", "version": HOSTILE, "slots": ["BTC-5m"], "since_ms": 0}
            bus.publish("hyperdrift/status", {**whole, "trouble": HOSTILE}, retain=True)
            bus.publish("hyperdrift/BTC-5m/state", STATE, retain=True)
            await bus.flush()
            config, table = tmp_path / "h.toml", tmp_path / "bad\x1b[2J.csv"
            mqtt = f'[mqtt]\nbroker = "{broker.url}"\n'
            config.write_text(f'[daemon]\ndata_dir = "{tmp_path}/data"\n{mqtt}')
            table.write_text("a\x1b[2J,b\u202e\n1,2\n")
            named = ("--config", str(config))
            status, refused = await asyncio.gather(
                said("status", *named), said("import", str(table), "--coin", "BTC", *named)
            )
    finally:
        await broker.stop()
    assert "Traceback" not in status + refused
    assert (status + refused).replace("\n", "").isprintable()
    assert status.count(SHOWN) >= 9
    assert "BTC-5m: live" not in status.splitlines()
    assert r"bad\x1b[2J.csv" in refused
