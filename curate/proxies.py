"""Proxies: the small pictures and maps of a source's clips, written to disk as they come, so that a film of any length fits in memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq

from curate.observers.overlay_maps import Window, pictures
from curate.observers.pictures import Picture
from curate.storage.commits import PICTURES_IN_GROUP
from schemas.clip import PROXIES
from schemas.table import table_of


class Proxies:
    """Collects rows of the proxies relation in a Parquet file.

    Args:
        source_id: whose they are.
        file: where to write them.
    """

    def __init__(self, source_id: str, file: Path) -> None:
        self._source_id, self._file = source_id, file
        self._waiting: list[dict[str, Any]] = []
        self._writer = pq.ParquetWriter(file, PROXIES, compression="zstd", use_dictionary=["clip_id", "source_id", "kind"])

    def add_pictures(self, clip_id: str, chosen: Sequence[Picture]) -> None:
        """The JPEG frames of a clip."""
        self._add(clip_id, "frame", chosen)

    def add_maps(self, clip_id: str, windows: Sequence[Window]) -> None:
        """The maps of what stays, as PNG pictures."""
        maps = [_map(window, picture) for window in windows for picture in pictures(window.planes)]
        self._add(clip_id, "edges", maps)

    def _add(self, clip_id: str, kind: str, kept: Sequence[Picture]) -> None:
        self._waiting += [
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
        while len(self._waiting) >= PICTURES_IN_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        self._writer.write_table(table_of(self._waiting[:PICTURES_IN_GROUP], PROXIES))
        self._waiting = self._waiting[PICTURES_IN_GROUP:]

    def finished(self) -> Path:
        """The file with all of them; nothing can be added afterwards."""
        if self._waiting:
            self._write_group()
        self._writer.close()
        return self._file


def _map(window: Window, picture: np.ndarray) -> Picture:
    _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 6])
    return Picture(window.frame, window.time_s, picture.shape[1], picture.shape[0], data.tobytes())
