"""Sign operators in, by the token, and out."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from daemon.web.server.forms import check_own_form, read_form
from daemon.web.server.pages import Pages
from daemon.web.server.sessions import LIFE_S
from daemon.web.server.visits import Admission, Denied, see_other, visit_of
from daemon.web.views import SignIn

PATH: Final = "/sign-in"
_TOO_OFTEN: Final = 429


class SignInPages:
    """The page for signing in, and what its form does.

    Args:
        pages: Shows the page.
        admission: Knows the token and the sessions.
    """

    def __init__(self, pages: Pages, admission: Admission) -> None:
        self._pages, self._admission = pages, admission

    def routes(self) -> list[web.RouteDef]:
        """Return the paths for signing in and out."""
        return [
            web.get(PATH, self._ask),
            web.post(PATH, self._sign_in),
            web.post("/sign-out", self._sign_out),
        ]

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        return await self._pages.show(request, "sign-in", SignIn(to=_own_path(request.query)))

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        form = await read_form(request)
        to = _own_path(form)
        try:
            self._admission.try_token(form.get("token", "").strip(), visit_of(request).address)
        except Denied as e:
            if e.problem.status == _TOO_OFTEN:
                raise
            said = f"{e.problem.error}: {e.problem.what_to_do}"
            view = SignIn(to=to, problem=said)
            return await self._pages.show(request, "sign-in", view, 403)
        answer = see_other(to)
        rules = self._admission.rules
        answer.set_cookie(
            rules.cookie,
            self._admission.sessions.begin(),
            max_age=LIFE_S,
            httponly=True,
            secure=rules.is_secure(request),
            samesite="Strict",
        )
        return answer

    async def _sign_out(self, request: web.Request) -> web.StreamResponse:
        check_own_form(request, await read_form(request))
        rules = self._admission.rules
        self._admission.sessions.end(request.cookies[rules.cookie])
        answer = see_other("/")
        answer.del_cookie(rules.cookie)
        return answer


def _own_path(fields: Mapping[str, str]) -> str:
    """Return where to go afterwards: a path of this page, whatever the address says."""
    to = fields.get("to", "/")
    # `//host` and `/\\host` lead elsewhere.
    return to if to.startswith("/") and to[1:2] not in {"/", "\\"} and to.isprintable() else "/"
