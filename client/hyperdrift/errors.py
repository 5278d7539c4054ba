"""The errors that bot and daemon share; the daemon's own errors have the same root.

    HyperdriftError
    ├── ConfigError          exit 2: a key is wrong
    ├── BadInput             exit 2: a file, row or argument is wrong
    │   └── BadFeatures      a bot asked with features that the model cannot use
    ├── VersionRefused       exit 3: a model version may not go live, and why
    │   └── VersionNotHere   its files cannot be read here yet; nothing is wrong with it
    └── NoModel              a bot asked before the first model came

Each class says whether the same call may work in a minute (`transient`). It also says with
which exit code a command ends if nobody handles the error.
"""

from typing import ClassVar


class HyperdriftError(Exception):
    """Root of all errors of this project.

    `transient`: True if the same call may work in a minute, False if a person must act.
    `exit_code`: The exit code of a command that ends with the error.
    """

    transient: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1


class ConfigError(HyperdriftError):
    """A setting is missing, misspelt or impossible; the text names the key and the remedy."""

    exit_code = 2


class BadInput(HyperdriftError):
    """A file, a row or an argument that a person gave cannot be used."""

    exit_code = 2


class BadFeatures(BadInput, ValueError):
    """A bot asked for a prediction with features that the model cannot use."""


class VersionRefused(HyperdriftError):
    """A model version may not go live.

    Args:
        model_id: The version; empty if it is not known.
        reason: One sentence that says what to do.
    """

    exit_code = 3

    def __init__(self, model_id: str, reason: str) -> None:
        super().__init__(model_id, reason)
        self.model_id, self.reason = model_id, reason

    def __str__(self) -> str:
        return f"model {self.model_id or '(none)'} refused: {self.reason}"


class VersionNotHere(VersionRefused):
    """The files of a version are not, or not yet, here as the daemon has them.

    It says nothing against the version: a folder may lag, or be mounted elsewhere. So a bot
    waits and asks again, and nobody goes back to an older version for it.
    """

    transient = True


class NoModel(HyperdriftError):
    """A bot asked for a prediction before the first model was loaded.

    Args:
        slot: The slot that has no model, written `BTC-5m`.
    """

    transient = True

    def __init__(self, slot: object) -> None:
        super().__init__(slot)
        self.slot = slot

    def __str__(self) -> str:
        return f"{self.slot} has no model yet; wait for the daemon's first one, or train it now"
