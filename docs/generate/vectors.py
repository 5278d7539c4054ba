"""Test vectors for bots in other languages: the bytes that are signed, and signatures of them.

`docs/reference/checks.md` explains them. Everything is computed from constants, so that each run
on each machine writes the same bytes.
"""

import base64
import hashlib
import json
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from daemon.registry.signing import Signer
from hyperdrift.manifest import canonical

_SEED_TEXT: Final = "hyperdrift test vectors: trust nothing that this key signed"
_OTHER_TEXT: Final = "hyperdrift test vectors: another key"

_FLOATS: Final = (
    "[5.0,0.0,-0.0,0.1,-2.5,0.0001,1e-05,1e-07,1.5e-07,123456.789,1000000000000000.0,1e+16,"
    "1.2345678901234568e+22,1.7976931348623157e+308,5e-324,0.30000000000000004,0.3000000004]"
)
_INTEGERS: Final = (
    "[0,-1,1760000000000,9007199254740991,9007199254740993,9223372036854775807,"
    "-9223372036854775808,1000000000000000000000000000000]"
)
# What a text is called -> the text. All of these are JSON.
_TEXTS: Final = {
    "keys are sorted": '{"b": 1, "a": 2, "B": 3, "": 4, "a b": 5, "10": 6, "9": 7}',
    "keys are sorted by code point, not by UTF-16 unit": (
        '{"\U0001f600": 1, "\ue000": 2, "\u00e9": 3, "z": 4, "\uffff": 5}'
    ),
    "objects in objects and in lists are sorted too": (
        '{"z": {"b": [{"d": 1, "c": [[], {}]}], "a": {}}, "a": [3, 1, 2]}'
    ),
    "spaces and line ends go": '{\n "a" : [ 1 ,\t2 ] ,\r\n "b" : { "c" : null } }\n',
    "what was escaped for ASCII is not escaped": '{"a": "\\u00e9 \\ud83d\\ude00 \\/ \\u0041"}',
    "quotes, backslashes and control characters are escaped, in lower case": (
        '{"a": "\\" \\\\ \\b \\f \\n \\r \\t \\u0000 \\u001F \\u000A"}'
    ),
    "nothing else is escaped": '{"a": "\x7f \u2028 \u2029 < > & \' /"}',
    "digits and brackets in a text stay a text": '{"a": "1.0 {\\"b\\": 2e5, [-3]}", "-1": "n1"}',
    "floats are as Python writes them": f'{{"a": {_FLOATS}}}',
    "integers are never floats": f'{{"a": {_INTEGERS}}}',
    "true, false and null": '{"a": [true, false, null]}',
    "the signature at the top is left out": '{"a": 1, "signature": "x", "z": 2}',
    "a signature further in is not": '{"a": {"signature": "x"}, "signature": null}',
    "of two fields of one name the last one counts": '{"a": 1, "b": 2, "a": {"c": 3}}',
    "no name has a meaning": '{"toString": 1, "constructor": 2, "__proto__": {"a": 3}}',
    "an object without fields": "{}",
}
# What is wrong with a text -> the text. A reader refuses these.
_NO_JSON: Final = {
    "nothing": "",
    "a list": "[1]",
    "a comma too many": '{"a": 1,}',
    "two documents": '{"a": 1} {"b": 2}',
    "cut short": '{"a": "b',
    "a byte order mark": '\ufeff{"a": 1}',
    "single quotes": "{'a': 1}",
    "a number with a leading zero": '{"a": 01}',
    "a number without digits after its point": '{"a": 1.}',
    "a number with a plus sign": '{"a": +1}',
    "not a number": '{"a": NaN}',
    "infinity": '{"a": -Infinity}',
    "half a character": '{"a": "\\ud800"}',
    "a line end in a text": '{"a": "b\nc"}',
    "a comment": '{"a": 1} // b',
}


def key(text: str = _SEED_TEXT) -> Ed25519PrivateKey:
    """Return the private key whose seed is the SHA-256 of a text."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(text.encode()).digest())


def other_key() -> Ed25519PrivateKey:
    """Return a key that is not the daemon's."""
    return key(_OTHER_TEXT)


