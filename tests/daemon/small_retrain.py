"""An interpreter for `retrain.python` whose retrains are small: for tests of what follows one."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def interpreter(folder: Path, python: str = sys.executable) -> str:
    """Write a command that stands in for an interpreter `python`; return its path."""
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nexec {python} {__file__} "$@"\n')
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
    if sys.argv[3:] == ["--serve"]:
        return child.serve()
    return child.main(Path(sys.argv[3]), challenge="--challenge" in sys.argv[4:])


if __name__ == "__main__":
    sys.exit(main())
