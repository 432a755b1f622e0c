"""The members of a tar, one after the other, out of any stream of bytes, in bounded memory.

Python's `tarfile` remembers every member and believes the size that a long name declares; here a tar may be a hundred
gigabytes, and anybody's. Read are ustar, GNU long names and pax; of a member only its name, kind and data are used.
"""

from __future__ import annotations

import tarfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = 512
MAX_HEADER = 1 << 20  # bytes of a long name or of a pax header; the largest that are meant have some kilobytes
MAX_PADDING = 1 << 20  # bytes of zeros after the mark of the end
_CHUNK = 1 << 20
_WITHOUT_DATA = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_HEADERS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE, *_PAX)


class DamagedTar(Exception):
    """The bytes stop being a tar; the message says where and how, in a few words."""


@dataclass(frozen=True)
class Member:
    """name: as stored, bytes that are not UTF-8 as \\xNN; is_file: no link, folder or device; size: bytes of data."""

    name: str
    is_file: bool
    size: int


class TarReader:
    """Go through a tar once. At most the data of the member that is asked for, or a header of 1 MB, is in memory.

    file: at its beginning; size: of a file in which one can seek, None for a stream.
    """

    def __init__(self, file: BinaryIO, size: int | None) -> None:
        self._file, self._size = file, size
        self._at = 0  # bytes of the tar behind us
        self._data_stop = 0  # where the data of the member at hand ends

    def members(self) -> Iterator[Member]:
        """Each member in turn; `data` gives the bytes of the one at hand. `DamagedTar` where the tar is no tar."""
        name, size = None, None  # what a header before says of the next member
        while (block := self._next_header()) is not None:
            try:
                info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except (tarfile.HeaderError, ValueError):
                raise DamagedTar(self._no_header(block)) from None
            length = info.size if size is None or info.type in _HEADERS else size
            if length < 0:
                raise DamagedTar(self._no_header(block))
            self._data_stop = self._at + (0 if info.type in _WITHOUT_DATA else length)
            if info.type == tarfile.GNUTYPE_LONGNAME:
                name = _text(self._header_data().split(b"\0", 1)[0])
            elif info.type in _PAX:
                path, size = _pax(self._header_data())
                name = name if path is None else _text(path)
            elif info.type not in _HEADERS:
                stored = _text(info.name.encode("utf-8", "surrogateescape"))
                yield Member(stored if name is None else name, info.type in _FILES, length)
                name, size = None, None
        at = self._at
        rest = self._read(MAX_PADDING + 1)
        if len(rest) > MAX_PADDING or rest.count(0) < len(rest):
            raise DamagedTar(f"goes on after the mark of the end at byte {at}: tars were joined, or a part is missing")

    def data(self) -> bytes:
        """The data of the member at hand, all that was not read yet; `DamagedTar` when the tar is cut short in it."""
        short = self._size is not None and self._data_stop > self._size  # then what is announced may be absurd
        data = b"" if short else self._read(self._data_stop - self._at)
        if self._at < self._data_stop:
            raise DamagedTar(f"cut short at byte {self._at}")
        return data

    def skip(self) -> None:
        """Leave the data of the member at hand unread; `DamagedTar` as of `data`."""
        self._skip(self._data_stop - self._at)

    def _next_header(self) -> bytes | None:
        """Skip what is left of the member at hand; the next header, None at the end of the tar."""
        self._skip(-(-self._data_stop // BLOCK) * BLOCK - self._at)
        block = self._read(BLOCK)
        self._data_stop = self._at
        if not block:
            missing = "cut short: the mark of the end is missing"
            raise DamagedTar(missing if self._at else "empty (zero bytes)")
        if len(block) < BLOCK:
            raise DamagedTar(f"cut short at byte {self._at}" if self._at > BLOCK else self._no_header(block))
        return block if any(block) else None

    def _no_header(self, block: bytes) -> str:
        if self._at > BLOCK:
            return f"damaged: expected the header of a file at byte {self._at - len(block)}"
        packed = " (it is packed: read it with `pipe:gzip -dc FILE`)" if block[:2] == b"\x1f\x8b" else ""
        return f"not a tar{packed}"

    def _header_data(self) -> bytes:
        if self._data_stop - self._at > MAX_HEADER:
            raise DamagedTar(f"damaged: a header of {self._data_stop - self._at} bytes at byte {self._at}")
        return self.data()

    def _read(self, n: int) -> bytes:
        """The next n bytes, fewer only at the end; memory grows with what is there, not with what is announced."""
        if self._size is not None:
            n = max(0, min(n, self._size - self._at))
            self._at += n
            return self._file.read(n)
        pieces = []
        while n > 0 and (piece := self._file.read(min(n, _CHUNK))):
            pieces.append(piece)
            n -= len(piece)
            self._at += len(piece)
        return b"".join(pieces)

    def _skip(self, n: int) -> None:
        if n <= 0:
            return
        if self._size is None:
            stop = self._at + n
            while self._at < stop:
                if not self._read(min(_CHUNK, stop - self._at)):
                    break
        else:
            self._at = self._file.seek(min(self._at + n, self._size))
        if self._at < self._data_stop:
            raise DamagedTar(f"cut short at byte {self._at}")


def _pax(header: bytes) -> tuple[bytes | None, int | None]:
    """The path and the size that a pax header gives, None for what it does not."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(header):
        digits, space, _ = header[at : at + 20].partition(b" ")
        stop = at + int(digits) if space and digits.isdigit() else 0
        key, equals, value = header[at + len(digits) + 1 : max(stop - 1, 0)].partition(b"=")
        if not (equals and stop <= len(header) and header[stop - 1 : stop] == b"\n"):
            raise DamagedTar("damaged: a pax header that is none")
        if key in (b"path", b"size"):
            found[key] = value
        at = stop
    size = found.get(b"size")
    if size is not None and not (size.isdigit() and len(size) < 20):
        raise DamagedTar("damaged: a pax header with a size that is no number")
    return found.get(b"path"), None if size is None else int(size)


def _text(name: bytes) -> str:
    """A name as text on one line; bytes that are not UTF-8 and control characters become \\xNN escapes."""
    text = name.decode("utf-8", "backslashreplace")
    broken = {c for c in text if unicodedata.category(c) in ("Cc", "Zl", "Zp")}
    return "".join(c.encode("unicode_escape").decode() if c in broken else c for c in text) if broken else text
