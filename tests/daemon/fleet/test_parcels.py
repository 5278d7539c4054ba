"""What goes to a worker holds no path of this host; what comes back is looked at first."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from daemon.fleet.parcels import fault, pack, unpack
from retrain.artifact import read_champion
from retrain.forms import job_bars
from tests.daemon.versions import write_version

WANTED = ("candidate", "calibration.json")
BARS = {"t": np.array([300_000, 600_000]), "close": np.array([1.5, 2.5])}


def job_folder(folder: Path, **spec: Any) -> Path:
    folder.mkdir()
    job_bars.write(folder, BARS)
    (folder / "job.json").write_text(json.dumps({"slot": "BTC-5m", **spec}))
    return folder


def test_a_job_is_packed_without_paths_of_this_host(tmp_path: Path) -> None:
    here = {"python": "/opt/bot/python", "onnx_python": "/x", "fits": "/f", "computer_path": "/c"}
    files = pack(job_folder(tmp_path / "job", seed=3, champion=None, **here))
    assert json.loads(files["job.json"]) == {"slot": "BTC-5m", "seed": 3, "champion": None}
    assert files.keys() == {"bars.arrow", "job.json"}


def test_the_bars_travel_as_one_arrow_table_that_others_read_too(tmp_path: Path) -> None:
    files = pack(job_folder(tmp_path / "job"))
    table = pa.ipc.open_stream(files["bars.arrow"]).read_all()
    assert table.to_pydict() == {"t": [300_000, 600_000], "close": [1.5, 2.5]}


def test_bars_that_were_damaged_on_this_host_are_not_sent(tmp_path: Path) -> None:
    folder = job_folder(tmp_path / "job")
    (folder / "bars.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match=r"bars\.npz holds no arrays"):
        pack(folder)


def test_the_live_model_travels_with_what_a_retrain_reads_of_it(tmp_path: Path) -> None:
    live = write_version(tmp_path / "live", 1, portable=True)
    files = pack(job_folder(tmp_path / "job", champion=str(live)))
    there = tmp_path / "there"
    there.mkdir()
    unpack(there, files)
    named = json.loads((there / "job.json").read_text())["champion"]
    assert read_champion(there / named).model_id == json.loads(live.read_text())["model_id"]


def answer(**files: bytes) -> dict[str, Any]:
    named = {name.replace("__", "/"): content for name, content in files.items()}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in named.items()}
    return {"code": 0, "lines": [], "stderr": "", "files": named, "sha256": digests}


def test_an_honest_answer_is_written_into_the_folder(tmp_path: Path) -> None:
    honest = answer(candidate__a=b"1", candidate__b=b"2") | {"more": 1}
    assert fault(honest, WANTED) == ""
    unpack(tmp_path, honest["files"])
    assert (tmp_path / "candidate" / "b").read_bytes() == b"2"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("text", "its answer is str"),
        ({"code": "0"}, "no usable code"),
        ({"lines": [b"x"]}, "lines are no text"),
        ({"files": {"candidate/a": "text"}}, "files are no files"),
        ({"sha256": {"candidate/a": "0" * 64}}, "the digest of candidate/a does not fit"),
        ({"sha256": {}}, "the digest of candidate/a does not fit"),
        ({"files": {"candidate/../../keys/own": b"x"}}, "nobody asked for"),
        ({"files": {"/etc/passwd": b"x"}}, "nobody asked for"),
        ({"files": {"candidate/a/b": b"x"}}, "nobody asked for"),
        ({"files": {"job.json": b"{}"}}, "nobody asked for"),
        ({"code": 1 << 80}, "no usable code"),
        ({"lines": ["x" * 1000] * 200}, "printed too much"),
        ({"stderr": "x" * 200_000}, "printed too much"),
        ({"files": {f"candidate/{i}": b"" for i in range(101)}}, "too many"),
    ],
)
def test_garbage_is_told_from_an_answer(change: Any, why: str) -> None:
    given = change if isinstance(change, str) else answer(candidate__a=b"1") | change
    assert why in fault(given, WANTED)
