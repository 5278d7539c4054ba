"""Tell what the embedded broker refused: each kind once in the log, and as an alert."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from daemon.core.outside_text import printable
from daemon.mqtt.broker.access import BOT
from daemon.mqtt.passwords import password_path

Alert = Callable[[str], None]

log = structlog.get_logger()

_SENTENCES: Final = {
    "flood": "more clients connect than log in; the oldest of those that wait are dropped",
    "port": "{0}, so no bot is reached: `sudo ss -ltnp` names the process, end it or set mqtt.port",
    "full": "so many clients are logged in that user {0!r} got no place: end some of them",
    "denied": "user {0} may not publish there; the message was dropped",
    "retained": "user {0!r} retains more than it may; the message was not kept",
    "queue": "user {0!r} reads too slowly; messages to it were dropped",
    "sessions": "user {0!r} left more sessions than are kept; the oldest was forgotten",
}
# What a stranger can do again and again is an alert once, however often it happens.
_ALERTS: Final = {"login", "flood", "full", "port", "denied", "retained"}


class BrokerRefusals:
    """Logs what the broker refused; publishes one alert of each kind, from `alert_by` on.

    Args:
        data_dir: The data folder, with the passwords.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._alerts: dict[str, str] = {}
        self._publish: Alert | None = None

    def alert_by(self, publish: Alert) -> None:
        """Publish the alerts, those of before too."""
        self._publish = publish
        for text in self._alerts.values():
            publish(text)

    def take(self, kind: str, particulars: str, count: int) -> None:
        """Take what the broker tells.

        Args:
            kind: What was refused.
            particulars: The user, and the topic if there is one.
            count: How often since it was told last.
        """
        about = printable(particulars, 120)
        text = self._login(about) if kind == "login" else _SENTENCES[kind].format(about)
        log.warning("broker.refused", kind=kind, count=count, why=text)
        if kind not in _ALERTS or kind in self._alerts:
            return
        self._alerts[kind] = f"the embedded broker: {text}"
        if self._publish is not None:
            self._publish(self._alerts[kind])

    def _login(self, user: str) -> str:
        who = f"a client that calls itself {user!r}" if user else "a client without a password"
        return (
            f"{who} was refused; if it is a bot of yours, put its user into group "
            "hyperdrift-models and update its hyperdrift-client, or give it user 'bot' and the "
            f"password in {password_path(self._data_dir, BOT)} (docs/howto/upgrade.md)"
        )
