"""Everything that can go wrong in the daemon, drawn as one tree.

    DaemonError
    ├── ConfigError          exit 2: a key is wrong
    ├── BadInput             exit 2: a file, row or argument is wrong
    ├── Unreachable          exit 4: venue or broker does not answer
    │   ├── VenueUnreachable
    │   └── BrokerUnreachable
    ├── VenueRefused         a request of ours is a bug or names an unknown coin
    ├── SchemaChanged        the venue sent what its documentation does not say
    ├── StoreCorrupt         the database file cannot be read
    ├── StoreUnavailable     the disk is full or the file not writable (daemon.database)
    ├── DataFolderBusy       exit 2: another process owns the data folder
    │   └── AnotherDaemon    exit 1: the same, for a daemon: its service manager tries again
    ├── VersionRefused       exit 3: a model version may not go live, and why
    ├── Declined             exit 3: the daemon would not do what was asked
    ├── NoModel              a bot asked before the first model came (daemon.live_model)
    ├── ComputingFailed      a bot's own feature class failed
    ├── NotNow               exit 3: the policy says to wait with a retrain
    └── RetrainFailedError   the child process ended without a candidate

Each class says whether the same call may work in a minute (`transient`) and
which exit code a command ends with when it is not handled.
"""

from typing import ClassVar


class DaemonError(Exception):
    """Root of the daemon's errors.

    `transient`: True if the same call may work in a minute, False if a person must act.
    `exit_code`: what a command ends with.
    """

    transient: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1


class ConfigError(DaemonError):
    """A setting is missing, misspelt or impossible; the text names the key and the remedy."""

    exit_code = 2


class BadInput(DaemonError):
    """A file, row or argument that a person gave cannot be used as it is."""

    exit_code = 2


class Unreachable(DaemonError):
    """A service that this process depends on does not answer."""

    transient = True
    exit_code = 4


class VenueUnreachable(Unreachable):
    """The exchange does not answer, or answers 429 or 5xx for longer than the retries last."""


class BrokerUnreachable(Unreachable):
    """The MQTT broker does not answer."""


class VenueRefused(DaemonError):
    """The exchange understood a request and refused it: an unknown coin, or a bug of ours."""


class SchemaChanged(DaemonError):
    """The exchange sent something its documentation does not describe.

    `what` names the answer or frame, and is the same whatever it holds.
    """

    def __init__(self, text: str, what: str = "") -> None:
        super().__init__(text)
        self.what = what


class StoreCorrupt(DaemonError):
    """The database file cannot be read as a database."""


class DataFolderBusy(DaemonError):
    """Another daemon holds the lock of the data folder."""

    exit_code = 2


class AnotherDaemon(DataFolderBusy):
    """A daemon finds its data folder held: by another one, or by a command that will be done."""

    transient = True
    exit_code = 1


class VersionRefused(DaemonError):
    """A model version may not go live."""

    exit_code = 3

    def __init__(self, model_id: str, reason: str) -> None:
        super().__init__(model_id, reason)
        self.model_id, self.reason = model_id, reason

    def __str__(self) -> str:
        return f"model {self.model_id or '(none)'} refused: {self.reason}"


class NotNow(DaemonError):
    """A retrain is not worth it yet, by the policy's limits."""

    transient = True
    exit_code = 3


class Declined(DaemonError):
    """The running daemon would not do what an operator asked."""

    exit_code = 3


class RetrainFailedError(DaemonError):
    """The retrain child ended without a candidate."""

    transient = True


class ComputingFailed(DaemonError):
    """A bot's own feature class raised, hung or took its process down."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        if self.reason.startswith("features.computer"):  # the class's own process said it whole
            return self.reason
        return f"features.computer {self.name} {self.reason}"
