"""ReadVideos: one decoding pass over a source yields its shots, its clips with every dense measure, and their proxies."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from curate.corpus import open_corpus
from curate.divide import Divider, Division, Lengths
from curate.footage.locations import local_copy
from curate.observers import OBSERVERS
from curate.observers.base import Frames, Observer, Span, Unknown
from curate.observers.overlay import Overlay
from curate.observers.pictures import Pictures
from curate.proxies import Proxies
from curate.shots import DETECTORS
from curate.stage import Resources, Stage
from curate.storage.relations import READINGS, SPANS
from curate.video import Decoding, MediaError, Sampling, decode, probe
from curate.watchdog import GivenUp, Watchdog
from schemas.clip import GAPS, SHOTS, clip_id
from schemas.source import STATUS_FAILED, STATUS_OK
from schemas.table import table_of

DENSE_SIDE = 256
STALLED_CPU_S, MOST_MEMORY_BYTES = 600.0, 4 * 10**9
"""Limits of measuring one source; the decoder has its own (`Patience`, `MEMORY_BYTES`)."""
TRUNCATED_S, TRUNCATED_SHARE = 0.5, 0.02
"""What a container promises beyond these, and does not hold, is a loss; less is rounding."""


@dataclass(frozen=True)
class Splitter:
    """How a source is turned into clips.

    Attributes:
        detector: which shot detector, a key of `curate.shots.DETECTORS`.
        lengths: how long clips may be.
        pictures: proxies per clip.
        picture_side: their longer side, in pixels; at most the samples' 640.
        picture_quality: of JPEG, 0-100.
    """

    detector: str = "cascade"
    lengths: Lengths = field(default_factory=Lengths)
    pictures: int = 4
    picture_side: int = 512
    picture_quality: int = 82


class ReadVideos(Stage):
    """Reads sources and commits what it found of each under its id; hands on the ids of the clips.

    A source that cannot be read is committed as failed, with the reason; it never raises for one.

    Args:
        models_dir: folder of models, where the shot detector's weights are looked for first.
    """

    reads: ClassVar = frozenset({"source_id", "uri", "media_type"})
    writes: ClassVar = frozenset({"clip_id", "source_id"})
    resources = Resources(cpus=1.0, memory_gb=1.5, isolated=True)
    batch_rows = 1

    def __init__(self, corpus_url: str, splitter: Splitter | None = None, models_dir: str | None = None) -> None:
        self.corpus_url, self.splitter, self.models_dir = corpus_url, splitter or Splitter(), models_dir

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        corpus = open_corpus(self.corpus_url)
        for row in rows.select(["source_id", "uri", "media_type"]).to_pylist():
            with tempfile.TemporaryDirectory(prefix="clipmill-read-") as folder:
                found = read_source(row["source_id"], row["uri"], row["media_type"], self.splitter, Path(folder), self.models_dir)
                corpus.commit(row["source_id"], {**found.tables, "proxies": found.proxies})
                yield found.tables["spans"].select(["clip_id", "source_id"])


@dataclass(frozen=True)
class Found:
    """What is known of one source.

    Attributes:
        tables: the relations `shots`, `spans`, `gaps` and `readings`.
        proxies: the Parquet file of its proxies, which a long film has more of than fit in memory.
    """

    tables: dict[str, pa.Table]
    proxies: Path


def read_source(source_id: str, uri: str, media_type: str, splitter: Splitter, folder: Path, models_dir: str | None = None) -> Found:
    """Decode and measure one source; its proxies are written into `folder`."""
    reading = Reading(source_id, media_type, splitter, folder, models_dir)
    try:
        with local_copy(uri, folder) as path:
            reading.run(path)
    except (MediaError, GivenUp, OSError) as error:
        return nothing_found(source_id, str(error), folder)
    return reading.found()


def nothing_found(source_id: str, reason: str, folder: Path) -> Found:
    """Of a source that cannot be read: a reading that says why."""
    reading = {"source_id": source_id, "status": STATUS_FAILED, "rule": "decode", "reason": reason, "duration_s": 0.0}
    tables = {"shots": SHOTS.empty_table(), "spans": SPANS.empty_table(), "gaps": GAPS.empty_table(), "readings": table_of([reading], READINGS)}
    return Found(tables, Proxies(source_id, folder / "no-proxies.parquet").finished())


class Reading:
    """The one pass over one source."""

    def __init__(self, source_id: str, media_type: str, splitter: Splitter, folder: Path, models_dir: str | None = None) -> None:
        self._source_id, self._media_type, self._splitter = source_id, media_type, splitter
        self.detector = DETECTORS[splitter.detector](models_dir)
        self._divider = Divider(splitter.lengths if media_type == "video" else Lengths(minimum_frames=1))
        self._pictures = Pictures(splitter.pictures, splitter.picture_side, splitter.picture_quality)
        self._observers: list[Observer] = [*(make() for make in OBSERVERS), self._pictures]
        self._proxies = Proxies(source_id, folder / "proxies.parquet")
        self._shots: list[dict[str, Any]] = []
        self._spans: list[dict[str, Any]] = []
        self._gaps: list[dict[str, Any]] = []
        self._learnt = Decoding()
        self._size = (0, 0)
        self._watchdog = Watchdog(STALLED_CPU_S, MOST_MEMORY_BYTES)

    def run(self, path: str) -> None:
        """Decode the source and observe it.

        Raises:
            MediaError: it cannot be read.
            GivenUp: measuring it passed a limit.
        """
        with self._watchdog.watching():
            self._measure(path)

    def _measure(self, path: str) -> None:
        probed = probe(path)
        self._size = (probed.width, probed.height)
        sampling = Sampling(most_step=max(1, self._splitter.lengths.minimum_frames // 2))
        for frames in decode(path, DENSE_SIDE, sampling=sampling, learnt=self._learnt):
            self._observe(frames)
            self._watchdog.progress()
        if not self._learnt.frames:
            raise MediaError("no picture decodes")
        self._settle(self._divider.advance(self.detector.finish(), 0))
        self._settle(self._divider.finish(self._learnt.duration_s if self._media_type == "video" else 0.0))
        self._learnt.warnings[:0] = probed.warnings
        self._note_truncation()

    def _observe(self, frames: Frames) -> None:
        for observer in self._observers:
            seen = frames.samples if observer.sampled else frames
            if seen is not None and len(seen):
                observer.observe(seen.at(observer.size))
        self._divider.add_times(frames.times_s)
        boundaries = self.detector.observe(frames.at(self.detector.size))
        self._settle(self._divider.advance(boundaries, self.detector.frontier))

    def _settle(self, division: Division) -> None:
        for shot in division.shots:
            self._shots.append({"source_id": self._source_id, "shot_index": shot.index, **_place(shot.span), "transition": shot.transition})
        for clip in division.clips:
            self._spans.append(self._close(clip.shot_index, clip.span))
        for gap in division.gaps:
            self._gaps.append(self._gap(gap.span.start_s, gap.span.end_s, "rejected", gap.rule, gap.detail))

    def _close(self, shot_index: int, span: Span) -> dict[str, Any]:
        name = clip_id(self._source_id, span.start_frame, span.end_frame)
        values: dict[str, Any] = {}
        for observer in self._observers:
            values |= observer.close(span)
            if isinstance(observer, Overlay):
                self._proxies.add_maps(name, observer.windows)
        self._proxies.add_pictures(name, self._pictures.chosen)
        unmeasured = {column: value.reason for column, value in values.items() if isinstance(value, Unknown)}
        return {
            "clip_id": name,
            "source_id": self._source_id,
            "media_type": self._media_type,
            "shot_index": shot_index,
            **_place(span),
            "num_frames": span.frames,
            "fps": round(span.frames / span.duration_s, 4) if span.duration_s > 0 else None,
            "width": self._size[0],
            "height": self._size[1],
            **{column: None if column in unmeasured else value for column, value in values.items()},
            "unmeasured": list(unmeasured.items()),
        }

    def _gap(self, start_s: float, end_s: float, outcome: str, rule: str, detail: str) -> dict[str, Any]:
        return {"source_id": self._source_id, "start_s": start_s, "end_s": end_s, "outcome": outcome, "rule": rule, "detail": detail}

    def _note_truncation(self) -> None:
        """A zero-length gap at the end for what the container promised and does not hold."""
        learnt = self._learnt
        lost_s = (learnt.claimed_s or 0.0) - learnt.duration_s
        if self._media_type != "video" or lost_s <= max(TRUNCATED_S, TRUNCATED_SHARE * learnt.duration_s):
            return
        if 0 < learnt.promised_frames <= learnt.frames:
            learnt.warnings.append(f"the container claims {learnt.claimed_s:g} s, yet all its {learnt.frames} frames last {learnt.duration_s:g} s")
            return
        detail = f"the container promises {learnt.claimed_s:g} s; {lost_s:g} s of it do not decode"
        learnt.warnings.append(detail)
        self._gaps.append(self._gap(learnt.duration_s, learnt.duration_s, "failed", "truncated", detail))

    def found(self) -> Found:
        """What was found; to be asked once."""
        learnt = self._learnt
        duration_s = learnt.duration_s if self._media_type == "video" else 0.0
        reading = {
            "source_id": self._source_id,
            "frames": learnt.frames,
            "variable_rate": learnt.variable_rate,
            "interlaced": learnt.interlaced,
            "hdr": learnt.hdr,
            "keyframes": learnt.keyframes,
            "duration_s": duration_s,
            "width": self._size[0],
            "height": self._size[1],
            "fps": round(learnt.frames / duration_s, 4) if duration_s else None,
            "status": STATUS_OK,
            "warnings": learnt.warnings,
        }
        tables = {
            "shots": table_of(self._shots, SHOTS),
            "spans": table_of(self._spans, SPANS),
            "gaps": table_of(self._gaps, GAPS),
            "readings": table_of([reading], READINGS),
        }
        return Found(tables, self._proxies.finished())


def _place(span: Span) -> dict[str, Any]:
    return {"start_frame": span.start_frame, "end_frame": span.end_frame, "start_s": span.start_s, "end_s": span.end_s}
