"""Send a message by apprise, which knows the services; nothing of an address gets out of here.

The address of a service is a password: whoever has it can write in its owner's name. So texts
name a service by number and scheme, and what apprise or the service says is cleaned of every part
of the address. Loading apprise takes 0.3 s of processor time and 40 MiB; that is why only who
sends imports it, and in a thread.
"""

import base64
import logging
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from daemon.core.outside_text import printable
from daemon.notify.notice import Notice
from hyperdrift.errors import ConfigError

if TYPE_CHECKING:
    from apprise import NotifyBase

_SCHEME: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]{0,19})://")
_WEIGHTS: Final = {"info": "info", "warning": "warning", "critical": "failure"}
_LEAST_SECRET: Final = 3
_ANSWER_CHARS: Final = 160
_CAUSES: Final = (
    (r"resolve|name or service|nodename|name resolution", "its name cannot be resolved (DNS)"),
    (r"refused", "it refuses the connection"),
    (r"unreachable|no route", "its network cannot be reached"),
    (r"timed? ?out", "it does not answer in time"),
    (r"certificate|ssl", "its certificate is not accepted"),
    (r"reset|aborted|closed", "it ends the connection"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt: `why` is "" if it was sent, `answer` what the service said."""

    why: str
    answer: str = ""

    @property
    def sent(self) -> bool:
        """Whether the service took the message."""
        return not self.why

    def __str__(self) -> str:
        return f"{self.why}: {self.answer}" if self.answer else self.why or "ok"


class Service:
    """One place to which messages go.

    Args:
        number: Its place in the configuration, from 1 on.
        url: Its address.
        plugin: What apprise made of it.

    Attributes:
        name: Number and scheme, and the host if the address names one: nothing secret.
    """

    def __init__(self, number: int, url: str, plugin: "NotifyBase") -> None:
        # apprise's own front sends in threads of a pool, which would hold up the daemon's exit.
        self._plugin, self._secrets = plugin, _parts(url)
        scheme, host = scheme_of(url), _host(plugin)
        self._secrets -= {host}
        self.name = f"{number} ({scheme}://{host})"

    def send(self, message: Notice) -> Outcome:
        """Send a message; this waits for the service, so call it in a thread."""
        with _said() as lines:
            try:
                sent = self._plugin.notify(
                    body=message.text,
                    title=message.title,
                    notify_type=_WEIGHTS[message.weight],
                    body_format="text",
                    attach=_attachment(message.picture) if message.picture else None,
                )
            except Exception as e:  # noqa: BLE001 - of a hundred plugins; its text may hold the address
                return Outcome(f"apprise failed with {type(e).__name__}")
        if sent:
            return Outcome("")
        return self._outcome(lines)

    def _outcome(self, lines: Sequence[tuple[int, str]]) -> Outcome:
        """Say in words why a message was not sent, from what apprise logged."""
        warned = " ".join(text for level, text in lines if level >= logging.WARNING)
        whole = " ".join(text for _, text in lines)
        answers = [text for _, text in lines if text.startswith("Response Details")]
        body = answers[-1].partition("\r\n")[2] if answers else ""
        answer = self._clean(body.removeprefix("b").strip("'\""))
        if code := re.search(r"error=(\d{3})", warned):
            return Outcome(f"it answered {code[1]}{_MEANING.get(int(code[1]), '')}", answer)
        for pattern, cause in _CAUSES:
            if re.search(pattern, whole, re.IGNORECASE):
                return Outcome(cause, answer)
        return Outcome(self._clean(warned) or "it was not sent, without a reason", answer)

    def _clean(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE)
        return printable(" ".join(text.split()), _ANSWER_CHARS)


_MEANING: Final = {
    301: ": it moved, write its new address",
    302: ": it moved, write its new address",
    307: ": it moved, write its new address",
    308: ": it moved, write its new address",
    401: ": the token or password in its address is wrong",
    403: ": the token or password in its address has no right",
    404: ": what its address names is not there",
    429: ": too many messages",
}


def load(urls: Sequence[str]) -> tuple[Service, ...]:
    """Return the service of every address; this imports apprise, so call it in a thread.

    Raises:
        ConfigError: If apprise does not know one; it is named by its number and scheme.
    """
    services = []
    for number, url in enumerate(urls, 1):
        plugin = _plugin(url)
        if plugin is None:
            what = f"notify.urls number {number} ({scheme_of(url)}://...)"
            remedy = "write it as docs/howto/notifications.md shows, or as apprise's pages do"
            raise ConfigError(f"{what} is no address that apprise can use; {remedy}")
        services.append(Service(number, url, plugin))
    return tuple(services)


def scheme_of(url: str) -> str:
    """Return the scheme of an address; "?" if it has none."""
    found = _SCHEME.match(url)
    return found[1].lower() if found else "?"


def _plugin(url: str) -> "NotifyBase | None":
    _quiet_libraries()
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - only who sends pays for it

    # A redirect would turn the message into a question, which the new place answers with "ok".
    asset = AppriseAsset(
        app_id="hyperdrift", app_desc="hyperdrift", app_url="", http_redirects=False
    )
    with _said():
        try:
            found: NotifyBase | None = Apprise.instantiate(url, asset=asset)
        except Exception:  # noqa: BLE001 - of a hundred plugins; its text may hold the address
            return None
    return found


def _attachment(picture: bytes) -> Any:
    from apprise import AppriseAttachment  # noqa: PLC0415 - see above
    from apprise.attachment.memory import AttachMemory  # noqa: PLC0415

    memory: Any = AttachMemory
    return AppriseAttachment(memory(content=picture, name="equity.png", mimetype="image/png"))


def _host(plugin: "NotifyBase") -> str:
    """Return the host of an address, "..." where the first part of it may be a token."""
    templates: tuple[str, ...] = plugin.templates or ()
    is_host = bool(templates) and all("{host}" in one or "{domain}" in one for one in templates)
    return str(plugin.host) if is_host and getattr(plugin, "host", None) else "..."


def _parts(url: str) -> set[str]:
    """Return every part of an address that may be a secret, as it may appear in a text."""
    rest = url.partition("://")[2] or url
    parts = {rest, *re.split(r"[/:@?&=#,+\s]+", rest), *re.split(r"[/@?&=#\s]+", rest)}
    parts |= {unquote(part) for part in parts}
    login = rest.partition("@")[0]
    parts.add(base64.b64encode(unquote(login).encode()).decode())
    return {part for part in parts if len(part) >= _LEAST_SECRET}


_here = threading.local()


class _said:  # noqa: N801 - used as a function
    """Collect what apprise logs in this thread: level and text."""

    def __enter__(self) -> list[tuple[int, str]]:
        _quiet_libraries()
        lines: list[tuple[int, str]] = []
        _here.lines = lines
        return lines

    def __exit__(self, *exc: object) -> None:
        _here.lines = None


class _Keep(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        lines = getattr(_here, "lines", None)
        if lines is not None:
            lines.append((record.levelno, record.getMessage()))


_keep: Final = _Keep()


def _quiet_libraries() -> None:
    """Keep the lines of apprise and its libraries, which have addresses, out of every log."""
    for name in ("apprise", "urllib3", "requests", "requests_oauthlib", "markdown"):
        logger = logging.getLogger(name)
        if _keep not in logger.handlers:
            logger.propagate = False
            logger.addHandler(_keep)
    logging.getLogger("apprise").setLevel(logging.DEBUG)
