"""What docs/howto/dask-cluster.md says to make, write and run on its three hosts."""

import subprocess
from functools import cache
from pathlib import Path

from tests.docs.blocks import blocks

FIRST, *OTHERS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
_PAGE = "docs/howto/dask-cluster.md"


@cache
def block(word: str) -> str:
    """Return the code of the one block that has a word."""
    (found,) = (each.code for each in blocks() if each.page == _PAGE and word in each.code)
    return found


def make_certificates(folder: Path) -> None:
    """Make the authority and a certificate for each host in a folder."""
    script = ("bash", "-ec", block("openssl"))
    done = subprocess.run(script, cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def files(folder: Path, host: str) -> tuple[str, ...]:
    """Return the paths of a host's authority, certificate and key."""
    return tuple(str(folder / name) for name in ("ca.pem", f"{host}.pem", f"{host}.key"))


def environment(host: str) -> str:
    """Return the content of `dask.env` on a host."""
    text = block("LISTEN=")
    assert f"LISTEN={OTHERS[0]}\n" in text
    return text.replace(f"LISTEN={OTHERS[0]}", f"LISTEN={host}")


def start(host: str) -> str:
    """Return the command that starts what a host runs: of workers, the first."""
    scheduler, workers = block("systemctl").splitlines()
    command = scheduler if host == FIRST else workers
    return command.removeprefix("sudo ").replace("@{1..4}", "@1")
