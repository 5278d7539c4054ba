"""Run a user's command after a deploy, for a bot that must be restarted."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import structlog

log = structlog.get_logger()

_TIMEOUT_S: Final = 60.0
_KEEP: Final = 500


async def run_hook(command: Sequence[str]) -> bool:
    """Run `command` without a shell, log the result and return whether it succeeded.

    It raises nothing. A failure is a warning only, because the model is live anyway.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as e:
        log.warning("on_deploy.failed", command=list(command), why=str(e))
        return False
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            output, _ = await process.communicate()
    except TimeoutError:
        log.warning("on_deploy.failed", command=list(command), why=f"not done in {_TIMEOUT_S:g} s")
        return False
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    said = output[-_KEEP:].decode(errors="replace").strip()
    if process.returncode:
        log.warning("on_deploy.failed", command=list(command), code=process.returncode, said=said)
        return False
    log.info("on_deploy.done", command=list(command))
    return True
