"""A real mosquitto as strangers should find it: TLS, passwords and the ACL that we ship."""

import datetime as dt
import ipaddress
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from daemon.mqtt.broker.access import BOT, OPERATOR
from daemon.mqtt.embedded_broker import EmbeddedBroker
from hyperdrift.clock import SystemClock
from tests.daemon.brokers import Mosquitto
from tests.ports import free_port

EXAMPLES = Path(__file__).parents[2] / "systemd"


class SecuredMosquitto(Mosquitto):
    """The example configuration, with this test's paths, port and user id put in."""

    users = ("stranger", "bot", "operator", "hyperdrift")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if shutil.which("mosquitto_passwd") is None:
            pytest.skip("mosquitto_passwd is not installed")
        self.folder = folder / "broker"
        self.folder.mkdir()
        self.ca_file = certify(self.folder)
        passwords = self.folder / "hyperdrift.passwd"
        passwords.write_text("".join(f"{user}:{password(user)}\n" for user in self.users))
        subprocess.run(["mosquitto_passwd", "-U", passwords], check=True, capture_output=True)
        shutil.copy(EXAMPLES / "mosquitto.acl", self.folder / "hyperdrift.acl")
        example = (EXAMPLES / "mosquitto.conf").read_text()
        text = example.replace("/etc/mosquitto/certs", str(self.folder))
        text = text.replace("/etc/mosquitto", str(self.folder))
        text = text.replace("listener 8883", f"listener {self.port} 127.0.0.1")
        self._config.write_text(f"{text}user root\n")

    @property
    def url(self) -> str:
        return self.url_of("hyperdrift")

    def url_of(self, user: str) -> str:
        return f"mqtts://{user}@127.0.0.1:{self.port}"

    def password_file(self, user: str) -> Path:
        path = self.folder / f"{user}.password"
        path.write_text(password(user) + "\n")
        return path

    def client_options(self, user: str) -> tuple[str, ...]:
        """Return what `mosquitto_sub` and `mosquitto_pub` need to be this user."""
        return ("--cafile", str(self.ca_file), "-h", "127.0.0.1", "-u", user, "-P", password(user))


class SecuredEmbedded:
    """The embedded broker with passwords, by the names of the example's users."""

    users = ("bot", "operator", "hyperdrift")
    ca_file = None

    def __init__(self, _folder: Path) -> None:
        named = {"daemon": "hyperdrift", BOT: "bot", OPERATOR: "operator"}
        passwords = {user: password(name) for user, name in named.items()}
        self._broker = EmbeddedBroker(SystemClock(), free_port(), passwords=passwords)

    def url_of(self, user: str) -> str:
        name = "daemon" if user == "hyperdrift" else user
        return self._broker.url.replace("//", f"//{name}@")

    async def start(self) -> None:
        await self._broker.__aenter__()

    async def stop(self) -> None:
        await self._broker.__aexit__(None, None, None)


def password(user: str) -> str:
    return f"secret-of-{user}"


def certify(folder: Path, name: str = "127.0.0.1") -> Path:
    """Make a CA and a broker's certificate for `name`; return the CA's file."""
    ca_key, ca = _certificate("CA", None, None)
    key, broker = _certificate(name, ca_key, ca)
    pem = serialization.Encoding.PEM
    (folder / "ca.crt").write_bytes(ca.public_bytes(pem))
    (folder / "broker.crt").write_bytes(broker.public_bytes(pem))
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "broker.key").write_bytes(private)
    return folder / "ca.crt"


def _certificate(
    name: str, ca_key: ec.EllipticCurvePrivateKey | None, ca: x509.Certificate | None
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca.subject if ca is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca is None, path_length=None), critical=True)
    )
    if ca is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([_place(name)]), critical=False)
    return key, builder.sign(ca_key or key, hashes.SHA256())


def _place(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
