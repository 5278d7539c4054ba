"""Name the user of this process, also one that is in no list of users."""

import getpass
import os


def user_name() -> str:
    """Return the name of the user who runs this process, or its number if it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # as in a container that was told a number; Python's error differs
        return str(os.getuid())
