"""Name the files on this host that only the daemon itself may read."""

import os
from pathlib import Path
from typing import Final

from daemon.config.schema import Config
from hyperdrift.process.home import expanded

_CREDSTORE: Final = Path("/etc/credstore")


def secret_paths(config: Config) -> tuple[Path, ...]:
    """Return where keys and passwords are; some may not exist.

    A retrain and a bot's own class for features run under the daemon's user, and need none of them.
    """
    named = (
        config.mqtt.password_file,
        config.mqtt.key_file or config.mqtt.cert_file,  # which has the key then
        config.web.key_file or config.web.cert_file,
        config.retrain.dask_key_file,
        config.notify.urls_file,
        os.environ.get("CREDENTIALS_DIRECTORY"),
    )
    own = (*(config.data_dir / name for name in ("keys", "mqtt", "web")), _CREDSTORE)
    return (*own, *(expanded(each) for each in named if each))
