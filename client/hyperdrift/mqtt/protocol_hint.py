"""Find out what a port wants, where a connection failed without a reason.

A TLS port that gets plain MQTT, a plain one that gets TLS, and a broker that misses a client's
certificate just end the connection, or wait.
"""

import asyncio
import contextlib
import ssl
from typing import Final

from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.tasks import within

_LONGEST_S: Final = 2.0
# CONNECT of MQTT 3.1.1 with a clean session and the client id "?", and how an answer begins.
_CONNECT: Final = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x05\x00\x01?"
_CONNACK: Final = 0x20
_FAILURES: Final = (OSError, EOFError)  # ssl.SSLError and TimeoutError are of the former
_NO_CERTIFICATE: Final = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE")


async def protocol_hint(address: BrokerAddress, trust: ssl.SSLContext | None) -> str:
    """Say what to write instead, if the port speaks another protocol or wants more; else "".

    Takes four seconds at most.

    Args:
        address: The address that cannot be reached.
        trust: Its TLS context, None without TLS.
    """
    if trust is None:
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE  # nothing is told
        with contextlib.suppress(*_FAILURES):
            await within(_LONGEST_S, _shake_hands(address, anybody, alerts=False))
            return f"the broker speaks TLS on port {address.port}; write mqtts://"
        return ""
    try:
        await within(_LONGEST_S, _shake_hands(address, trust))
    except ssl.SSLError as e:
        if any(reason in str(e.reason) for reason in _NO_CERTIFICATE):
            return "it wants a certificate of this client: mqtt.cert_file and mqtt.key_file"
    except _FAILURES:
        pass
    with contextlib.suppress(*_FAILURES):
        if await within(_LONGEST_S, _greet(address)) == _CONNACK:
            return f"the broker speaks no TLS on port {address.port}; write mqtt://"
    return ""


async def _shake_hands(
    address: BrokerAddress, trust: ssl.SSLContext, *, alerts: bool = True
) -> None:
    """Shake hands; with `alerts` also wait for what a broker sends that misses a certificate.

    Nothing is written: a broker that closes with unread bytes resets the connection, and its alert
    is lost.
    """
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=trust)
    try:
        if alerts:
            await reader.read(1)
    finally:
        writer.transport.abort()


async def _greet(address: BrokerAddress) -> int:
    """Return the first byte of what is answered to a CONNECT without a user."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(_CONNECT)
        return (await reader.readexactly(1))[0]
    finally:
        writer.transport.abort()
