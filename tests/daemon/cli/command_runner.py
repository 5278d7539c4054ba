"""Run commands of hyperdrift, each in a process of its own, and give what each of them wrote.

`python -m tests.daemon.cli.command_runner` reads a JSON list of command lines from stdin. Each
runs in a fork of this process, which has imported what most commands need: twenty take seconds.
"""

import json
import os
import sys
import tempfile
import traceback
from importlib import import_module
from typing import Any

_HEAVY = (
    "daemon.admin.doctor",
    "daemon.admin.manual_deploy",
    "daemon.admin.status_text",
    "daemon.admin.status_view",
    "daemon.admin.version_view",
    "daemon.ingest.backfill_command",
    "daemon.scoring.feature_parity",
    "pandas",
    "sklearn.linear_model",
)


def run(words: list[str]) -> dict[str, Any]:
    """Run one command in a fork; return its exit code, stdout and stderr."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        if not (child := os.fork()):
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os._exit(_command(words))
        _, status = os.waitpid(child, 0)
        out.seek(0), err.seek(0)
        code = os.waitstatus_to_exitcode(status)
        return {"code": code, "out": out.read().decode(), "err": err.read().decode()}


def _command(words: list[str]) -> int:
    from daemon import cli

    sys.argv = ["hyperdrift", *words]
    code: object = 0
    try:
        cli.main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 - the test reads it
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run what stdin asks for."""
    for name in _HEAVY:
        import_module(name)
    json.dump([run(words) for words in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
