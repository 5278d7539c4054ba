"""The readers of files that people write: configuration, trades, imports, fault scripts."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import lz4.frame

from benchmarks.fuzz.campaign import FuzzedDecoder
from daemon.config import loader
from daemon.demo.fault_script import read_script
from daemon.ingest.importer import import_files
from daemon.mqtt.messages import encode
from daemon.store.store import Store
from daemon.trade_files.trade_counts import described
from daemon.trade_files.trade_file import TradeFile
from hyperdrift.slot_name import SlotName

_SLOT: Final = SlotName("BTC", "5m")
_T: Final = 1_760_000_100_000
_NOW_MS: Final = _T + 10**9
_CONFIG: Final = b"""
[daemon]
data_dir = "/var/lib/hyperdrift"
[[slots]]
coin = "BTC"
interval = "5m"
horizon_bars = 12
threshold = 0.005
history_days = 180
[[slots]]
coin = "ETH"
interval = "24h"
threshold = "vol:0.8"
[hyperliquid]
network = "mainnet"
speed = 1.0
weight_per_minute = 1000
[mqtt]
broker = "mqtt://user@127.0.0.1:1883"
prefix = "hyperdrift"
[trades]
file = "/tmp/trades.csv"
columns = { trade_id = "id" }
[retrain]
nice = 10
timeout_s = 3600
[gates]
test_accuracy = 0.55
[policy]
max_age_days = 7
[swap]
on_deploy = ["systemctl", "restart", "bot.service"]
[web]
listen = "127.0.0.1:8377"
"""
_VARIABLES: Final = (
    b"HYPERDRIFT_MQTT__PREFIX=other",
    b'HYPERDRIFT_DAEMON__DATA_DIR="/data"',
    b"HYPERDRIFT_RETRAIN__NICE=5",
    b'HYPERDRIFT_SWAP__ON_DEPLOY=["a", "b"]',
)
_SCRIPT: Final = b"""
[[faults]]
kind = "bad_bar"
coin = "BTC"
numbers = "nan"
where = "stream"
at_ms = 60000
for_ms = 300000
[[faults]]
kind = "http_error"
status = 502
at_wall_s = 1.5
for_wall_s = 2
"""
_CSV_TRADES: Final = (
    b"""trade_id,side,opened_ms,closed_ms,pnl,coin
1,buy,1760000000000,1760000600000,1.5,BTC
"2",short,2025-10-10T03:04:05Z,2025-10-10T03:14:05Z,-0.25,BTC
""",
    b"trade_id;side;opened_ms;closed_ms;pnl\n7;sell;1760000000;1760000600;-1,5\n",
    b"""time,coin,dir,px,sz,ntl,fee,closedPnl
