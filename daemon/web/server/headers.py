"""The headers of every answer: what a browser may do with it."""

from typing import Final

from aiohttp import web

STATIC: Final = "/static/"
"""Below it are files that are the same for everybody."""
# No page needs more than its own files; an inline script is always a stranger's.
STRICT: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With `no-referrer` a browser would send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
    "Server": "hyperdrift",
}


async def set_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put the headers of every answer on one, unless it has its own."""
    if request.path.startswith(STATIC):  # nothing secret; a browser asks whether it changed
        response.headers["Cache-Control"] = "no-cache"
    for name, value in STRICT.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = STRICT["Server"]  # the library's name and version is there already
