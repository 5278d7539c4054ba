"""Check the address of the status page, and who could read the page there.

A page on this host's own address is for the users of this host. On any other address it would
be for everybody, in clear text: then TLS or a proxy is required.
"""

import ipaddress
from urllib.parse import urlsplit

from daemon.config.schema import WebSection
from hyperdrift.addresses import address_fault, host_fault


def url_fault(url: str, *, port_needed: bool = False) -> str | None:
    """Say why the host or the port of an address cannot be; None if they may."""
    try:
        parts = urlsplit(url)
    except ValueError as e:
        return str(e)
    if fault := address_fault(parts):
        return fault
    return "it has no port" if port_needed and parts.port is None else None


def is_loopback(host: str) -> bool:
    """Return whether only this host reaches a host of this name or address.

    Args:
        host: A name or an IP address; an IPv6 address without brackets.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower().removesuffix(".") == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def web_problem(web: WebSection) -> str | None:
    """Say what is wrong with `[web]` and what to write; None if it can be used."""
    if not web.listen:
        return None
    # As in a URL: an IPv6 address has brackets around it.
    if fault := url_fault(f"//{web.listen}", port_needed=True):
        return f"web.listen is {web.listen!r}: {fault}; write 127.0.0.1:8377"
    host, port = web.place
    if web.listen.lower() != (f"[{host}]:{port}" if ":" in host else f"{host}:{port}"):
        return f"web.listen is {web.listen!r}: it is more than host and port; write 127.0.0.1:8377"
    for name in web.names:
        if not name or (fault := host_fault(name)):
            return f"web.names has {name!r}; write the names of hosts, like bots.example.org"
    if web.key_file and not web.cert_file:
        return "web.key_file is of no use without web.cert_file; write both, or neither"
    if not (web.cert_file or web.proxy or is_loopback(host)):
        wrong = f"web.listen is {web.listen!r}: others could read along there"
        return f"{wrong}; write web.cert_file and web.key_file, or web.proxy = true behind a proxy"
    return None
