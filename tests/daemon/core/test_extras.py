"""An installation without the extras runs the service, and says what a command lacks."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WITHOUT = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"pyarrow", "matplotlib", "distributed", "dask"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Without())
import importlib.util
real = importlib.util.find_spec
def found(name, package=None):
    return None if name in {"pyarrow", "matplotlib", "distributed"} else real(name, package)
importlib.util.find_spec = found
"""


def without_extras(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-c", WITHOUT + code),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_service_and_its_retrain_need_no_extra() -> None:
    done = without_extras(
        "import daemon.app, retrain.__main__, retrain.reporting.plots as plots\n"
        "assert plots.draw({}) == {}"
    )
    assert done.returncode == 0, done.stderr


def test_the_daemon_starts_without_the_libraries_of_a_retrain() -> None:
    dear = {"sklearn", "pandas", "scipy.stats", "scipy.optimize", "pyarrow", "matplotlib"}
    code = f"import sys, daemon.app\nprint(*{dear} & set(sys.modules))"
    done = subprocess.run(
        (sys.executable, "-c", code), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("import {file} --coin BTC --interval 5m", "reading bars.csv needs pyarrow"),
        ("backtest --coin BTC", "the report of a backtest needs matplotlib"),
    ],
)
def test_a_command_that_needs_one_says_in_one_line_how_to_install_it(
    command: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "bars.csv").write_text("t,open,high,low,close,volume\n")
    config = tmp_path / "hyperdrift.toml"
    config.write_text(f'[daemon]\ndata_dir = "{tmp_path}/data"\n')
    words = [*command.format(file=tmp_path / "bars.csv").split(), "--config", str(config)]
    done = without_extras(
        f"from daemon import cli\nsys.argv = ['hyperdrift', *{words!r}]\ncli.main()"
    )
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "sudo dpkg-reconfigure hyperdrift" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_lists_of_an_installation_agree() -> None:
    whole, service = (_pins(name) for name in ("requirements.txt", "requirements-service.txt"))
    assert service.items() <= whole.items()
    assert {"pyarrow", "matplotlib"} <= whole.keys() - service.keys()
    fleet = _pins("requirements-fleet.txt")
    assert whole.items() <= fleet.items()
    assert {"dask", "distributed"} <= fleet.keys() - whole.keys()


def _pins(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text()
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))
