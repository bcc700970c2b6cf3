"""All broken and odd files of the truth set, through adding and reading as one corpus: each ends as expected, and none stops another."""

import itertools
import json
import tarfile
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import pyarrow.compute as pc
import pytest

from curate.corpus import open_corpus
from curate.read import ReadVideos
from curate.select import select
from curate.sources import add_sources
from curate.stage import Worker
from curate.video import cut, decode
from schemas.recipe import Recipe

Source = dict[str, Any]


def healthy(source: Source) -> bool:
    """The content that many odd names share: one source, all of it read."""
    return bool(source["status"] == "ok" and source["frames"] == 90 and abs(source["duration_s"] - 3.003) < 1e-3)


def failed(*words: str) -> Callable[[Source], bool]:
    return lambda source: source["status"] == "failed" and any(word in source["reason"] for word in words)


def read(**expected: Any) -> Callable[[Source], bool]:
    return lambda source: source["status"] == "ok" and all(source[name] == value for name, value in expected.items())


def warned(source: Source, words: str) -> bool:
    return any(words in warning for warning in source["warnings"])


CASES: dict[str, Callable[[Source], bool]] = {
    **dict.fromkeys(
        ("ok_reference.mp4", "wrong_extension.txt", "no_extension", "UPPER.MP4", "name with spaces.mp4", "ünïcödé 视频 🎬.mp4", "quote'\"$(echo x);&.mp4",
         "-dash.mp4", "a%03d.mp4", "comma,tab\t.mp4", "bad_utf8_%FF%FE.mp4", "link_to_ok.mp4", "dup_of_reference.mp4"),
        healthy,
    ),
    "truncated_faststart.mp4": lambda source: read(frames=50)(source) and warned(source, "promises 3.003 s"),
    "truncated_no_moov.mp4": failed("not a video or image that can be read"),
    "zero_byte.mp4": failed("empty"),
    "text_renamed.mp4": failed("not a video or image that can be read"),
    "corrupt_middle.mp4": lambda source: read()(source) and source["frames"] > 60 and warned(source, "do not decode"),
    "one_frame.mp4": read(frames=1),
    "two_frames.mp4": read(frames=2),
    "tiny_2x2.mp4": read(width=2, height=2, frames=25),
    "odd_355x241_444.mp4": lambda source: read(frames=90)(source) and abs(source["width"] - 355) <= 1 and abs(source["height"] - 241) <= 1,
    "odd_355x241_mjpeg.avi": lambda source: read(frames=30)(source) and abs(source["width"] - 355) <= 1 and abs(source["height"] - 241) <= 1,
    "vfr.mp4": lambda source: read(variable_rate=True)(source) and 2.8 < source["duration_s"] < 3.1,
    "vfr_two_rates.mp4": lambda source: read(variable_rate=True)(source) and 7.7 < source["duration_s"] < 8.2,
    "rotated_90.mp4": read(width=270, height=480),
    "h264_10bit.mp4": read(frames=90, hdr=False),
    "hdr10_tagged.mp4": read(frames=90, hdr=True),
    "interlaced.mpg": read(interlaced=True),
    "anamorphic_sar4x3.mp4": read(width=480, height=270),
    "duration_lie.mp4": healthy,
    "size_lie_30000.mp4": read(width=480, height=270, frames=90),
    "again": failed("leads back"),
    "inside.mp4": healthy,
    "self.mp4": failed("symbolic links"),
    "dangling.mp4": failed("link to nothing"),
    "fifo.mp4": failed("pipe"),
    "two_video_streams.mp4": read(width=480, height=270, frames=90),
    "fps_1000.mp4": read(frames=500, duration_s=0.5),
    "fps_1.mp4": read(frames=5, duration_s=5.0),
    "last_frame_at_24h.mp4": lambda source: read(frames=90)(source) and source["duration_s"] < 4 and warned(source, "claims 86400 s"),
}  # fmt: skip
"""By the last part of a location; a directory is no footage, and has none."""


@pytest.fixture(scope="module")
def corpus(shared_media, tmp_path_factory):
    """Everything added and read, under the limits of the sandbox."""
    folder = tmp_path_factory.mktemp("bad")
    with tarfile.open(shared_media / "bad.tar.xz") as archive:
        archive.extractall(folder, filter="tar")
    made = open_corpus(str(folder / "corpus"), create=True)
    add_sources(made, [str(folder / "bad")])
    sources = made.table("sources").filter(pc.field("status") == "ok")
    for _ in Worker(ReadVideos(made.url))(sources.select(["source_id", "uri", "media_type"])):
        pass
    return made


@pytest.fixture(scope="module")
def by_name(corpus) -> dict[str, Source]:
    return {location.rsplit("/", 1)[1]: source for source in corpus.table("sources").to_pylist() for location in source["locations"]}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_bad_file_ends_as_expected(by_name, name):
    assert CASES[name](by_name[name]), by_name[name]


def test_every_case_of_the_truth_set_is_looked_at(by_name, shared_media):
    told = [case["file"].removeprefix("bad/") for case in json.loads((shared_media / "truth" / "bad.json").read_text())]
    shown = {"looped/": ["again", "inside.mp4"], "directory.mp4/": [], "bad_utf8_\\xff\\xfe.mp4": ["bad_utf8_%FF%FE.mp4"]}
    assert len(told) == 41
    assert {name for case in told for name in shown.get(case, [case])} == set(CASES) == set(by_name)


def test_a_content_with_many_names_is_one_source(by_name):
    assert len({by_name[name]["source_id"] for name, case in CASES.items() if case is healthy and name != "duration_lie.mp4"}) == 1


def test_every_second_that_decodes_is_in_one_clip_or_gap(corpus):
    pieces: dict[str, list[tuple[float, float]]] = {}
    for name in ("spans", "gaps"):
        for row in corpus.read(name).to_pylist():
            pieces.setdefault(row["source_id"], []).append((row["start_s"], row["end_s"]))
    for source in corpus.table("sources").to_pylist():
        if source["status"] == "ok":
            spans = sorted(pieces[source["source_id"]])
            assert spans[0][0] == 0 and spans[-1][1] == source["duration_s"]
            assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))


def test_the_seconds_that_a_truncated_file_lost_are_in_the_ledger(corpus, by_name):
    source = by_name["truncated_faststart.mp4"]
    select(corpus, Recipe(name="everything"))
    (lost,) = corpus.table("ledger").filter((pc.field("source_id") == source["source_id"]) & (pc.field("rule") == "truncated")).to_pylist()
    assert lost["outcome"] == "failed" and "1.33467 s of it do not decode" in lost["detail"]
    assert lost["start_s"] == lost["end_s"] == source["duration_s"]


def test_what_decodes_badly_after_a_seek_is_read_as_a_straight_decode_gives_it(shared_media):
    path = str(shared_media / "raw" / "imageio__cockatoo.mp4")
    with av.open(path) as container:
        container.streams.video[0].codec_context.thread_count = 1
        straight = [frame.to_ndarray(format="rgb24") for frame, _ in zip(container.decode(video=0), range(130), strict=False)][100:130]
    ours = np.concatenate([frames.pictures for frames in decode(path, start_frame=100, end_frame=130)])
    assert np.abs(ours.astype(np.int16) - np.stack(straight)).max() <= 2
    assert cut(path, 100, 130).frames == 30
