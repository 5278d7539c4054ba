"""What the daemon starts the cluster process with."""

import msgspec


class ProcessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the cluster process.

    Attributes:
        address: The scheduler's, "" for processes on this host.
        trainer: The interpreter that trains here.
        path: Folder that holds `retrain` alone, for that interpreter.
        secure: Whether TLS is spoken; its files are handed over, for a renewed one is a new file.
        workers: How many processes on this host.
    """

    address: str
    trainer: str
    path: str
    secure: bool = False
    workers: int = 0
