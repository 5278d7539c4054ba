"""Unpack a file and judge its format by its content; a suffix may be missing or wrong."""

import bz2
import codecs
import errno
import gzip
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NamedTuple, cast

from daemon.ingest.tables.reading import OnBytes
from hyperdrift.errors import BadInput

HEAD_BYTES: Final = 1 << 18
_PIECE: Final = 1 << 22
_MOST_LAYERS: Final = 4
_ARROW_CODECS: Final = {b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}
_ARROW_STREAM: Final = b"\xff\xff\xff\xff"
_OPENERS: Final[dict[bytes, Callable[[BinaryIO], Any]]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_NO_TABLE: Final = {
    b"\xd0\xcf\x11\xe0": "a workbook: save the sheet as CSV",
    b"SQLite format 3": "an SQLite database: export its table as CSV",
    b"\x89HDF": "an HDF5 file: convert it to Parquet, for freqtrade with convert-data",
    b"\x80\x04\x95": "a pickle: convert it to Parquet",
    b"\x80\x05\x95": "a pickle: convert it to Parquet",
    b"\x93NUMPY": "a NumPy array: write it as CSV with a header",
    b"ORC": "an ORC file: convert it to Parquet",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"Rar!": "a RAR archive: unpack it",
    b"%PDF": "a PDF document: export CSV",
}
_BOMS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What the compressed formats' modules raise if a file is damaged or cut off.
_DAMAGED: Final = (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)


class Content(NamedTuple):
    """The unpacked content of a file: its format, and a stream at its beginning."""

    kind: Literal["text", "parquet", "feather", "stream"]
    stream: BinaryIO
    encoding: str


@contextmanager
def unpacked(path: Path, on_bytes: OnBytes = lambda _: None) -> Iterator[Content]:
    """Open a file, and unpack it if it is compressed.

    Args:
        path: The file.
        on_bytes: Called with the number of bytes read since its last call.

    Raises:
        BadInput: If it is missing, damaged, or holds no table.
        PermissionError: If it may not be read; the command line says what to do.
    """
    try:
        with path.open("rb") as raw:
            counted = io.BufferedReader(_Counted(raw, on_bytes), HEAD_BYTES)
            stream = _peeled(path, cast("BinaryIO", counted))
            yield _content(path, stream)
    except PermissionError as e:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path)) from e
    except _DAMAGED as e:
        if isinstance(e, FileNotFoundError):
            raise BadInput(f"{path} is not there; write the name of a file") from e
        if isinstance(e, IsADirectoryError):
            raise BadInput(f"{path} is a folder: write the names of its files") from e
        why = str(e).splitlines()[0] if str(e) else repr(e)
        raise BadInput(f"{path} cannot be read ({why}): fetch or write it again") from e


class _Counted(io.RawIOBase):
    """Tells how many bytes of a file were read; reading again after a seek is not counted."""

    def __init__(self, raw: BinaryIO, on_bytes: OnBytes) -> None:
        self._raw, self._on_bytes, self._furthest = raw, on_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        got = cast("io.BufferedReader", self._raw).readinto(buffer)
        if (now := self._raw.tell()) > self._furthest:
            self._on_bytes(now - self._furthest)
            self._furthest = now
        return got

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()


def _peeled(path: Path, stream: BinaryIO) -> BinaryIO:
    """Return the stream below all layers of compression."""
    import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s, and other commands do not need it

    for _ in range(_MOST_LAYERS):
        head = stream.read(16)
        stream.seek(0)
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            stream = _member(path, stream)
            continue
        codec = next((name for magic, name in _ARROW_CODECS.items() if head.startswith(magic)), "")
        if codec:
            packed = pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), codec)
            stream = io.BytesIO(packed.read())
            continue
        opener = next((o for magic, o in _OPENERS.items() if head.startswith(magic)), None)
        if opener is None:
            return stream
        stream = cast("BinaryIO", opener(stream))
    raise BadInput(f"{path} is compressed more than {_MOST_LAYERS - 1} times: unpack it")


