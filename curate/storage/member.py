"""Member: one stored member of a zip as a file of its own that can be read from anywhere; zipfile's reader would first read all that lies before."""

import io
import struct
import zipfile
from typing import IO

LOCAL_HEADER_BYTES = 30
"""Before a member's name; the last four hold the lengths of its name and of what follows that."""


class Member(io.RawIOBase):
    """Reads through the open zip, whose position it moves.

    Args:
        file: the zip.
        info: the member, which must not be compressed.

    Raises:
        BadZipFile: there is no member where the zip says.
    """

    def __init__(self, file: IO[bytes], info: zipfile.ZipInfo) -> None:
        self._file, self._size, self._at = file, info.file_size, 0
        file.seek(info.header_offset)
        header = file.read(LOCAL_HEADER_BYTES)
        if len(header) < LOCAL_HEADER_BYTES:
            raise zipfile.BadZipFile("ends before a member that it lists")
        name_bytes, extra_bytes = struct.unpack("<HH", header[-4:])
        self._start = info.header_offset + LOCAL_HEADER_BYTES + name_bytes + extra_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = self._size - self._at
        self._file.seek(self._start + self._at)
        data = self._file.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data
