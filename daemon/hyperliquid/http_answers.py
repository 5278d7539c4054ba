"""Judge the venue's HTTP answers: a body to read, a failure that may pass, or a refusal.

What stands on the way answers too: proxies, firewalls and the venue's gateway send pages of
HTML with any status, 200 included. Such a page says nothing about the request.
"""

import re
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Final

import aiohttp

from daemon.core.errors import VenueRefused
from daemon.core.outside_text import printable

# What the venue itself answers to a request that it does not understand.
_REFUSALS: Final = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}
_TITLE: Final = re.compile(r"<(title|h1)[^>]*>(.*?)</\1", re.IGNORECASE | re.DOTALL)


class TryAgain(Exception):
    """The call failed; another try may succeed."""


class Throttled(TryAgain):
    """The venue counts more weight than it allows."""


class HungUp(TryAgain):
    """The connection ended without an answer, as idle connections do."""


class Ambiguous(TryAgain):
    """Nothing was answered: a fault that passes, or one of the coin that was asked for alone."""


async def answered(
    call: AbstractAsyncContextManager[aiohttp.ClientResponse], request: bytes
) -> bytes:
    """Wait for the answer to a call; return its body if it can be read.

    Args:
        call: The call.
        request: What it asks, to be quoted.

    Raises:
        HungUp: If the connection ended without an answer.
        Ambiguous: If no answer came in time.
        TryAgain: If the venue cannot be reached. More errors are those of `checked`.
    """
    try:
        async with call as response:
            status, body = response.status, await response.read()
    except (aiohttp.ServerDisconnectedError, ConnectionResetError) as e:
        raise HungUp(str(e) or type(e).__name__) from e
    except TimeoutError as e:
        raise Ambiguous("no answer in time") from e
    except (aiohttp.ClientError, OSError) as e:
        raise TryAgain(str(e) or type(e).__name__) from e
    return checked(status, body, request)


def checked(status: int, body: bytes, request: bytes) -> bytes:
    """Return the body of an answer that can be read.

    Raises:
        Throttled: If the venue counts more weight than it allows.
        Ambiguous: If it failed to answer, this call alone or all of them.
        TryAgain: If the venue, or something on the way to it, failed to answer.
        VenueRefused: If the venue refused the request.
    """
    text = body.strip()
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise Throttled(f"status {status}")
    if text.startswith(b"<"):
        raise TryAgain(f"status {status} with a page of HTML{_title(text)}, not the venue's JSON")
    if text in {b"null", b""} or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        if status == HTTPStatus.OK:
            raise Ambiguous(f"status {status} with {text.decode() or 'nothing'} for an answer")
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Ambiguous(f"status {status}")
        raise TryAgain(f"status {status}")
    if status in _REFUSALS:
        msg = f"the venue refused {request.decode()} with status {status}: {_quoted(text)}"
        raise VenueRefused(msg)
    if status != HTTPStatus.OK:
        raise TryAgain(f"status {status}: {_quoted(text)}")
    return body


def _title(page: bytes) -> str:
    found = _TITLE.search(page.decode(errors="replace"))
    return f" ({_quoted(found[2].encode())})" if found and found[2].strip() else ""


def _quoted(text: bytes) -> str:
    return printable(b" ".join(text.split()))
