"""What the kernel takes from a child, tried by a real one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.core import confined


@pytest.fixture
def house(tmp_path: Path) -> Path:
    if not confined.landlock_version():
        pytest.skip("this kernel has no Landlock")
    for name in ("data/keys", "data/jobs/one", "data/jobs/two", "data/models", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "data/keys/key").write_text("secret")
    (tmp_path / "data/password").write_text("secret")
    (tmp_path / "data/models/LATEST.json").write_text("live")
    (tmp_path / "elsewhere/to_the_key").symlink_to(tmp_path / "data/keys/key")
    return tmp_path


def says(house: Path, script: str) -> str:
    """Run a script of the shell in a confined process; return its output."""
    told = {
        "hidden": [str(house / "data/keys"), str(house / "data/password"), str(house / "gone")],
        "kept": [str(house / "data")],
        "writable": [str(house / "data/jobs/one")],
    }
    command = [sys.executable, "-I", confined.__file__, json.dumps(told), "sh", "-c", script]
    done = subprocess.run(command, cwd=house, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "script",
    [
        "cat data/keys/key",
        "cat data/password",
        "cat elsewhere/to_the_key",
        "ls data/keys",
        "cd data/keys && cat key",
        "ln data/keys/key data/jobs/one/key && cat data/jobs/one/key",
        "mv data/keys data/jobs/one/keys && cat data/jobs/one/keys/key",
        "sh -c 'sh -c \"cat data/keys/key\"'",
        f"{sys.executable} -c \"print(open('data/keys/key').read())\"",
    ],
)
def test_a_secret_is_read_by_no_way(house: Path, script: str) -> None:
    said = says(house, script)
    assert "secret" not in said
    assert "denied" in said or "cross-device" in said


@pytest.mark.parametrize(
    "script",
    [
        "echo x > data/models/LATEST.json",
        "rm data/models/LATEST.json",
        "echo x > data/jobs/two/numpy.py",
        "echo x > data/numpy.py",
        "mkdir data/new",
        "mv data/models data/jobs/one/models",
        "ln -s /bin/sh data/jobs/two/sh",
    ],
)
def test_nothing_else_in_the_data_folder_is_written(house: Path, script: str) -> None:
    before = sorted(map(str, house.rglob("*")))
    assert "denied" in says(house, script).lower()
    assert sorted(map(str, house.rglob("*"))) == before
    assert (house / "data/models/LATEST.json").read_text() == "live"


def test_its_own_folder_and_what_lies_elsewhere_are_as_before(house: Path) -> None:
    own = "cd data/jobs/one && echo x > made && mkdir -p a/b && mv made a/b && cat a/b/made"
    assert says(house, own) == "x\n"
    assert says(house, "cat data/models/LATEST.json; echo y > elsewhere/made") == "live"
    assert (house / "elsewhere/made").read_text() == "y\n"


def test_the_daemons_memory_and_environment_stay_closed(house: Path) -> None:
    assert "denied" in says(house, "cat /proc/$PPID/environ | head -c 1; cat /proc/$PPID/mem")


def test_without_landlock_the_program_starts_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confined, "landlock_version", lambda: 0)
    assert not confined.confine([tmp_path], [tmp_path], [])
    (tmp_path / "file").write_text("read")
    assert (tmp_path / "file").read_text() == "read"
