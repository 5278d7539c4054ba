"""Decide whether a request may be answered at all: from whom it comes and for which host it is.

A foreign web site must not be able to read a page through its visitor's browser, or to command.
It could try with a name of its own that leads to this host (DNS rebinding), or with a form. So
only known names of hosts are answered, and browsers say where a request began.
"""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from daemon.config.schema import WebSection
from daemon.config.web_rules import is_loopback
from daemon.core.outside_text import printable
from daemon.web.views import Problem

_FORWARDED: Final = (
    *("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"),
    "X-Real-IP",
)
_LONGEST: Final = 60
_ONLY_LOOKS: Final = frozenset({"GET", "HEAD"})


class AccessRules:
    """What `[web]` says about visitors.

    Args:
        section: `[web]` of the configuration.

    Attributes:
        is_open: Whether everybody who reaches the page may read: on this host only.
    """

    def __init__(self, section: WebSection) -> None:
        host, port = section.place
        self._proxy, self._tls = section.proxy, bool(section.cert_file)
        self.is_open = is_loopback(host) and not section.proxy
        self._names = {name.lower().removesuffix(".") for name in (host, *section.names)}
        self._any_address = _is_any(host)
        self.cookie = f"hyperdrift_{port}"  # browsers do not tell ports apart

    def refusal(self, request: web.BaseRequest) -> Problem | None:
        """Return why a request is not answered; None if it may be."""
        if self.is_open and any(name in request.headers for name in _FORWARDED):
            return Problem(
                status=403,
                error="this request came through a proxy, and the page does not expect one",
                what_to_do="write web.proxy = true and restart the daemon",
            )
        told = self._host(request)
        name = _name_of(told)
        if not self._is_ours(name):
            return Problem(
                status=403,
                error=f"this page is not called {printable(name, _LONGEST) or 'that'!r}",
                what_to_do="use the address that the daemon listens at, or add it to web.names",
            )
        if _is_foreign(request, told):
            return Problem(
                status=403,
                error="another web site asked for this in your browser",
                what_to_do="open the page itself",
            )
        return None

    def address(self, request: web.BaseRequest) -> str:
        """Return the address of the visitor, as text that can be shown."""
        told = request.headers.getall("X-Forwarded-For", []) if self._proxy else []
        last = ",".join(told).rpartition(",")[2].strip()  # the proxy itself wrote the last one
        return printable(last or request.remote or "unknown", _LONGEST)

    def is_secure(self, request: web.BaseRequest) -> bool:
        """Return whether the visitor's browser speaks TLS."""
        told = request.headers.get("X-Forwarded-Proto", "") if self._proxy else ""
        return self._tls or told.rpartition(",")[2].strip().lower() == "https"

    def _host(self, request: web.BaseRequest) -> str:
        told = request.headers.get("X-Forwarded-Host", "") if self._proxy else ""
        return told.rpartition(",")[2].strip() or request.headers.get("Host", "")

    def _is_ours(self, name: str) -> bool:
        if is_loopback(name) or name in self._names:
            return True
        return self._any_address and _is_address(name)  # no address can be made to lead elsewhere


def _is_foreign(request: web.BaseRequest, host: str) -> bool:
    """Return whether a browser says that another site asked; programs say nothing."""
    origin = request.headers.get("Origin")
    if origin is not None and _place(origin) != host.lower():
        return True
    if request.headers.get("Sec-Fetch-Site", "none") in {"none", "same-origin"}:
        return False
    # A link on another site may lead here; what it leads to is only shown.
    follows_link = request.headers.get("Sec-Fetch-Dest") == "document"
    return not (request.method in _ONLY_LOOKS and follows_link)


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _name_of(host: str) -> str:
    """Return the host without its port and brackets, empty if it cannot be read."""
    try:
        return (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return ""


def _is_any(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_unspecified


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
