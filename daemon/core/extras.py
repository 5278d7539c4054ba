"""Name the libraries that an installation may leave out, where a command needs one."""

from importlib.util import find_spec
from typing import Final

from hyperdrift.errors import ConfigError

_OF: Final = {"pyarrow": "files", "matplotlib": "plots", "distributed": "fleet"}


def require(library: str, what: str) -> None:
    """Check that an optional library is installed.

    Args:
        library: Its name.
        what: What needs it, in words.

    Raises:
        ConfigError: If it is not; it says how to install it.
    """
    if find_spec(library) is None:
        raise ConfigError(
            f"{what} needs {library}, which this installation leaves out: pip install "
            f"'hyperdrift[{_OF[library]}]', or remove /etc/hyperdrift/service-only and run "
            "`sudo dpkg-reconfigure hyperdrift`"
        )
