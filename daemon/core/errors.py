"""All error classes of the daemon, as one tree.

    HyperdriftError          in `hyperdrift.errors`, with what both sides of a swap raise:
    │                        ConfigError, BadInput, VersionRefused, NoModel
    ├── Unreachable          exit 4: venue or broker does not answer
    │   ├── VenueUnreachable
    │   │   └── CoinUnserved    the venue answers, but not about this coin
    │   └── BrokerUnreachable
    │       └── NoAnswer        the broker, or the daemon behind it, says nothing at all
    ├── VenueRefused         the venue does not understand our request, or has no such coin
    ├── SchemaChanged        the venue sent something that its documentation does not describe
    ├── StoreCorrupt         the database file cannot be read
    ├── StoreUnavailable     the disk is full or the file not writable (`daemon.store.database`)
    ├── DataFolderBusy       exit 2: another process owns the data folder
    │   └── AnotherDaemon    exit 1: the same, in a daemon without a service manager
    ├── Declined             exit 3: the daemon refused what an operator asked for
    ├── HostRefused          the host has no room, no open files or no place for temporary files
    ├── ComputingFailed      a bot's own feature class failed
    ├── NotNow               exit 3: the policy says to wait with a retrain
    └── RetrainFailedError   the child process ended without a candidate
        ├── UnfitBars        the same bars and settings never give one
        └── NoInterpreter    exit 2: `retrain.python` is no program

Each class has `transient`: whether the same call may work in a minute. It also has
`exit_code`: what a command exits with if it does not handle the error.
"""

from hyperdrift.errors import HyperdriftError


class Unreachable(HyperdriftError):
    """A service that this process depends on does not answer."""

    transient = True
    exit_code = 4


class VenueUnreachable(Unreachable):
    """The exchange does not answer, or answers 429 or 5xx for longer than the retries last."""


class CoinUnserved(VenueUnreachable):
    """The exchange fails to answer about one coin or dex, while it answers other calls.

    `what` names what it does not serve: the candles of a slot, the funding of a coin.
    """

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)
        self.what, self.why = what, why

    def __str__(self) -> str:
        return f"the venue does not serve {self.what} ({self.why})"


class BrokerUnreachable(Unreachable):
    """The MQTT broker does not answer."""


class NoAnswer(BrokerUnreachable):
    """Nobody refuses anything: the broker, or the daemon behind it, says nothing at all."""


class VenueRefused(HyperdriftError):
    """The exchange understood a request and refused it: an unknown coin, or a bug in our code."""


class SchemaChanged(HyperdriftError):
    """The exchange sent something its documentation does not describe.

    `what` names the kind of answer or frame; it does not depend on the content.
    """

    def __init__(self, text: str, what: str = "") -> None:
        super().__init__(text)
        self.what = what


class StoreCorrupt(HyperdriftError):
    """The database file cannot be read as a database."""


class DataFolderBusy(HyperdriftError):
    """Another process holds the lock of the data folder."""

    exit_code = 2


class AnotherDaemon(DataFolderBusy):
    """A daemon cannot start: another daemon, or a command that will end, holds the data folder."""

    transient = True
    exit_code = 1


class NotNow(HyperdriftError):
    """The policy does not allow a retrain yet."""

    transient = True
    exit_code = 3


class Declined(HyperdriftError):
    """The running daemon refused what an operator asked for."""

    exit_code = 3


class RetrainFailedError(HyperdriftError):
    """The retrain child ended without a candidate."""

    transient = True


class UnfitBars(RetrainFailedError):
    """The same bars and settings give no candidate, wherever and whenever they are tried."""

    transient = False


class NoInterpreter(RetrainFailedError):
    """`retrain.python` names no program that can be started."""

    exit_code = 2


class HostRefused(HyperdriftError):
    """The host refused what any process needs: room on a disk, open files, temporary files."""

    transient = True


class ComputingFailed(HyperdriftError):
    """A bot's own feature class raised an exception, hung or ended its process."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        if self.reason.startswith("features.computer"):  # already a whole sentence
            return self.reason
        return f"features.computer {self.name} {self.reason}"
