"""Hosts of a small network on this machine: a network namespace each, behind one bridge.

Needs root and iproute2; `why_not` says what is missing. Nothing of the machine's own network is
touched, and all of it goes with the namespaces.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_NETWORK = "10.0.0"  # as docs/howto/dask-cluster.md has it


def why_not() -> str:
    """Say why no such network can be made here; empty if one can."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "only root with iproute2 can make network namespaces"
    probe = f"hyperdrift-probe-{os.getpid()}"
    made = subprocess.run(("ip", "netns", "add", probe), check=False, capture_output=True)
    subprocess.run(("ip", "netns", "del", probe), check=False, capture_output=True)
    return "" if made.returncode == 0 else "network namespaces are not allowed here"


class NetworkHost:
    """A namespace with one address, and a cable from it to a port of the bridge."""

    def __init__(self, namespace: str, address: str, switch: str, port: str) -> None:
        self.namespace, self.address = namespace, address
        self._switch, self._port = switch, port

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command that runs there."""
        return ("ip", "netns", "exec", self.namespace)

    def connect(self) -> None:
        """Lay the cable, and plug it in."""
        peer = ("peer", "name", "eth0", "netns", self.namespace)
        _ip("-n", self._switch, "link", "add", self._port, "type", "veth", *peer)
        self.plug()
        _ip("-n", self.namespace, "address", "add", f"{self.address}/24", "dev", "eth0")
        for link in ("eth0", "lo"):
            _ip("-n", self.namespace, "link", "set", link, "up")

    def plug(self) -> None:
        """Put the cable into the bridge."""
        _ip("-n", self._switch, "link", "set", self._port, "master", "br0", "up")

    def unplug(self) -> None:
        """Pull the cable out of the bridge: nobody is told, packets just do not arrive."""
        _ip("-n", self._switch, "link", "set", self._port, "down")


@contextmanager
def network(names: Sequence[str]) -> Iterator[dict[str, NetworkHost]]:
    """Yield a host for each name; each reaches all others."""
    tag = f"hd{os.getpid()}"
    switch = f"{tag}-switch"
    made = [switch]
    try:
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", switch, "link", "set", "br0", "up")
        hosts = {}
        for number, name in enumerate(names, start=1):
            host = NetworkHost(f"{tag}-{name}", f"{_NETWORK}.{number}", switch, f"p{number}")
            _ip("netns", "add", host.namespace)
            made.append(host.namespace)
            host.connect()
            hosts[name] = host
        yield hosts
    finally:
        for namespace in made:
            subprocess.run(("ip", "netns", "del", namespace), check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    done = subprocess.run(("ip", *arguments), check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
