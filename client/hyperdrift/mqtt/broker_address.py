"""Read a broker's address, prepare TLS for it, and explain why a connection failed."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hyperdrift.addresses import address_fault
from hyperdrift.errors import ConfigError


class _Handshake(ssl.SSLSocket):
    """Closes itself if the handshake fails: the MQTT library would leave one open per try."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the library's
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker listens, as `mqtt://user@host:1883` or `mqtts://host`.

    `ca_file` has the CA certificates to trust; None trusts those of the system.
    """

    host: str
    port: int
    user: str | None = None
    tls: bool = False
    ca_file: Path | None = None

    @classmethod
    def parse(cls, url: str, ca_file: Path | None = None) -> "BrokerAddress":
        """Read a broker's address.

        Raises:
            ConfigError: If it is no such address, or contains a password.
        """
        try:
            parts = urlsplit(url)
        except ValueError as e:
            raise ConfigError(f"mqtt.broker {url!r}: {e}; write mqtt://user@host:1883") from e
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
            msg = f"mqtt.broker {url!r} must be embedded, mqtt://user@host:1883 or mqtts://host"
            raise ConfigError(msg)
        if parts.password is not None:
            raise ConfigError(f"mqtt.broker at {parts.hostname}: give the password in a file")
        if fault := address_fault(parts):
            raise ConfigError(f"mqtt.broker {url!r}: {fault}; write mqtt://user@host:1883")
        tls = parts.scheme == "mqtts"
        if ca_file is not None and not tls:
            raise ConfigError(f"mqtt.ca_file is of no use with {url}; write mqtts://")
        return cls(
            parts.hostname, parts.port or (8883 if tls else 1883), parts.username, tls, ca_file
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    def trust(self) -> ssl.SSLContext | None:
        """Return the TLS context of the connection; None without TLS.

        Raises:
            ConfigError: If `ca_file` cannot be used.
        """
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except ssl.SSLError as e:
            msg = f"mqtt.ca_file {self.ca_file}: has no certificate in PEM form"
            raise ConfigError(msg) from e
        except OSError as e:
            msg = f"mqtt.ca_file {self.ca_file}: cannot be read ({e.strerror})"
            raise ConfigError(msg) from e
        context.sslsocket_class = _Handshake
        return context

    @property
    def is_local(self) -> bool:
        """Whether it is on this host, and without TLS."""
        return not self.tls and self.host in {"127.0.0.1", "localhost", "::1"}

    def explain(self, error: BaseException, user: str | None, advice: str = "") -> str:
        """Say in one line why a connection failed and what to do about it.

        Args:
            error: What it failed with.
            user: The user that it was made for.
            advice: What to do if the broker refused the user; "" for the usual.
        """
        cause = error.__cause__ or error.__context__
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not to be trusted ({cause.verify_message}); "
                "name the CA that signed it in mqtt.ca_file, and the host as the certificate does"
            )
        if is_refusal(error):
            who = f"user {user!r}" if user else "a client without a user"
            usual = "check the user in mqtt.broker and mqtt.password_file (or the credential)"
            return f"it refuses {who}; {advice or usual}"
        return str(error)


def is_refusal(error: BaseException) -> bool:
    """Whether the broker refused the user or the password."""
    code = getattr(getattr(error, "rc", None), "value", getattr(error, "rc", None))
    return code in {4, 5, 134, 135}  # MQTT 3.1.1 and 5
