"""Name the libraries that an installation may leave out, where a command needs one."""

from importlib.util import find_spec
from typing import Final

from hyperdrift.errors import ConfigError

_OF: Final = {"pyarrow": "files", "matplotlib": "plots", "distributed": "fleet"}
_SERVICE_ONLY: Final = "/etc/hyperdrift/service-only"
_FLEET: Final = "/etc/hyperdrift/fleet"


def require(library: str, what: str) -> None:
    """Check that an optional library is installed.

    Args:
        library: Its name.
        what: What needs it, in words.

    Raises:
        ConfigError: If it is not; it says how to install it.
    """
    if find_spec(library) is None:
        extra = _OF[library]
        change = f"`sudo touch {_FLEET}`" if extra == "fleet" else f"remove {_SERVICE_ONLY}"
        raise ConfigError(
            f"{what} needs {library}, which this installation leaves out: pip install "
            f"'hyperdrift[{extra}]', or {change} and run `sudo dpkg-reconfigure hyperdrift`"
        )
