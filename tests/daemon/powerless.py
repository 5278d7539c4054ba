"""Run code as somebody whom the modes of files bind, also where the tests are root's."""

import os
import subprocess
import sys


def without_roots_power(code: str) -> str:
    """Run Python as a user whom file modes bind; return what it prints, on both channels."""
    powers = "-dac_override,-dac_read_search"
    bound = ("setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}", "--")
    command = (*(bound if os.geteuid() == 0 else ()), sys.executable, "-c", code)
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    ).stdout.strip()
