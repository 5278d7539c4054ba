"""Check whether the host and the port of an address can exist at all.

The system's resolver reports an impossible name late, when a connection is made, and with
errors of many kinds. So an address is checked when it is read.
"""

import ipaddress
import re
from urllib.parse import SplitResult

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_LONGEST_HOST = 253


def host_fault(host: str) -> str | None:
    """Say why no host can have this name or IP address; None if one can.

    Args:
        host: A host as written in an address; an IPv6 host without its brackets.
    """
    if ":" in host:
        return _ip_fault(host.partition("%")[0])
    if re.fullmatch(r"[0-9.]+", host):
        return _ip_fault(host)
    try:
        name = host.removesuffix(".").encode("idna").decode()
    except UnicodeError:
        return f"no host can be called {host!r}: a part between two dots is empty or too long"
    if len(name) > _LONGEST_HOST or not all(map(_LABEL.fullmatch, name.split("."))):
        return f"no host can be called {host!r}"
    return None


def address_fault(parts: SplitResult) -> str | None:
    """Say what is wrong with the host or the port of a URL; None if both can exist.

    Args:
        parts: What `urlsplit` returned.
    """
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        return "its port must be a number from 1 to 65535"
    return host_fault(parts.hostname) if parts.hostname else "it names no host"


def _ip_fault(text: str) -> str | None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return f"{text!r} is no IP address"
    return None
