"""The man page and the completions of shells are made from the commands, and can be read."""

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.cli.options import slot_names
from docs.generate.man import COMPLETIONS, MAN, page, write


def test_the_man_page_names_every_command_file_and_exit_code() -> None:
    text = page("1.2.3").replace("\\-", "-")
    for word in ("hyperdrift journal", "hyperdrift models list", "--follow", "FILES", "NO_COLOR"):
        assert word in text
    assert ".B 3\n" in text
    assert '"hyperdrift 1.2.3"' in text


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_groff_has_nothing_to_say_about_the_man_page() -> None:
    command = ("groff", "-man", "-ww", "-Tutf8")
    run = subprocess.run(command, input=page("1").encode(), capture_output=True, check=True)
    assert run.stderr == b""
    assert b"Keep" in run.stdout or b"keep" in run.stdout


def test_a_package_gets_them_where_debian_has_them(tmp_path: Path) -> None:
    write(tmp_path, "1.2.3")
    assert gzip.decompress((tmp_path / MAN).read_bytes()).startswith(b".TH HYPERDRIFT 1")
    for path in COMPLETIONS.values():
        assert b"_HYPERDRIFT_COMPLETE" in (tmp_path / path).read_bytes()


def test_bash_completes_commands_and_slots_of_the_configuration(tmp_path: Path) -> None:
    write(tmp_path, "1")
    (tmp_path / "hyperdrift.toml").write_text('[[slots]]\ncoin = "SOL"\ninterval = "1h"\n')
    program = tmp_path / "hyperdrift"
    run = "import sys; from daemon.cli import main; sys.exit(main())"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{run}" "$@"\n')
    program.chmod(0o755)
    script = (
        f". {tmp_path / COMPLETIONS['bash']}\n"
        "COMP_WORDS=(hyperdrift jour); COMP_CWORD=1; _hyperdrift_completion hyperdrift\n"
        'echo "${COMPREPLY[@]}"\n'
        "COMP_WORDS=(hyperdrift journal --slot ''); COMP_CWORD=3\n"
        '_hyperdrift_completion hyperdrift; echo "${COMPREPLY[@]}"\n'
    )
    root = str(Path(__file__).parents[3])
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": root}
    done = subprocess.run(
        ("bash", "-c", script), cwd=tmp_path, env=os.environ | path, capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"journal\nSOL-1h\n", b"")


def test_slots_are_completed_from_any_configuration_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "hyperdrift.toml"
    file.write_text('[[slots]]\ncoin = "BTC"\n[[slots]]\ncoin = "ETH"\ninterval = "1h"\n')
    assert slot_names("") == ["BTC-5m", "ETH-1h"]
    assert slot_names("eth") == ["ETH-1h"]
    file.write_text(
        '[[slots]]\ncoin = ["BTC", "ETH"]\ninterval = ["5m", "1h"]\n[[slots]]\ncoin = "*"\n'
    )
    assert slot_names("B") == ["BTC-5m", "BTC-1h"]
    assert slot_names("*") == []
    for broken in ("slots = 3", "[[slots]]\n", "= x", 'slots = ["x"]'):
        file.write_text(broken)
        assert slot_names("BTC") == []
