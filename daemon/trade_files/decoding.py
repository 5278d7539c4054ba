"""Decode the bytes of a text file whose encoding only its first bytes tell."""

import codecs
import re
from collections.abc import Mapping
from typing import Final

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NO_TEXT: Final[Mapping[bytes, str]] = {
    b"PK\x03\x04": "a ZIP or Excel file: save it as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel file: save it as CSV",
    b"\x1f\x8b": "packed by gzip: unpack it, the daemon follows a file that grows",
    b"BZh": "packed by bzip2: unpack it, the daemon follows a file that grows",
    b"\x28\xb5\x2f\xfd": "packed by zstd: unpack it, the daemon follows a file that grows",
    b"\xfd7zXZ": "packed by xz: unpack it, the daemon follows a file that grows",
    b"PAR1": "a Parquet file: write CSV or JSON lines",
    b"ARROW1": "a Feather file: write CSV or JSON lines",
    b"\x80\x04\x95": "a pickle of Python: write CSV or JSON lines",
}
_ENOUGH: Final = 8
_LINE_END: Final = re.compile("\r\n?")
_HOLE: Final = bytes(4)


class Decoder:
    """Decodes one file from its beginning.

    Attributes:
        fault: What the file is if it is no text, and what to do; "" if it is text.
    """

    def __init__(self) -> None:
        self._head = b""
        self._decoder: codecs.IncrementalDecoder | None = None
        self.fault = ""

    def feed(self, data: bytes, *, ends: bool = False) -> str:
        """Return the text of more bytes, its lines ended by newlines alone.

        What is no character becomes a question mark. Between two pieces one line end may become
        an empty line more.
        """
        if self._decoder is None:
            self._head += data
            if self._head.startswith(_HOLE):  # copytruncate left it
                self._head = self._head.lstrip(b"\0")
            whole_line = b"\n" in self._head[_ENOUGH // 2 :]
            if len(self._head) < _ENOUGH and not ends and not whole_line:
                return ""
            self.fault = next(
                (what for magic, what in _NO_TEXT.items() if self._head.startswith(magic)), ""
            )
            self._decoder = codecs.getincrementaldecoder(_encoding(self._head))(errors="replace")
            data, self._head = self._head, b""
        if self.fault:
            return ""
        return _LINE_END.sub("\n", self._decoder.decode(data, final=ends))


def _encoding(head: bytes) -> str:
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if len(head) >= _ENOUGH // 2:
        if not any(head[1:_ENOUGH:2]) and all(head[:_ENOUGH:2]):
            return "utf-16-le"
        if not any(head[:_ENOUGH:2]) and all(head[1:_ENOUGH:2]):
            return "utf-16-be"
    return "utf-8"
