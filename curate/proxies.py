"""Proxies: the small pictures and maps of a source's clips, written to disk as they come, so that a film of any length fits in memory."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from curate.observers.overlay_maps import Window, pictures
from curate.observers.pictures import Picture
from schemas.clip import PROXIES
from schemas.table import table_of


class Proxies:
    """Collects rows of the proxies relation in an Arrow file.

    Args:
        source_id: whose they are.
        file: where to write them; it must outlive the table.
    """

    def __init__(self, source_id: str, file: Path) -> None:
        self._source_id, self._file = source_id, file
        self._writer = pa.ipc.new_file(str(file), PROXIES)

    def add_pictures(self, clip_id: str, chosen: Sequence[Picture]) -> None:
        """The JPEG frames of a clip."""
        self._write(clip_id, "frame", chosen)

    def add_maps(self, clip_id: str, windows: Sequence[Window]) -> None:
        """The maps of what stays, as PNG pictures."""
        maps = [_map(window, picture) for window in windows for picture in pictures(window.planes)]
        self._write(clip_id, "edges", maps)

    def _write(self, clip_id: str, kind: str, kept: Sequence[Picture]) -> None:
        rows = [
            {
                "clip_id": clip_id,
                "source_id": self._source_id,
                "kind": kind,
                "proxy_index": index,
                "frame": picture.frame,
                "time_s": picture.time_s,
                "width": picture.width,
                "height": picture.height,
                "image": picture.image,
            }
            for index, picture in enumerate(kept)
        ]
        if rows:
            self._writer.write_table(table_of(rows, PROXIES))

    def table(self) -> pa.Table:
        """All of them, mapped from disk; nothing can be added afterwards."""
        self._writer.close()
        return pa.ipc.open_file(pa.memory_map(str(self._file))).read_all()


def _map(window: Window, picture: np.ndarray) -> Picture:
    _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 6])
    return Picture(window.frame, window.time_s, picture.shape[1], picture.shape[0], data.tobytes())
