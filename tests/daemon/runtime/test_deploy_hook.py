"""A person's command after a deploy: run it, and survive whatever it does."""

import sys
from pathlib import Path

from daemon.runtime.deploy_hook import run_hook


async def test_the_command_runs_with_its_arguments_and_without_a_shell(tmp_path: Path) -> None:
    target = tmp_path / "$HOME; restarted"
    code = "import pathlib, sys; pathlib.Path(sys.argv[1]).touch()"
    assert await run_hook([sys.executable, "-c", code, str(target)])
    assert target.exists()


async def test_a_command_that_fails_is_a_warning_and_no_exception() -> None:
    assert not await run_hook([sys.executable, "-c", "raise SystemExit(3)"])


async def test_a_command_that_does_not_exist_is_a_warning_and_no_exception() -> None:
    assert not await run_hook(["/nonexistent/restart-the-bot"])
