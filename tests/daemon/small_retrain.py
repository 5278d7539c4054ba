"""An interpreter for `retrain.python` whose retrains are small: for tests of what follows one."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


NO_PAGE = "SMALL_RETRAIN_NO_PAGE"


def interpreter(folder: Path, python: str = sys.executable, *, page: bool = True) -> str:
    """Write a command that stands in for an interpreter `python`; return its path.

    Without `page` its retrains draw no report, which takes a third of their time.
    """
    script = folder / "python"
    environment = "" if page else f"export {NO_PAGE}=1\n"
    script.write_text(f'#!/bin/sh\n{environment}exec {python} {__file__} "$@"\n')
    script.chmod(0o755)
    return str(script)


def main() -> int:
    if sys.argv[1:3] != ["-m", "retrain"]:
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
    sys.path.insert(0, str(ROOT))
    from retrain import __main__ as child
    from retrain import pipeline
    from tests.retrain.planted import SMALL

    whole: Any = pipeline.run
    pipeline.run = lambda job, *rest: whole(replace(job, recipe=SMALL), *rest)
    if NO_PAGE in os.environ:
        undrawn: Any = pipeline
        undrawn.draw = undrawn._findings = lambda *_, **__: {}
        undrawn.render = lambda *_: pipeline.NO_REPORT
    if sys.argv[3:] == ["--serve"]:
        return child.serve()
    return child.main(Path(sys.argv[3]), challenge="--challenge" in sys.argv[4:])


if __name__ == "__main__":
    sys.exit(main())
