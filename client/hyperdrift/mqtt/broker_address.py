"""Read a broker's address, prepare TLS for it, and explain why a connection failed."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import unquote, urlsplit

from hyperdrift.addresses import address_fault
from hyperdrift.errors import ConfigError

_EXAMPLE: Final = "mqtt://user@host:1883"


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

    A user with `/`, `:`, `@`, `%`, `?` or `#` has them as `%2F`, `%3A` and so on. `ca_file` has the
    CA certificates to trust; None trusts those of the system. `cert_file` and `key_file` have the
    certificate of this client and its key, for a broker that asks for one.
    """

    host: str
    port: int
    user: str | None = None
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @classmethod
    def parse(
        cls,
        url: str,
        ca_file: Path | None = None,
        cert_file: Path | None = None,
        key_file: Path | None = None,
    ) -> "BrokerAddress":
        """Read a broker's address.

        Raises:
            ConfigError: If it is no such address, contains a password, or a file is given that it
                has no use for.
        """
        try:
            parts = urlsplit(url)
        except ValueError as e:
            raise ConfigError(f"mqtt.broker {url!r}: {e}; write {_EXAMPLE}") from e
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
            msg = f"mqtt.broker {url!r} must be embedded, {_EXAMPLE} or mqtts://host"
            raise ConfigError(msg)
        if parts.password is not None:
            msg = f"mqtt.broker at {parts.hostname}: give the password in a file, and write a : "
            raise ConfigError(f"{msg}in a user as %3A")
        if (rest := url.split(parts.netloc, 1)[1]) not in {"", "/"}:
            msg = (
                f"mqtt.broker {url!r}: nothing may follow the port, and {rest!r} does; write / ? # "
            )
            raise ConfigError(f"{msg}in a user as %2F %3F %23")
        if fault := address_fault(parts):
            raise ConfigError(f"mqtt.broker {url!r}: {fault}; write {_EXAMPLE}")
        tls = parts.scheme == "mqtts"
        files = {"ca_file": ca_file, "cert_file": cert_file, "key_file": key_file}
        if not tls and (useless := next((name for name, file in files.items() if file), None)):
            raise ConfigError(f"mqtt.{useless} is of no use with {url}; write mqtts://")
        if key_file is not None and cert_file is None:
            raise ConfigError("mqtt.key_file needs mqtt.cert_file, the certificate of the key")
        user = unquote(parts.username) if parts.username else None
        return cls(
            parts.hostname,
            parts.port or (8883 if tls else 1883),
            user,
            tls,
            ca_file,
            cert_file,
            key_file,
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
        self._identify(context)
        return context

    def _identify(self, context: ssl.SSLContext) -> None:
        """Load the certificate of this client, if there is one."""
        if self.cert_file is None:
            return
        key = self.key_file or self.cert_file
        try:
            context.load_cert_chain(self.cert_file, key, password=_no_passphrase)
        except ssl.SSLError as e:
            fits = e.reason != "KEY_VALUES_MISMATCH"
            why = "has no certificate or no key in PEM form" if fits else "is not that of the key"
            raise ConfigError(f"mqtt.cert_file {self.cert_file}, key {key}: it {why}") from e
        except OSError as e:
            where = f"mqtt.cert_file {self.cert_file} or the key {key}"
            raise ConfigError(f"{where}: cannot be read ({e.strerror})") from e
        except _Encrypted:
            remedy = f"write it without, `openssl pkey -in {key} -out ...`, with mode 0600"
            raise ConfigError(f"mqtt.key_file {key} is encrypted: {remedy}") from None

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
        return _REFUSALS.get(_code(error), str(error))


_REFUSALS: Final = {
    132: "it does not speak MQTT 3.1.1; allow that version there",
    133: "it refuses the name of this client; allow any client id there",
    136: "it says that it cannot serve now; it is tried again",
    138: "it has banned this client; see its list",
}
"""What the codes with which a broker refuses a connection mean; those of 3.1.1 become these."""


class _Encrypted(Exception):
    """A key cannot be used without a passphrase."""


def _no_passphrase() -> NoReturn:
    raise _Encrypted  # otherwise OpenSSL would ask for it on the terminal


def _code(error: BaseException) -> int:
    code = getattr(getattr(error, "rc", None), "value", getattr(error, "rc", None))
    return code if isinstance(code, int) else -1


def is_refusal(error: BaseException) -> bool:
    """Whether the broker refused the user or the password."""
    from aiomqtt.exceptions import MqttConnectError  # noqa: PLC0415 - it delays who only reads an address

    # MQTT 3.1.1 and 5. In other errors of the library 4 and 5 mean that a connection has ended.
    return isinstance(error, MqttConnectError) and _code(error) in {4, 5, 134, 135}
