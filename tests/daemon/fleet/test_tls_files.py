"""The files of TLS reach the process that may read none, as they are now."""

import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from daemon.core import confined
from daemon.core.subprocesses import Surroundings
from daemon.fleet.cluster_process import _security
from daemon.fleet.messages import TlsFiles
from daemon.fleet.tls_files import read_tls
from tests.daemon.secured import certify

FILES = Path("/proc/self/fd")
CONFINED = """
import sys
from daemon.fleet.tls_files import as_files
for path in sys.argv[1:]:
    try:
        open(path)
        print("the key was read")
    except PermissionError:
        pass
with as_files(sys.stdin.read()) as (path,):
    print(open(path).read(), end="")
"""


def made(folder: Path) -> tuple[str, ...]:
    certify(folder)
    return tuple(str(folder / name) for name in ("ca.crt", "broker.crt", "broker.key"))


def in_memory() -> list[str]:
    """Return which files this process has open that are in memory only."""
    links = []
    for number in FILES.iterdir():
        with suppress(FileNotFoundError):  # it was open to list them
            links.append(str(number.readlink()))
    return [link for link in links if link.startswith("/memfd:")]


def test_dask_connects_with_the_files_that_lie_there_now(tmp_path: Path) -> None:
    paths, before = made(tmp_path), in_memory()
    old = read_tls(paths)
    made(tmp_path)  # renewed
    for files in (old, read_tls(paths)):
        with _security(files) as security:
            assert security is not None
            assert len(in_memory()) > len(before)
            context = security.get_connection_args("client")["ssl_context"]
        (authority,) = context.get_ca_certs(binary_form=True)
        assert ssl.DER_cert_to_PEM_cert(authority) == files.authority
    assert old != files
    assert in_memory() == before


def test_a_process_that_may_not_read_the_key_uses_it(tmp_path: Path) -> None:
    if not confined.landlock_version():
        pytest.skip("this kernel has no Landlock")
    key = tmp_path / "key.pem"
    key.write_text("the key")
    rights = {"hidden": [str(tmp_path)], "kept": [], "writable": []}
    prefix = Surroundings({}, Path(), rights).prefix
    command = (*prefix, sys.executable, "-c", CONFINED, str(key))
    done = subprocess.run(command, input=b"the key", capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"the key", b"")


def test_files_that_cannot_be_used_are_named_with_the_reason(tmp_path: Path) -> None:
    authority, certificate, key = made(tmp_path)
    for content in (None, b"\xff\xfe", b"x" * (1 << 19)):
        Path(certificate).unlink()
        if content is not None:
            Path(certificate).write_bytes(content)
        files = read_tls((authority, certificate, key))
        assert certificate in files.why
        assert files == TlsFiles(why=files.why)
        with pytest.raises(OSError, match="broker"), _security(files):
            pass
        Path(certificate).touch()