29/09/2025 - 08:20:00,BTC,Close Long,101,1,101,0.1,0.9
29/09/2025 - 08:10:00,BTC,Open Long,100,1,100,0.1,-0.1
""",
)
_TRADE: Final = (
    b'{"trade_id":"1","side":"buy","opened_ms":%d,"closed_ms":%d,"pnl":1.5,"coin":"BTC"}'
)
_FILL: Final = (
    b'{"coin":"BTC","px":"61000.5","sz":"0.01","side":"%b","time":%d,"dir":"%b","closedPnl":"%b",'
    b'"hash":"0x1","oid":7,"fee":"0.1","tid":%d,"startPosition":"%b","crossed":true}'
)
_CLOSED: Final = _TRADE % (_T - 600_000, _T)
_FILLS: Final = (
    _FILL % (b"B", _T - 600_000, b"Open Long", b"0.0", 1, b"0.0"),
    _FILL % (b"A", _T, b"Close Long", b"12.5", 2, b"0.01"),
)
_JSON_TRADES: Final = (
    _CLOSED + b"\n" + _TRADE % (_T // 1000 - 900, _T // 1000) + b"\n",
    b"[%b, %b]" % (_CLOSED, _TRADE % (1000 * _T - 10**9, 1000 * _T)),
    b"[" + b",".join(_FILLS) + b"]",
    b'{"channel":"userFills","data":{"user":"0x1","fills":[' + b",".join(_FILLS) + b"]}}",
    b'{"trades": [{"trade_id":1,"pair":"BTC/USDC:USDC","open_timestamp":%d,"close_timestamp":%d,'
    b'"profit_abs":1.5,"is_open":false,"is_short":true}]}' % (_T - 600_000, _T),
)
_ROWS: Final = tuple((_T + 300_000 * k, 7 + k) for k in range(6))
_CELLS: Final = tuple(b"%d,100.5,101.25,99.5,100,%d" % row for row in _ROWS)
_CSV_BARS: Final = (
    b"\n".join((b"t,open,high,low,close,volume", *_CELLS, b"")),
    b"\n".join((b"https://www.example.com", b"unix,open,high,low,close,volume", *_CELLS[::-1])),
    b"\n".join(b"%b,1,1.0,5,0.1,0.1,0" % cells for cells in _CELLS),
    b"date;open;high;low;close;volume\n"
    + b"".join(b"2025-10-09 00:%02d:00;100,5;101,25;99,5;100;7\n" % (5 * k) for k in range(6)),
)
_CANDLE: Final = (
    b'{"t":%d,"T":0,"s":"BTC","i":"5m","o":"100.5","h":"101","l":"99.5","c":"100","v":"%d","n":3}'
)
_JSON_BARS: Final = (
    b"[" + b",".join(_CANDLE % r for r in _ROWS) + b"]",
    b"[" + b",".join(b"[%d,100.5,101.25,99.5,100,%d]" % r for r in _ROWS) + b"]",
    b'{"columns":["t","open","high","low","close","volume"],"data":['
    + b",".join(b"[%d,100.5,101.25,99.5,100,%d]" % r for r in _ROWS)
    + b"]}",
)
_BAR_LINES: Final = (
    b"\n".join(_CANDLE % r for r in _ROWS) + b"\n",
    b"\n".join(b'{"channel":"candle","data":%b}' % (_CANDLE % r) for r in _ROWS),
)
_HOURS: Final = tuple(1_759_968_000_000 + 3_600_000 * k for k in range(6))
_RATES: Final = (b"time,fundingRate\n" + b"".join(b"%d,0.0000125\n" % t for t in _HOURS),)
_JSON_RATES: Final = (
    b"["
    + b",".join(b'{"coin":"BTC","fundingRate":"0.0000125","time":%d}' % t for t in _HOURS)
    + b"]",
)


def _iso(ms: int) -> bytes:
    """Return a time as the archive writes it."""
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}".encode()


_SIDES: Final = b'[{"user":"0xA","oid":%d},{"user":"0xB","oid":%d}]'
_ARCHIVED: Final = tuple(
    (k, _FILL % (b"B", _T + 30_000 * k, b"Open Long", b"0.0", k + 1, b"0")) for k in range(24)
)
_BLOCK: Final = b'{"block_time":"%b.123456789","events":[["0xA",%b]]}'
_TRADED: Final = b'{"coin":"BTC","side":"B","time":%d,"px":"60000.5","sz":"0.1","side_info":%b}'
_ARCHIVES: Final = (
    b"\n".join(_BLOCK % (_iso(_T + 30_000 * k), fill) for k, fill in _ARCHIVED),
    b"\n".join(b'["0xA",%b]' % fill for _, fill in _ARCHIVED),
    b"\n".join(_TRADED % (_T + 30_000 * k, _SIDES % (2 * k, 2 * k + 1)) for k in range(24)),
)


def file_decoders(folder: Path) -> list[FuzzedDecoder]:
    """Return the decoders; each writes its text to a file in `folder` first."""
    toml = folder / "hyperdrift.toml"
    return [
        FuzzedDecoder("configuration", (_CONFIG,), _file(toml, _configured), 0.5),
        FuzzedDecoder("environment", _VARIABLES, _variable, 0.5),
        FuzzedDecoder("fault script", (_SCRIPT,), _file(folder / "faults.toml", _script)),
        FuzzedDecoder("trades.csv", _CSV_TRADES, _file(folder / "trades.csv", _trades)),
        FuzzedDecoder("trades.json", _JSON_TRADES, _file(folder / "trades.json", _trades)),
        _imported("5m.csv", _CSV_BARS, folder, "bars"),
        _imported("5m.json", _JSON_BARS, folder, "bars"),
        _imported("5m.jsonl", _BAR_LINES, folder, "bars"),
        _imported("archive.lz4", _ARCHIVES, folder, "bars", lz4.frame.compress),
        _imported("funding.csv", _RATES, folder, "funding"),
        _imported("funding.json", _JSON_RATES, folder, "funding"),
    ]


def _file(path: Path, read: Callable[[Path], bool]) -> Callable[[bytes], bool]:
    def from_file(text: bytes) -> bool:
        path.write_bytes(text)
        return read(path)

    return from_file


def _configured(path: Path) -> bool:
    return len(loader.load(path, {}).slots) > 0


def _variable(text: bytes) -> bool:
    # As `os.environ` decodes what a shell sets.
    name, _, value = text.decode("utf-8", errors="surrogateescape").partition("=")
    return len(loader.load(Path("/dev/null"), {name: value}).slots) > 0


def _script(path: Path) -> bool:
    return len(read_script(path)) > 0


def _trades(path: Path) -> bool:
    file = TradeFile(path, {}, now_ms=lambda: _NOW_MS)
    taken = []
    try:
        while (found := file.new()) is not None:
            taken += found
    finally:
        file.close()
    assert described(file.counts.state()).isprintable()
    for trade in taken:
        encode({"trade_id": trade.trade_id, "side": trade.side, "pnl": trade.pnl})
    return bool(taken)


def _imported(
    name: str,
    inputs: tuple[bytes, ...],
    folder: Path,
    kind: str,
    packed: Callable[[bytes], bytes] = bytes,
) -> FuzzedDecoder:
    store, path = Store(":memory:"), folder / f"BTC-{name}"

    def take(path: Path) -> bool:
        reports = import_files(store, _SLOT, [path], kind, now_ms=_NOW_MS)
        return bool([str(report) for report in reports])

    from_file = _file(path, take)
    return FuzzedDecoder(name, inputs, lambda text: from_file(packed(text)), 0.02)
