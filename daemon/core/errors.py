"""Everything that can go wrong in the daemon, drawn as one tree.

    HyperdriftError          in `hyperdrift.errors`, with what both sides of a swap raise:
    │                        ConfigError, BadInput, VersionRefused, NoModel
    ├── Unreachable          exit 4: venue or broker does not answer
    │   ├── VenueUnreachable
    │   └── BrokerUnreachable
    ├── VenueRefused         a request of ours is a bug or names an unknown coin
    ├── SchemaChanged        the venue sent what its documentation does not say
    ├── StoreCorrupt         the database file cannot be read
    ├── StoreUnavailable     the disk is full or the file not writable (`daemon.store.database`)
    ├── DataFolderBusy       exit 2: another process owns the data folder
    │   └── AnotherDaemon    exit 1: the same, for a daemon: its service manager tries again
    ├── Declined             exit 3: the daemon would not do what was asked
    ├── ComputingFailed      a bot's own feature class failed
    ├── NotNow               exit 3: the policy says to wait with a retrain
    └── RetrainFailedError   the child process ended without a candidate

Each class says whether the same call may work in a minute (`transient`) and
which exit code a command ends with when it is not handled.
"""

from hyperdrift.errors import HyperdriftError


class Unreachable(HyperdriftError):
    """A service that this process depends on does not answer."""

    transient = True
    exit_code = 4


class VenueUnreachable(Unreachable):
    """The exchange does not answer, or answers 429 or 5xx for longer than the retries last."""


class BrokerUnreachable(Unreachable):
    """The MQTT broker does not answer."""


class VenueRefused(HyperdriftError):
    """The exchange understood a request and refused it: an unknown coin, or a bug of ours."""


class SchemaChanged(HyperdriftError):
    """The exchange sent something its documentation does not describe.

    `what` names the answer or frame, and is the same whatever it holds.
    """

    def __init__(self, text: str, what: str = "") -> None:
        super().__init__(text)
        self.what = what


class StoreCorrupt(HyperdriftError):
    """The database file cannot be read as a database."""


class DataFolderBusy(HyperdriftError):
    """Another daemon holds the lock of the data folder."""

    exit_code = 2


class AnotherDaemon(DataFolderBusy):
    """A daemon finds its data folder held: by another one, or by a command that will be done."""

    transient = True
    exit_code = 1


class NotNow(HyperdriftError):
    """A retrain is not worth it yet, by the policy's limits."""

    transient = True
    exit_code = 3


class Declined(HyperdriftError):
    """The running daemon would not do what an operator asked."""

    exit_code = 3


class RetrainFailedError(HyperdriftError):
    """The retrain child ended without a candidate."""

    transient = True


class ComputingFailed(HyperdriftError):
    """A bot's own feature class raised, hung or took its process down."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        if self.reason.startswith("features.computer"):  # the class's own process said it whole
            return self.reason
        return f"features.computer {self.name} {self.reason}"
