"""onnxruntime notes nothing of this machine for its maker, whoever of ours imports it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SELFTEST = ROOT / "retrain" / "forms" / "onnx_selftest.py"


@pytest.mark.parametrize(
    "code",
    [
        "from hyperdrift.loaded_model import preload; preload('onnx')",
        "import daemon.app",
        f"import runpy; runpy.run_path({str(SELFTEST)!r})",
    ],
)
def test_what_imports_onnxruntime_leaves_nothing_in_the_users_home(
    code: str, tmp_path: Path
) -> None:
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    paths = f"{ROOT}{os.pathsep}{ROOT / 'client'}"
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": paths}
    imported = f"{code}; import sys; assert 'onnxruntime' in sys.modules"
    subprocess.run((sys.executable, "-c", imported), env=kept | home, cwd=tmp_path, check=True)
    assert not list(tmp_path.iterdir())
