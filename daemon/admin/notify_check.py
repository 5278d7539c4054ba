"""See whether people can be told: each service of `[notify]`, with a message or without one."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from daemon.admin.host_checks import Check
from daemon.config.notify_urls import notify_urls
from daemon.config.schema import Config
from daemon.notify.notice import Notice
from daemon.notify.services import Outcome, Service, load
from hyperdrift.errors import ConfigError

_MESSAGE: Final = Notice(
    title="hyperdrift: a test",
    text="You will be told here of new models, of rollbacks, and of what needs you.",
)


def check_services(config: Config) -> list[Check]:
    """Return one check for each service; nothing is sent."""
    try:
        urls = notify_urls(config.notify)
        services = load(urls) if urls else ()
    except ConfigError as e:
        return [Check("notify", str(e))]
    return [Check("notify", note=f"{each.name}, not tried") for each in services]


def try_services(config: Config) -> list[tuple[str, Outcome]]:
    """Send one message to each service; return its name and what became of it.

    Raises:
        ConfigError: If there is none, or an address cannot be used.
    """
    urls = notify_urls(config.notify)
    if not urls:
        raise ConfigError("[notify] names no service; write one in urls, or name a urls_file")
    services = load(urls)
    with ThreadPoolExecutor(len(services)) as threads:
        outcomes = list(threads.map(_try, services))
    return [(each.name, outcome) for each, outcome in zip(services, outcomes, strict=True)]


def _try(service: Service) -> Outcome:
    return service.send(_MESSAGE)


def document(found: Sequence[tuple[str, Outcome]]) -> dict[str, Any]:
    """Return what `--json` prints."""
    services = [
        {"service": name, "ok": outcome.sent, "problem": "" if outcome.sent else str(outcome)}
        for name, outcome in found
    ]
    return {"ok": all(outcome.sent for _, outcome in found), "services": services}