def _member(path: Path, stream: BinaryIO) -> BinaryIO:
    archive = zipfile.ZipFile(stream)
    names = archive.namelist()
    if not {"[Content_Types].xml", "content.xml"}.isdisjoint(names):
        raise BadInput(f"{path} is a workbook: save the sheet as CSV")
    files = [
        name
        for name in names
        if not name.endswith(("/", ".CHECKSUM"))
        and not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
    ]
    if len(files) != 1:
        held = f"{len(files)} files ({', '.join(files[:6])})" if files else "no file"
        raise BadInput(f"{path} holds {held}, not one: unpack it and give the files you mean")
    try:
        return cast("BinaryIO", archive.open(files[0]))
    except (RuntimeError, NotImplementedError) as e:
        raise BadInput(f"{path} cannot be unpacked ({e}): unpack it yourself") from e


def _content(path: Path, stream: BinaryIO) -> Content:
    head = stream.read(HEAD_BYTES)
    stream.seek(0)
    if head.startswith(b"PAR1"):
        return Content("parquet", stream, "")
    if head.startswith((b"ARROW1", b"FEA1")):
        return Content("feather", stream, "")
    if head.startswith(_ARROW_STREAM):
        return Content("stream", stream, "")
    for magic, what in _NO_TABLE.items():
        if head.startswith(magic):
            raise BadInput(f"{path} is {what}")
    if head[257:262] == b"ustar":
        raise BadInput(f"{path} is a tar archive: unpack it and give the files you mean")
    encoding = _encoding(head)
    start = head[:512].decode(encoding or "latin-1", "replace").lstrip("\ufeff \t\r\n").lower()
    if start.startswith(("<!doctype", "<html", "<?xml", "<head", "<body")):
        raise BadInput(f"{path} is a web page, not a table: fetch the file again")
    if not encoding:
        raise BadInput(f"{path} is neither text nor Parquet nor Feather: convert it to CSV")
    if not head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise BadInput(f"{path} cannot be read: it is empty")
    return Content("text", stream, encoding)


def _encoding(head: bytes) -> str:
    """Return the encoding of text; "" if this is no text. UTF-8 is only presumed."""
    for bom, name in _BOMS:
        if head.startswith(bom):
            return name
    nulls = head.count(0)
    if not nulls:
        return "utf-8"
    if head[1::2].count(0) > len(head) * 0.4 and head[::2].count(0) == 0:
        return "utf-16-le"
    if head[::2].count(0) > len(head) * 0.4 and head[1::2].count(0) == 0:
        return "utf-16-be"
    return ""


def is_utf8(content: Content) -> bool:
    """Return whether text that was presumed to be UTF-8 is; true for other encodings."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    content.stream.seek(0)
    try:
        while content.encoding.startswith("utf-8") and (piece := content.stream.read(_PIECE)):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def as_utf8(content: Content, *, latin: bool = False) -> BinaryIO:
    """Return the text of a file in UTF-8 without a mark at its beginning.

    Args:
        content: The text.
        latin: Read it as Latin-1, because it is no UTF-8.

    Raises:
        BadInput: If it is not in the encoding that its beginning shows.
    """
    content.stream.seek(0)
    if latin:
        data = content.stream.read().removeprefix(codecs.BOM_UTF8)
        return io.BytesIO(data.decode("latin-1").encode())
    if content.encoding == "utf-8":
        return content.stream
    if content.encoding == "utf-8-sig":
        content.stream.seek(len(codecs.BOM_UTF8))
        return content.stream
    try:
        text = content.stream.read().decode(content.encoding)
    except UnicodeDecodeError as e:
        raise BadInput(f"the file is not whole {content.encoding} text ({e.reason})") from e
    return io.BytesIO(text.lstrip("\ufeff").encode())
