"""What the daemon starts the cluster process with."""

import msgspec


class ProcessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the cluster process.

    Attributes:
        address: The scheduler's, "" for processes on this host.
        trainer: The interpreter that trains here.
        path: Folder that holds `retrain` alone, for that interpreter.
        tls: Files of the authority, of our certificate and of its key; empty without TLS.
        workers: How many processes on this host.
    """

    address: str
    trainer: str
    path: str
    tls: tuple[str, ...] = ()
    workers: int = 0
