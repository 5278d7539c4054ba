"""Read the password of a broker's user from a file, however an editor wrote it."""

import codecs
from pathlib import Path

from hyperdrift.errors import ConfigError

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_password(file: Path) -> str:
    """Return the password in a file; see `password_of`.

    Raises:
        OSError: If the file cannot be read.
        ConfigError: If it is empty or has several lines.
    """
    return password_of(file.read_bytes(), file)


def password_of(content: bytes, file: Path) -> str:
    """Return the one line of a file, without the ends of lines around it.

    Args:
        content: Text in UTF-8 or UTF-16 with a mark, in UTF-8, or else in Latin-1.
        file: Names it in the error.

    Raises:
        ConfigError: If it is empty or has several lines.
    """
    encoding = next((code for mark, code in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if not text.strip():
        raise ConfigError(f"mqtt.password_file {file}: is empty; write the password there")
    text = text.strip()
    if len(text.splitlines()) > 1 or "\0" in text:
        msg = f"mqtt.password_file {file}: has {len(text.splitlines())} lines"
        raise ConfigError(f"{msg}; write the password alone")
    return text
