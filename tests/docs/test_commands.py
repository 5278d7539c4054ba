"""The commands in README and docs that need neither venue nor daemon are run, in a new folder."""

import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from daemon.demo.market import generate
from tests.docs.blocks import ROOT, blocks, commands

SAFE = (
    ("import",),
    ("labels",),
    ("keygen",),
    ("models", "list"),
    ("bars", "gaps"),
    ("bars", "sources"),
    ("bars", "export"),
    ("bars", "backup"),
)
START_MS = 1_772_323_200_000  # 2026-03-01


def chosen() -> list[list[str]]:
    """Return the command lines that are run, each once, imports first."""
    found: dict[tuple[str, ...], None] = {}
    for block in blocks():
        for command in commands(block) if block.language == "sh" else ():
            is_safe = any(command.words[: len(each)] == each for each in SAFE)
            if command.program == "hyperdrift" and is_safe and "*.lz4" not in command.words:
                found[command.words] = None
    return [list(words) for words in sorted(found, key=lambda words: words[0] != "import")]


def files(folder: Path) -> None:
    """Write each file that a page names."""
    market = generate(6000, 300_000, 7, start_ms=START_MS)
    columns = ("t", "open", "high", "low", "close", "volume")
    bars = pd.DataFrame({name: getattr(market, name) for name in columns})
    bars.to_parquet(folder / "BTC-5m.parquet")
    bars.to_feather(folder / "BTC-5m.feather")
    bars.rename(columns={"t": "date"}).to_feather(folder / "BTC_USDC_USDC-5m-futures.feather")
    with (folder / "BTC-funding.csv").open("w", newline="") as file:
        hours = START_MS + 3_600_000 * np.arange(400)
        csv.writer(file).writerows([("time", "fundingRate"), *((int(t), 1.25e-5) for t in hours)])
    minutes = generate(600, 60_000, 7, start_ms=START_MS)
    rows = zip(*(getattr(minutes, name).tolist() for name in columns), strict=True)
    lines = [
        f"{int(t)},{','.join(f'{x:.4f}' for x in row)},{int(t) + 59_999},1,1,1,1,0"
        for t, *row in rows
    ]
    with zipfile.ZipFile(folder / "BTCUSDT-1m-2026-03.zip", "w") as archive:
        archive.writestr("BTCUSDT-1m-2026-03.csv", "\n".join(lines))


def test_each_command_that_is_safe_to_run_ends_well(tmp_path: Path) -> None:
    files(tmp_path)
    (tmp_path / "hyperdrift.toml").write_text(
        f'[daemon]\ndata_dir = "{tmp_path / "data"}"\n[[slots]]\ncoin = "BTC"\ninterval = "5m"\n'
    )
    (tmp_path / "data").mkdir(mode=0o700)
    lines = [[word.replace("/backup", str(tmp_path)) for word in words] for words in chosen()]
    lines = [[word.replace("~", str(tmp_path)) for word in words] for words in lines]
    for words in lines:
        if words[:2] == ["bars", "export"]:
            words[2] = str(tmp_path / "out" / words[2])
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.daemon.cli.command_runner"],
        input=json.dumps(lines),
        cwd=tmp_path,
        env={
            "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}",
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    wrong = {
        " ".join(words): (answer["code"], answer["out"][-300:], answer["err"][-600:])
        for words, answer in zip(lines, answers, strict=True)
        if answer["code"] or "Traceback" in answer["err"]
    }
    assert wrong == {}
    assert len(lines) >= 9
