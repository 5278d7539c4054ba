"""Read the form that a browser sends, and check that one of our own pages made it."""

import hmac
from urllib.parse import parse_qsl

from aiohttp import web

from daemon.web.server.visits import Denied, visit_of


async def read_form(request: web.Request) -> dict[str, str]:
    """Return the fields of a form; of several with one name the last.

    Raises:
        Denied: If the body is no form, or cannot be read.
    """
    if request.content_type != "application/x-www-form-urlencoded":
        raise Denied(415, "this is no form", "send application/x-www-form-urlencoded")
    try:
        text = (await request.read()).decode()
        return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=20))
    except ValueError as e:  # not UTF-8, or too many fields
        raise Denied(400, "the form cannot be read", "load the page again") from e


def check_own_form(request: web.Request, form: dict[str, str]) -> None:
    """Check that the form came from a page that this visitor was shown.

    Raises:
        Denied: If the visitor is not signed in, or the form is of another session.
    """
    session = visit_of(request).session
    if session is None:
        raise Denied(403, "you are not signed in", "sign in, then send it again")
    if not hmac.compare_digest(form.get("csrf", "").encode(), session.csrf.encode()):
        raise Denied(403, "this form is too old", "load the page again, then send it again")
