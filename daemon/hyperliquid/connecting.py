"""Reach the venue through the proxy that the environment names, and at whichever address answers.

REST and the stream use two libraries, which read `HTTPS_PROXY` and `NO_PROXY` each in a way of
its own. So they are read here, once for both. A host may have an IPv6 address that leads
nowhere; then the next address is tried after a quarter of a second.
"""

from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidProxy
from websockets.proxy import Proxy, parse_proxy

from hyperdrift.errors import ConfigError

_NEXT_ADDRESS_S: Final = 0.25


def proxy_for(url: str) -> str | None:
    """Return the proxy for an address of the venue, `http://host:port`; None without one.

    It is `HTTPS_PROXY` for `https` and `wss`, `HTTP_PROXY` for `http` and `ws`, else
    `ALL_PROXY`, unless `NO_PROXY` names the host. The names may be in small letters too.

    Raises:
        ConfigError: If it is a SOCKS proxy, or no address of a proxy.
    """
    target = urlsplit(url)
    kind = "https" if target.scheme in {"https", "wss"} else "http"
    host, port = target.hostname or "", target.port or {"https": 443, "http": 80}[kind]
    found, named = getproxies(), ""
    for named in (kind, "all"):
        if named in found:
            break
    else:
        return None
    if proxy_bypass(host) or proxy_bypass(f"{host}:{port}"):
        return None
    proxy, variable = found[named], f"{named.upper()}_PROXY"
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    parsed = _parsed(proxy, variable)
    if parsed.scheme.startswith("socks"):
        where = f"{parsed.scheme}://{parsed.host}:{parsed.port}"
        instead = f"set {kind.upper()}_PROXY=http://host:port, or NO_PROXY={host} to go without"
        raise ConfigError(f"{variable} is {where}, and SOCKS is not supported: {instead}")
    return proxy


def _parsed(proxy: str, variable: str) -> Proxy:
    try:
        return parse_proxy(proxy)
    except (InvalidProxy, ValueError) as e:
        # Not the text of the error, which repeats the password.
        why = e.msg if isinstance(e, InvalidProxy) else "its host or port cannot be"
        raise ConfigError(f"{variable} is no proxy ({why}): write http://host:port") from None


def stream_socket(url: str, proxy: str | None, **options: Any) -> connect:
    """Return the opening of a WebSocket, without pings: the venue counts its own of JSON alone.

    Args:
        url: Address of the stream.
        proxy: What `proxy_for` returned for it.
        options: Those of `websockets.asyncio.client.connect`.
    """
    plain: dict[str, Any] = {"compression": None, "ping_interval": None}
    return connect(url, proxy=proxy, happy_eyeballs_delay=_NEXT_ADDRESS_S, **plain, **options)