def public_pem() -> str:
    """Return the public key of the vectors as PEM."""
    return Signer(key()).public_pem().decode()


def canonical_json() -> str:
    """Return `canonical.json`: texts and the bytes that are signed for them."""
    given = [
        {
            "name": name,
            "text": text,
            "canonical": canonical(json.loads(text)).decode(),
            "sha256": hashlib.sha256(canonical(json.loads(text))).hexdigest(),
        }
        for name, text in _TEXTS.items()
    ]
    refused = [{"name": name, "text": text} for name, text in _NO_JSON.items()]
    return _written({"accepted": given, "refused": refused})


def signatures_json() -> str:
    """Return `signatures.json`: the key, and texts that it signed or did not."""
    private = key()
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    about = {
        "note": "Made for these vectors from a sentence that everybody knows. Never trust it.",
        "public_pem": public_pem(),
        "public_hex": private.public_key().public_bytes_raw().hex(),
        "private_pem": pem.decode(),
        "private_hex": private.private_bytes_raw().hex(),
    }
    cases = [{"name": name, "text": t, "signed": ok} for name, t, ok in _signature_cases()]
    return _written({"key": about, "cases": cases})


_SIGNED: Final[dict[str, Any]] = {
    "model_id": "20250615_150640_ba55f4789d38",
    "signal_threshold": {"up": 0.41, "down": 1e-05},
    "reason": "le modèle a dérivé 😀",
    "issued_ms": 1_760_000_000_000,
}


def _signature_cases() -> list[tuple[str, str, bool]]:
    """Return name, text, and whether the text is signed with the key of the vectors."""
    signature = Signer(key()).sign(_SIGNED)
    return [*_of_the_content(signature), *_of_the_signature(signature)]


def _signed(signature: object, **changes: Any) -> str:
    return json.dumps({**_SIGNED, "signature": signature, **changes}, ensure_ascii=False)


def _of_the_content(signature: str) -> list[tuple[str, str, bool]]:
    whole = {**_SIGNED, "signature": signature}
    less = {name: value for name, value in whole.items() if name != "reason"}
    floats = json.loads(_TEXTS["floats are as Python writes them"])
    signed_floats = {**floats, "signature": Signer(key()).sign(floats)}
    return [
        ("as the daemon writes a payload", _signed(signature), True),
        ("as the daemon writes a file", json.dumps(whole, indent=1) + "\n", True),
        ("its fields in another order", json.dumps(dict(reversed(whole.items()))), True),
        ("floats", json.dumps(signed_floats), True),
        ("a value changed", _signed(signature, reason="another"), False),
        ("a digit changed", _signed(signature, issued_ms=1_760_000_000_001), False),
        ("a field more", _signed(signature, promoted_by="mallory"), False),
        ("a field less", json.dumps(less), False),
    ]


def _of_the_signature(signature: str) -> list[tuple[str, str, bool]]:
    raw, theirs = base64.b64decode(signature), Signer(other_key()).sign(_SIGNED)
    loose = base64.b64encode(raw, b"-_").decode()
    spaced = Signer(key()).sign_bytes(json.dumps(_SIGNED, sort_keys=True).encode())
    inner = json.dumps({"a": {**_SIGNED, "signature": signature}})
    return [
        ("no signature", json.dumps(_SIGNED), False),
        ("an empty signature", _signed(""), False),
        ("null for a signature", _signed(None), False),
        ("a number for a signature", _signed(1), False),
        ("the signature of another key", _signed(theirs), False),
        ("a signature cut short", _signed(signature[:-4]), False),
        ("a signature without its padding", _signed(signature.rstrip("=")), False),
        ("a signature with a line end", _signed(signature + "\n"), False),
        ("a signature in the alphabet for addresses", _signed(loose), False),
        ("a signature in hex", _signed(raw.hex()), False),
        ("a signature of bytes with spaces", _signed(spaced), False),
        ("a signature further in", inner, False),
    ]


def _written(document: Any) -> str:
    return json.dumps(document, indent=1, ensure_ascii=True) + "\n"
