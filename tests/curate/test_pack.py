"""Packing: shards that any reader opens, that are the same bytes again, and that say what they hold."""

import hashlib
import json
import re
import subprocess
import sys
import tarfile
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import pack as pack_module
from curate.corpus import CorpusError, open_corpus
from curate.engine import run_here, run_on_ray
from curate.media.encode import encode, encoder
from curate.media.passes import Pass, passes
from curate.media.sound import flac_problem, sound_of
from curate.pack import pack
from curate.packing import pieces
from curate.packing.cutting import CutClips, jobs_of
from curate.packing.facts import facts_of
from curate.packing.manifest import read_manifest
from curate.packing.shards import write_tar
from curate.select import explain, select
from curate.storage import journal
from curate.storage.views import RELATIONS
from curate.verify import verify
from curate.video import Decoding, MediaError, cut, decode
from schemas.clip import clip_id
from schemas.document import DocumentError
from schemas.recipe import Encoding, Recipe
from schemas.sample import Sample
from schemas.sample import decode as decode_sample
from schemas.table import table_of

KEY_EVERY = {"sa": 20, "sb": 250, "sc": 1}
HOSTILE = "| <script>alert(1)</script> ](http://x) \n# heading \x1b[31m ../../etc/passwd '\"; DROP"
SOURCES = {
    "sa": {"title": "A test pattern", "license": "CC-BY-4.0", "rights_holder": "Someone", "attribution": "Someone, CC BY 4.0", "rights_uses": ["train"]},
    "sb": {"title": HOSTILE, "license": "unstated", "tags": [HOSTILE]},
}


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """Two films of 48 frames and an image, made here."""
    folder = tmp_path_factory.mktemp("footage")
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "lavfi", "-i"]
    sound = ["-f", "lavfi", "-i", "sine=frequency=440:duration=2", "-c:a", "aac"]
    subprocess.run([*ffmpeg, "testsrc=size=320x180:rate=24:duration=2", *sound, "-pix_fmt", "yuv420p", "-g", "20", str(folder / "sa.mp4")], check=True)
    subprocess.run([*ffmpeg, "mandelbrot=size=180x320:rate=24", "-frames:v", "48", "-pix_fmt", "yuv420p", str(folder / "sb.mp4")], check=True)
    subprocess.run([*ffmpeg, "testsrc2=size=200x100", "-frames:v", "1", str(folder / "sc.png")], check=True)
    return folder


def make_corpus(folder: Path, footage: Path):
    """A measured corpus of that footage: two clips of each film and one image."""
    corpus = open_corpus(str(folder), create=True)
    base = {"status": "ok", "codec": "h264", "fps": 24.0}
    videos = [
        {**base, "source_id": name, "media_type": "video", "uri": str(footage / f"{name}.mp4"), "container_duration_s": 2.0, **told}
        for name, told in SOURCES.items()
    ]
    image = {**base, "source_id": "sc", "media_type": "image", "uri": str(footage / "sc.png"), "container_duration_s": 0.0, "license": "CC0-1.0"}
    corpus.append("added", table_of([*videos, image], RELATIONS["added"]), "added")
    sizes = {"sa": (320, 180), "sb": (180, 320)}
    spans = [
        {"clip_id": clip_id(name, start, start + 24), "source_id": name, "media_type": "video", "shot_index": 0, "start_s": start / 24, "end_s": start / 24 + 1,
         "start_frame": start, "end_frame": start + 24, "num_frames": 24, "fps": 24.0, "width": sizes[name][0], "height": sizes[name][1], "motion": 1.0 + start}
        for name in sizes for start in (0, 24)
    ]  # fmt: skip
    still = {"clip_id": clip_id("sc", 0, 1), "source_id": "sc", "media_type": "image", "start_s": 0.0, "end_s": 0.0}
    still |= {"start_frame": 0, "end_frame": 1, "num_frames": 1, "width": 200, "height": 100, "motion": 0.5}
    corpus.append("spans", table_of([*spans, still], RELATIONS["spans"]), "spans")
    read = [
        {"source_id": name, "duration_s": seconds, "frames": frames, "keyframes": [*range(0, frames, KEY_EVERY[name])], "status": "ok"}
        for name, seconds, frames in (("sa", 2.0, 48), ("sb", 2.0, 48), ("sc", 0.0, 1))
    ]
    corpus.append("readings", table_of(read, RELATIONS["readings"]), "readings")
    captions = [{"clip_id": row["clip_id"], "captioner": "metadata@1", "text": f"caption {HOSTILE}", "start_s": 0.0, "end_s": 1.0} for row in spans]
    corpus.append("captions", table_of(captions, RELATIONS["captions"]), "captions")
    return corpus


@pytest.fixture
def corpus(tmp_path, footage):
    return make_corpus(tmp_path / "corpus", footage)


@pytest.fixture(scope="module")
def done(tmp_path_factory, footage):
    """A corpus packed by the recipe that keeps all, for tests that only look: corpus and report."""
    corpus = make_corpus(tmp_path_factory.mktemp("done") / "corpus", footage)
    return corpus, packed(corpus, recipe())


def recipe(**more):
    return Recipe(name="r", **more)


def packed(corpus, asked, **more):
    select(corpus, asked)
    return pack(corpus, asked, **more)


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.is_file()}


def samples_in(folder):
    import webdataset

    found = []
    for shard in sorted(Path(folder).glob("*.tar")):
        found += [decode_sample(sample) for sample in webdataset.WebDataset(str(shard), shardshuffle=False, empty_check=False)]
    return found


def test_a_sample_holds_the_clip_its_caption_and_its_rights(done, tmp_path):
    corpus, report = done
    samples = {sample.key: sample for sample in samples_in(report.folder)}
    assert len(samples) == report.clips == 5 and report.hours == pytest.approx(4 / 3600)
    sample = samples["sa-00000024-00000048"]
    assert sample.facts["rights_holder"] == "Someone" and sample.facts["rights_uses"] == ["train"] and sample.facts["source"]["title"] == "A test pattern"
    assert (sample.facts["start_frame"], sample.facts["motion"], sample.facts["bucket"]) == (24, 25.0, "16x9-144p-16f")
    assert sample.caption.startswith("caption ") and sample.facts["captions"][0]["captioner"] == "metadata@1"
    assert sample.facts["encoded"] == {"frames": 24, "width": 320, "height": 180, "fps": 24.0, "duration_s": 1.0}
    (tmp_path / "clip.mp4").write_bytes(sample.video)
    cut = np.concatenate([chunk.pictures for chunk in decode(str(tmp_path / "clip.mp4"))])
    original = np.concatenate([chunk.pictures for chunk in decode(str(Path(corpus.table("sources")["uri"][0].as_py())), start_frame=24, end_frame=48)])
    assert cut.shape == original.shape and np.abs(cut.astype(int) - original).mean() < 3


def test_nothing_tells_where_or_when_it_was_packed(done, footage):
    corpus, report = done
    for name, data in bytes_of(report.folder).items():
        assert corpus.url.encode() not in data and str(footage).encode() not in data, name
    with tarfile.open(Path(report.folder) / report.shards[0]) as tar:
        assert {(member.mtime, member.uid, member.gid, member.uname) for member in tar} == {(0, 0, 0, "clipmill")}


def test_the_same_corpus_and_recipe_give_the_same_bytes(done, corpus):
    one, other = done[1], packed(corpus, recipe())
    both = bytes_of(one.folder), bytes_of(other.folder)
    assert both[0].keys() == both[1].keys() and all(both[0][name] == both[1][name] for name in both[0] if name != "MANIFEST")
    manifests = [json.loads(files["MANIFEST"]) for files in both]
    assert all(manifest.pop("journal_head") for manifest in manifests) and manifests[0] == manifests[1]


def test_a_few_clips_at_a_time_give_the_same_bytes(done, corpus, monkeypatch):
    from curate import pack as packing
    from curate.packing import index, telling

    for module, name, clips in ((telling, "STRETCH_CLIPS", 2), (packing, "CUT_CLIPS", 2), (packing, "WRITTEN_CLIPS", 1)):
        monkeypatch.setattr(module, name, clips)
    little = packed(corpus, recipe())
    before, after = bytes_of(done[1].folder), bytes_of(little.folder)
    assert all(after[name] == before[name] for name in before if name != "MANIFEST")
    by_shard = [(name, rows.num_rows) for name, rows in index.index_by_shard(corpus, corpus.path("shards", "r"))]
    assert by_shard == [("shard-000000.tar", 12), ("shard-000001.tar", 3)]


def test_the_seed_gives_the_order(corpus):
    keys = [[sample.key for sample in samples_in(packed(corpus, Recipe(name=f"r{seed}", seed=seed)).folder)] for seed in (1, 2)]
    assert sorted(keys[0]) == sorted(keys[1]) and keys[0] != keys[1]


def test_a_finished_pack_is_not_done_again(corpus):
    first = packed(corpus, recipe())
    times = {path: path.stat().st_mtime_ns for path in Path(first.folder).iterdir()}
    again = packed(corpus, recipe())
    assert first.fresh and not again.fresh and again.shards == first.shards
    assert times == {path: path.stat().st_mtime_ns for path in Path(first.folder).iterdir()}


@pytest.mark.parametrize("before", ["_clear", "record"])
def test_a_crash_after_the_manifest_leaves_no_pieces_and_loses_no_entry_of_the_journal(corpus, monkeypatch, before):
    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as crashing, pytest.raises(KeyboardInterrupt):
        crashing.setattr(pack_module, before, crash)
        packed(corpus, recipe())
    done = packed(corpus, recipe())
    assert not done.fresh and not (Path(done.folder) / "pieces").exists()
    packed(corpus, recipe())
    assert [entry.verb for entry in journal.entries(corpus)].count("pack") == 1


def test_a_lost_shard_is_made_again(corpus):
    first = packed(corpus, recipe())
    before = bytes_of(first.folder)
    (Path(first.folder) / first.shards[0]).unlink()
    assert packed(corpus, recipe()).fresh
    after = bytes_of(first.folder)
    assert after.keys() == before.keys() and all(after[name] == before[name] for name in before if name != "MANIFEST")


def test_an_interrupted_pack_encodes_only_what_is_missing(corpus):
    encoded = []

    def stops_after_two(rows, stages):
        for made in run_here(rows, stages):
            if "problem" in made.column_names:
                encoded.extend(made["clip_id"].to_pylist())
                if len(encoded) >= 2:
                    raise KeyboardInterrupt
            yield made

    with pytest.raises(KeyboardInterrupt):
        packed(corpus, recipe(), run=stops_after_two)
    before, counted = set(encoded), []

    def counting(rows, stages):
        for made in run_here(rows, stages):
            counted.extend(made["clip_id"].to_pylist() if "problem" in made.column_names else [])
            yield made

    report = packed(corpus, recipe(), run=counting)
    assert before and not before & set(counted) and report.clips == 5
    assert not (Path(report.folder) / "pieces").exists()


def test_pieces_are_listed_once(corpus, monkeypatch):
    listed = []
    monkeypatch.setattr(pack_module, "sizes_of", lambda *given: listed.append(given) or pieces.sizes_of(*given))
    assert packed(corpus, recipe()).clips == 5 and len(listed) == 1


def test_a_clip_that_another_set_holds_is_not_encoded_again(corpus):
    first = packed(corpus, Recipe(name="first", keep={"motion": {"max": 20}}))

    def counting(rows, stages):
        for made in run_here(rows, stages):
            counted.extend(made["clip_id"].to_pylist() if "problem" in made.column_names else [])
            yield made

    counted: list[str] = []
    second = packed(corpus, Recipe(name="second"), run=counting)
    of_first, of_second = ({sample.key: sample for sample in samples_in(report.folder)} for report in (first, second))
    assert first.clips == 3 and sorted(counted) == sorted(set(of_second) - set(of_first))
    assert all(of_second[key].video == sample.video and of_second[key].image == sample.image for key, sample in of_first.items())
    counted.clear()
    packed(corpus, Recipe(name="small", encoding={"height": 90}), run=counting)
    assert len(counted) == 5


def test_frames_that_are_not_those_measured_are_not_packed(corpus, footage):
    pictures = [_proxy(footage / "sa.mp4", frame) for frame in (3, 20)] + [_proxy(footage / "sa.mp4", frame) for frame in (27, 40)]
    owners = [clip_id("sa", 0, 24)] * 2 + [clip_id("sa", 24, 48)] * 2
    told = (3, 20, 27, 47)  # the last one is said to be another frame than it is, as after a source was changed
    rows = [
        {"clip_id": owner, "source_id": "sa", "kind": "frame", "proxy_index": i % 2, "frame": frame, "image": picture}
        for i, (owner, frame, picture) in enumerate(zip(owners, told, pictures))
    ]
    rows[3]["image"] = _proxy(footage / "sb.mp4", 40)
    corpus.append("proxies", table_of(rows, RELATIONS["proxies"]), "sa")
    report = packed(corpus, recipe())
    assert report.clips == 4 and [clip for clip, _ in report.failed] == [clip_id("sa", 24, 48)]
    assert "frame 47 is not the one that was measured" in report.failed[0][1]


def _proxy(path, frame):
    import cv2

    chunk = next(iter(decode(str(path), start_frame=frame, end_frame=frame + 1)))
    return cv2.imencode(".jpg", chunk.pictures[0][..., ::-1])[1].tobytes()


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc fills fresh memory on request")
def test_the_encoder_gives_the_same_bytes_whatever_memory_held_before(footage, tmp_path):
    pictures = b"".join(chunk.pictures.tobytes() for chunk in decode(str(footage / "sa.mp4"), None, 5, 9))
    target = tmp_path / "cut.mp4"
    made = set()
    for filling in range(0, 250, 37):
        subprocess.run(encoder((4, 180, 320, 3), (160, 90), Fraction(24), 20, target), input=pictures, check=True, env={"MALLOC_PERTURB_": str(filling)})
        made.add(target.read_bytes())
    assert len(made) == 1


def test_spans_out_of_one_pass_are_those_cut_one_by_one(footage):
    spans = [(30, 48), (0, 7), (7, 20), (5, 9)]
    path = str(footage / "sa.mp4")
    groups = list(passes(spans))
    assert [[spans[i] for i in group] for group in groups] == [[(0, 7), (7, 20), (30, 48)], [(5, 9)]]
    for group in groups:
        source = Pass(path, spans[group[0]][0], spans[group[-1]][1])
        for i in group:
            assert encode(source.span(*spans[i]), 90, 24.0, 20).data == cut(path, *spans[i], height=90, fps=24.0, crf=20).data


def test_a_span_beyond_the_end_says_how_much_of_it_decodes(footage):
    with pytest.raises(MediaError, match="only 8 of the 60 frames decode"):
        list(Pass(str(footage / "sa.mp4"), 40, 100).span(40, 100))


def test_long_sources_are_cut_in_several_jobs():
    base = {"uri": "u", "media_type": "video", "fps": 25.0, "keyframe": 0, "end_frame": 0}
    rows = [
        {**base, "source_id": name, "clip_id": f"{name}{i}", "start_frame": i, "start_s": i * 100.0, "end_s": (i + 1) * 100.0}
        for name in "ab"
        for i in range(9)
    ]
    jobs = jobs_of(pa.Table.from_pylist(rows[::-1])).to_pylist()
    assert [(job["source_id"], len(job["clips"])) for job in jobs] == [("a", 6), ("a", 3), ("b", 6), ("b", 3)]
    assert jobs[1]["clips"][0]["clip_id"] == "a6"


def test_ray_packs_the_same_bytes_and_its_reader_opens_them_unchanged(done, corpus):
    import ray.data

    here, there = done[1], packed(corpus, recipe(), run=run_on_ray)
    assert bytes_of(here.folder).keys() == bytes_of(there.folder).keys()
    tars = {name for name in bytes_of(here.folder) if name.endswith(".tar")}
    assert tars and all(bytes_of(here.folder)[name] == bytes_of(there.folder)[name] for name in tars)
    rows = {row["__key__"]: row for row in ray.data.read_webdataset([f"{there.folder}/{name}" for name in there.shards[:1]]).take_all()}
    ours = {sample.key: sample for sample in samples_in(here.folder) if sample.video}
    assert rows.keys() == ours.keys()
    assert all((rows[key]["mp4"], rows[key]["txt"], rows[key]["json"]) == (sample.video, sample.caption, sample.facts) for key, sample in ours.items())


def test_shards_are_divided_by_bytes_and_the_manifest_and_index_agree(corpus):
    report = packed(corpus, recipe(encoding={"shard_mb": 0.00001}))
    manifest = read_manifest(corpus.filesystem, report.folder)
    assert len(report.shards) == 5
    index = pq.read_table(Path(report.folder) / "index.parquet").to_pylist()
    for shard in manifest["shards"]:
        data = (Path(report.folder) / shard["shard"]).read_bytes()
        assert len(data) == shard["bytes"] and hashlib.sha256(data).hexdigest() == shard["sha256"]
        members = [row for row in index if row["shard"] == shard["shard"]]
        assert {row["clip_id"] for row in members} == set(shard["clips"])
        facts = next(row for row in members if row["suffix"] == "json")
        assert json.loads(data[facts["offset"] : facts["offset"] + facts["bytes"]])["clip_id"] == shard["clips"][0]


def test_images_lie_in_shards_of_their_own_and_buckets_when_asked(corpus):
    report = packed(corpus, recipe(encoding={"buckets": True}))
    shards = read_manifest(corpus.filesystem, report.folder)["shards"]
    assert [(shard["kind"], shard["bucket"], len(shard["clips"])) for shard in shards] == [
        ("video", "16x9-144p-16f", 2),
        ("video", "9x16-144p-16f", 2),
        ("image", "16x9-0p-1f", 1),
    ]
    image = next(sample for sample in samples_in(report.folder) if sample.image)
    assert image.image[:2] == b"\xff\xd8" and image.facts["encoded"]["width"] == 200


def test_a_size_and_rate_are_what_the_recipe_asks(corpus):
    report = packed(corpus, recipe(encoding={"height": 90, "fps": 12}, keep={"num_frames": {"min": 2}}))
    told = {sample.key.split("-")[0]: sample.facts["encoded"] for sample in samples_in(report.folder)}
    assert told["sa"] == {"frames": 12, "width": 160, "height": 90, "fps": 12.0, "duration_s": 1.0} and told["sb"]["height"] == 160


def test_av1_is_cut_to_the_same_frames_and_the_same_bytes_again(footage, tmp_path):
    path = str(footage / "sa.mp4")
    once, again = (encode(Pass(path, 0, 24).span(0, 24), 90, 24.0, 30, "av1") for _ in range(2))
    assert once.data == again.data and once.frames == 24
    (tmp_path / "cut.mp4").write_bytes(once.data)
    with av.open(str(tmp_path / "cut.mp4")) as opened:
        assert opened.streams.video[0].codec_context.name in ("av1", "libdav1d")
    assert sum(len(chunk) for chunk in decode(str(tmp_path / "cut.mp4"))) == 24


def test_an_encoder_that_this_machine_lacks_fails_the_clip_with_its_words(footage):
    if Path("/dev/nvidia0").exists():
        pytest.skip("this machine has an NVIDIA GPU")
    with pytest.raises(MediaError, match="the encoder failed"):
        encode(Pass(str(footage / "sa.mp4"), 0, 24).span(0, 24), 160, 24.0, 20, "h264_nvenc")


def test_copying_keeps_the_very_pictures_and_tells_where_the_clip_lies_in_them(corpus, footage, tmp_path):
    report = packed(corpus, recipe(encoding={"mode": "copy"}))
    assert not report.failed
    sample = next(sample for sample in samples_in(report.folder) if sample.key == clip_id("sa", 24, 48))
    told = sample.facts["encoded"]
    assert (told["mode"], told["in_frame"], told["out_frame"]) == ("copy", 4, 28)
    (tmp_path / "copy.mp4").write_bytes(sample.video)
    pictures = np.concatenate([chunk.pictures for chunk in decode(str(tmp_path / "copy.mp4"))])[told["in_frame"] : told["out_frame"]]
    original = np.concatenate([chunk.pictures for chunk in decode(str(footage / "sa.mp4"), start_frame=24, end_frame=48)])
    assert np.array_equal(pictures, original)


@pytest.mark.parametrize("mode", ["encode", "copy"])
def test_sound_is_kept_when_asked_for(corpus, tmp_path, mode):
    import av

    report = packed(corpus, recipe(encoding={"mode": mode, "audio": "keep"}, keep={"num_frames": {"min": 2}}))
    kinds = {}
    for sample in samples_in(report.folder):
        (tmp_path / "clip.mp4").write_bytes(sample.video)
        with av.open(str(tmp_path / "clip.mp4")) as container:
            kinds[sample.key.split("-")[0]] = {stream.type for stream in container.streams}
    assert kinds == {"sa": {"video", "audio"}, "sb": {"video"}}
    assert not verify(corpus).problems


def flash_and_click(folder, late_s, ending):
    """A film of 96 frames at 24 a second, white in frames 48 and 49, that clicks as it turns white; its sound begins so much later than its pictures."""
    click_s, path = 2 - late_s, folder / f"film.{ending}"
    white = "color=c=gray:size=96x64:rate=24:duration=4,drawbox=w=96:h=64:color=white:t=fill:enable='between(n,48,49)'"
    click = f"aevalsrc='if(between(t,{click_s},{click_s}+0.01),0.9*sin(2*PI*1000*t),0)':s=48000:d={4 - late_s}"
    inputs = ["-itsoffset", f"{max(-late_s, 0)}", "-f", "lavfi", "-i", white, "-itsoffset", f"{max(late_s, 0)}", "-f", "lavfi", "-i", click]
    codecs = ["-c:v", "libx264", "-g", "24", "-pix_fmt", "yuv420p", "-c:a", "pcm_s16le" if ending == "mkv" else "aac"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *inputs, *codecs, str(path)], check=True)
    return str(path)


def seen_and_heard(path):
    """Frames before the white one, and when its white shows and its click sounds."""
    with av.open(path) as container:
        pictures = [(float(frame.pts * frame.time_base), frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)]
    dark = next(number for number, (_, level) in enumerate(pictures) if level > 200)
    with av.open(path) as container:
        for frame in container.decode(audio=0):
            heard_ = av.AudioResampler(format="flt", layout="mono").resample(frame)[0].to_ndarray()[0]
            if np.abs(heard_).max() > 0.2:
                return dark, pictures[dark][0], float(frame.pts * frame.time_base) + int((np.abs(heard_) > 0.2).argmax()) / frame.sample_rate
    raise AssertionError("no click")


@pytest.mark.parametrize("mode", ["encode", "copy"])
@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("late_s", [0.5, 0.0, -0.5])
def test_sound_that_is_kept_stays_with_the_pictures_whichever_of_them_begins_first(tmp_path, mode, ending, late_s):
    path = flash_and_click(tmp_path, late_s, ending)
    clip = {"clip_id": "sa-00000030-00000090", "start_frame": 30, "end_frame": 90, "start_s": 1.25, "end_s": 3.75, "fps": 24.0, "keyframe": 24}
    corpus = open_corpus(str(tmp_path / "corpus"), create=True)
    cutting = CutClips(corpus.url, str(tmp_path), Encoding(mode=mode, audio="keep"))
    ((_, piece),) = cutting._pieces({"source_id": "sa", "uri": path, "media_type": "video", "clips": [clip]})
    (tmp_path / "piece.mp4").write_bytes(piece.data)
    dark, white_s, click_s = seen_and_heard(str(tmp_path / "piece.mp4"))
    assert dark == 18 + piece.facts.get("in_frame", 0)
    assert abs(click_s - white_s) < 0.002


OPEN_GROUPS = ["-c:v", "libx264", "-g", "12", "-bf", "3", "-x264-params", "open-gop=1:scenecut=0"]
BROADCASTS = {
    "from nought": ["-c:v", "libx264", "-g", "24", "-bf", "2"],
    "late": ["-c:v", "libx264", "-g", "24", "-bf", "2", "-output_ts_offset", "1000"],
    "a clock that wraps": ["-c:v", "libx264", "-g", "24", "-bf", "2", "-output_ts_offset", "95440"],
    "open groups": OPEN_GROUPS,
    "hevc": ["-c:v", "libx265", "-x265-params", "keyint=24:open-gop=1:log-level=error"],
    "mpeg-2": ["-c:v", "mpeg2video", "-g", "12", "-bf", "2", "-q:v", "3"],
}


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_clip_that_begins_close_to_a_keyframe_is_copied_from_the_right_one(tmp_path, ending):
    """A keyframe is sent before frames that are shown before it, and seeking goes by one or the other."""
    film = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=24:duration=4", "-c:v", "libx264", "-g", "24", "-bf", "3", "-pix_fmt", "yuv420p"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *film, str(tmp_path / f"film.{ending}")], check=True)
    copied_to_the_frame(str(tmp_path / f"film.{ending}"), tmp_path, ((0, 24), (23, 40), (22, 30), (46, 70), (25, 48)))


@pytest.mark.parametrize("ending", ["ts", "mpg"])
@pytest.mark.parametrize("kind", BROADCASTS)
def test_groups_are_copied_out_of_broadcast_streams_to_the_frame(tmp_path, kind, ending):
    path = str(tmp_path / f"film.{ending}")
    film = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=24:duration=6", *BROADCASTS[kind], "-pix_fmt", "yuv420p"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *film, path], check=True)
    copied_to_the_frame(path, tmp_path, ((0, 20), (24, 48), (31, 40), (60, 110), (100, 144)))


@pytest.mark.parametrize("name", ["forensics__movie-hello.mpeg"])
def test_groups_are_copied_out_of_real_broadcast_streams_to_the_frame(shared_media, tmp_path, name):
    """Only some of its pictures are stamped."""
    copied_to_the_frame(str(shared_media / "raw" / name), tmp_path, ((0, 40), (83, 133), (131, 184), (204, 249)))


def copied_to_the_frame(path, folder, spans):
    """Copy spans of a film, and compare every picture with what a pass over the whole film shows."""
    learnt = Decoding()
    chunks = list(decode(path, learnt=learnt))
    pictures, times = (np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("pictures", "times_s"))
    clips = []
    for start, end in spans:
        ends_s = float(times[end]) if end < len(times) else learnt.duration_s
        span = {"clip_id": clip_id("sa", start, end), "start_frame": start, "end_frame": end, "start_s": float(times[start]), "end_s": ends_s}
        clips.append({**span, "fps": len(times) / learnt.duration_s, "keyframe": max(key for key in learnt.keyframes if key <= start)})
    cutting = CutClips(open_corpus(str(folder / "corpus"), create=True).url, str(folder), Encoding(mode="copy"))
    for clip, piece in cutting._pieces({"source_id": "sa", "uri": path, "media_type": "video", "clips": clips}):
        assert not isinstance(piece, str), (clip, piece)
        (folder / "piece.mp4").write_bytes(piece.data)
        held = np.concatenate([chunk.pictures for chunk in decode(str(folder / "piece.mp4"))])
        assert np.array_equal(held[piece.facts["in_frame"] : piece.facts["out_frame"]], pictures[clip["start_frame"] : clip["end_frame"]]), clip


SEPARATE = {"audio": "separate"}


@pytest.mark.parametrize("mode", ["encode", "copy"])
def test_sound_apart_is_the_very_samples_of_the_clip_and_silent_clips_lie_in_shards_of_their_own(corpus, footage, tmp_path, mode):
    report = packed(corpus, recipe(encoding={"mode": mode, **SEPARATE}))
    shards = read_manifest(corpus.filesystem, report.folder)["shards"]
    assert [(shard["kind"], len(shard["clips"])) for shard in shards] == [("video", 2), ("video-audio", 2), ("image", 1)]
    samples = {sample.key: sample for sample in samples_in(report.folder)}
    assert {key.split("-")[0] for key, sample in samples.items() if sample.audio} == {"sa"}
    whole = heard(footage / "sa.mp4")
    for start in (0, 24):
        sample = samples[clip_id("sa", start, start + 24)]
        assert sample.facts["encoded"]["sound"] == {"rate": 44100, "channels": 1, "samples": 44100}
        (tmp_path / "clip.flac").write_bytes(sample.audio)
        own, there = heard(tmp_path / "clip.flac").astype(int), whole[start * 44100 // 24 :][:44100]
        assert own.size == 44100 and np.abs(own[: there.size] - there).max() <= 1 < np.abs(own[1 : there.size] - there[:-1]).max()
        (tmp_path / "clip.mp4").write_bytes(sample.video)
        with av.open(str(tmp_path / "clip.mp4")) as container:
            assert {stream.type for stream in container.streams} == {"video"}
    assert not verify(corpus).problems


def heard(path):
    """The whole sound of a file as int16, as FFmpeg plays it."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "s16le", "-c:a", "pcm_s16le", "-"]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.int16)


def test_sound_follows_the_pictures_where_a_file_begins_with_sound_alone_and_is_silent_where_it_has_none(tmp_path):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-itsoffset", "1", "-i", "testsrc=size=64x36:rate=25:duration=2"]
    command += ["-f", "lavfi", "-i", "aevalsrc='if(lt(t,1.5),0,0.5)':s=8000:d=2", "-c:a", "pcm_s16le", "-c:v", "libx264", str(tmp_path / "late.mkv")]
    subprocess.run(command, check=True)
    sound = sound_of(str(tmp_path / "late.mkv"), 0.0, 2.0)
    loud = np.frombuffer(sound.data, np.int16) > 0
    assert sound.samples == 16000 and abs(int(loud.argmax()) - 4000) <= 16 and int(loud.sum()) == pytest.approx(4000, abs=16)
    assert sound_of(str(tmp_path / "late.mkv"), 1.2, 1.4).data == bytes(2 * 1600)


def test_sound_apart_gives_the_same_bytes_again_and_is_described(corpus, footage, tmp_path):
    import mlcroissant

    asked = recipe(encoding=SEPARATE)
    one = packed(corpus, asked)
    before = bytes_of(one.folder)
    other = packed(make_corpus(tmp_path / "other", footage), asked)
    assert all(bytes_of(other.folder)[name] == data for name, data in before.items() if name != "MANIFEST")
    assert "KEY.flac" in before["README.md"].decode() and b"video-audio" in before["README.md"]
    described = mlcroissant.Dataset(str(Path(one.folder) / "croissant.json"))
    assert not described.metadata.issues.errors and any(file.id == "video-audio-flac" for file in described.metadata.distribution)
    second = packed(corpus, Recipe(name="second", encoding=SEPARATE, keep={"num_frames": {"min": 2}}))
    assert {s.key: s.audio for s in samples_in(second.folder)} == {s.key: s.audio for s in samples_in(one.folder) if s.video}


def test_sound_that_was_changed_or_lost_is_found_by_verification(done, corpus):
    report = packed(corpus, recipe(encoding=SEPARATE))
    sample = next(sample for sample in samples_in(report.folder) if sample.audio)
    told = sample.facts["encoded"]["sound"]
    assert flac_problem(sample.audio, told) is None
    assert flac_problem(sample.audio, {**told, "samples": 44101}).startswith("holds")
    assert flac_problem(sample.audio[:-200], told) and flac_problem(b"RIFF" + sample.audio[4:], told) == "is no FLAC file"
    assert flac_problem(sample.audio[:26] + bytes(16) + sample.audio[42:], told) == "does not decode to what was encoded"


def test_hugging_face_datasets_takes_the_sound_apart_for_audio(corpus, tmp_path):
    import datasets

    report = packed(corpus, recipe(encoding=SEPARATE))
    shards = read_manifest(corpus.filesystem, report.folder)["shards"]
    files = [str(Path(report.folder) / shard["shard"]) for shard in shards if shard["kind"] == "video-audio"]
    builder = datasets.load_dataset_builder("webdataset", data_files={"train": files}, cache_dir=str(tmp_path))
    (split,) = builder._split_generators(datasets.StreamingDownloadManager())  # whoever lets it write a copy needs torchcodec as soon as there is sound
    assert isinstance(builder.info.features["flac"], datasets.Audio) and isinstance(builder.info.features["mp4"], datasets.Video)
    rows = [row for _, row in builder._generate_examples(**split.gen_kwargs)]
    assert len(rows) == 2 and all(row["flac"]["bytes"][:4] == b"fLaC" for row in rows)


@pytest.mark.parametrize(("start", "end", "told"), [(2, 46, None), (0, 49, "its last 2 frames"), (44, 90, "its first 3 frames")])
def test_verification_finds_frames_of_another_shot_at_either_end(tmp_path, start, end, told):
    corpus = open_corpus(str(tmp_path / "corpus"), create=True)
    shots = "testsrc2=size=96x64:rate=24:duration=1.9583,negate[a];mandelbrot=size=96x64:rate=24:end_pts=1000[b];[a][b]concat=n=2:v=1"
    film = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", shots, "-frames:v", "96", "-pix_fmt", "yuv420p", str(tmp_path / "sa.mp4")]
    subprocess.run(film, check=True)
    source = {"source_id": "sa", "media_type": "video", "status": "ok", "uri": str(tmp_path / "sa.mp4"), "fps": 24.0, "license": "CC0-1.0"}
    span = {"clip_id": clip_id("sa", start, end), "source_id": "sa", "media_type": "video", "shot_index": 0, "start_frame": start, "end_frame": end}
    span |= {"start_s": start / 24, "end_s": end / 24, "num_frames": end - start, "fps": 24.0, "width": 96, "height": 64}
    read = {"source_id": "sa", "duration_s": 4.0, "frames": 96, "keyframes": [0], "status": "ok"}
    for name, row in (("added", source), ("spans", span), ("readings", read)):
        corpus.append(name, table_of([row], RELATIONS[name]), name)
    packed(corpus, recipe())
    problems = [problem for problem in verify(corpus).problems if "another shot" in problem]
    assert not problems if told is None else len(problems) == 1 and told in problems[0]


def test_a_clip_that_cannot_be_cut_fails_alone_and_its_seconds_are_told(corpus, footage, tmp_path):
    missing = {"source_id": "sd", "media_type": "video", "uri": str(tmp_path / "gone.mp4"), "status": "ok", "container_duration_s": 1.0, "license": "CC0-1.0"}
    corpus.append("added", table_of([missing], RELATIONS["added"]), "more")
    span = {
        "clip_id": clip_id("sd", 0, 24),
        "source_id": "sd",
        "media_type": "video",
        "start_s": 0.0,
        "end_s": 1.0,
        "start_frame": 0,
        "end_frame": 24,
        "num_frames": 24,
    }
    corpus.append("spans", table_of([{**span, "width": 320, "height": 180}], RELATIONS["spans"]), "more")
    corpus.append("readings", table_of([{"source_id": "sd", "duration_s": 1.0, "frames": 24, "status": "ok"}], RELATIONS["readings"]), "more")
    report = packed(corpus, recipe())
    assert report.clips == 5 and [clip for clip, _ in report.failed] == ["sd-00000000-00000024"]
    row = next(row for row in corpus.table("ledger").to_pylist() if row["source_id"] == "sd")
    assert (row["outcome"], row["rule"]) == ("failed", "pack") and row["detail"]


def test_the_card_warns_of_unstated_rights_and_keeps_hostile_words_words(done, corpus):
    import yaml

    report = done[1]
    text = (Path(report.folder) / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert "Warning: rights unstated" in text and "<script>" not in text
    assert front["license"] == ["cc-by-4.0", "cc0-1.0", "other"] and front["license_name"] == "unstated"
    assert [config["config_name"] for config in front["configs"]] == ["video", "image"]
    attributions = (Path(report.folder) / "ATTRIBUTION").read_text().splitlines()
    assert "Someone, CC BY 4.0" in attributions and len(attributions) == 3
    stated = packed(corpus, Recipe(name="stated", rights={"stated": True}))
    assert "Warning" not in (Path(stated.folder) / "README.md").read_text()


def test_the_croissant_description_is_valid_and_reads_the_clips(done, tmp_path, monkeypatch):
    import mlcroissant
    from etils import epath

    # It extracts tars into one folder for all datasets, by file name alone.
    monkeypatch.setattr("mlcroissant._src.operation_graph.operations.extract.EXTRACT_PATH", epath.Path(tmp_path / "extracted"))
    report = done[1]
    dataset = mlcroissant.Dataset(str(Path(report.folder) / "croissant.json"))
    assert not dataset.metadata.issues.errors
    captions = list(dataset.records("video-txt-records"))
    assert len(captions) == 4 and {record["video-txt-records/clip_id"] for record in captions} == {
        clip_id(name, at, at + 24).encode() for name in SOURCES for at in (0, 24)
    }
    assert len(list(dataset.records("index"))) == 15


def test_a_selection_by_another_recipe_is_not_packed(corpus):
    with pytest.raises(CorpusError, match="nothing was selected as `r`"):
        pack(corpus, recipe())
    select(corpus, recipe())
    with pytest.raises(CorpusError, match="made by another recipe"):
        pack(corpus, recipe(keep={"motion": {"min": 1}}))


def test_a_recipe_that_requires_a_scorer_which_never_ran_is_refused(corpus):
    asked = recipe(keep={"technical": {"min": 0.5}}, scorers={"technical": "technical"})
    with pytest.raises(DocumentError, match="nothing has measured `technical` here; run `clipmill measure --only technical`"):
        select(corpus, asked)
    with pytest.raises(DocumentError, match="nothing has measured `technical` here"):
        explain(corpus, asked, "sa-00000000-00000024")
    assert not corpus.names("selections/")


def test_where_there_are_no_clips_no_scorer_is_missed(tmp_path):
    empty = open_corpus(str(tmp_path / "empty"), create=True)
    assert select(empty, recipe(scorers={"technical": "technical"})).clips == 0


def test_hugging_face_datasets_opens_the_shards_unchanged(done, tmp_path):
    import datasets

    report = done[1]
    shards = [str(Path(report.folder) / name) for name in report.shards[:1]]
    loaded = datasets.load_dataset("webdataset", data_files={"train": shards}, split="train", cache_dir=str(tmp_path))
    loaded = loaded.cast_column("mp4", datasets.Video(decode=False))
    rows = {row["__key__"]: row for row in loaded}
    assert set(rows) == {clip_id(name, at, at + 24) for name in SOURCES for at in (0, 24)}
    assert rows[clip_id("sa", 0, 24)]["json"]["rights_holder"] == "Someone" and rows[clip_id("sa", 0, 24)]["mp4"]["bytes"][4:8] == b"ftyp"


@pytest.mark.parametrize("streaming", [False, True])
def test_hugging_face_datasets_opens_shards_of_clips_of_which_different_things_are_known(tmp_path, streaming):
    import datasets

    same = {"width": 96, "height": 64, "num_frames": 24}
    known = [{"labels": [], "texts": [], "unmeasured": []}, {"labels": [], "texts": [], "unmeasured": [("motion", "one frame")]}]
    known += [{"labels": ["dog"], "texts": ["stop"], "unmeasured": []}, {"motion": 1.5}, {}, {}, {"labels": ["cat"], "texts": [], "unmeasured": [("pan", "x")]}]
    captions = [{"captioner": "describe@1", "text": "words", "start_s": None, "end_s": None, "problem": None}]
    facts = [facts_of({**same, **clip}, {"title": "A" if clip else None, "tags": []}, captions if clip else []) for clip in known]
    with (tmp_path / "shard.tar").open("wb") as file:
        write_tar(file, [Sample(f"k{place}", "words", {**told, "encoded": {"duration_s": 1.0}}) for place, told in enumerate(facts)])
    files = {"train": [str(tmp_path / "shard.tar")]}
    rows = list(datasets.load_dataset("webdataset", data_files=files, split="train", cache_dir=str(tmp_path), streaming=streaming))
    assert [row["json"].get("labels") for row in rows] == [None, None, ["dog"], None, None, None, ["cat"]] and len(rows) == len(known)


def test_plain_tar_opens_the_shards_and_names_nothing_but_clips(done):
    for name in done[1].shards:
        with tarfile.open(Path(done[1].folder) / name) as tar:
            assert all(re.fullmatch(r"s[a-z0-9]+-\d{8}-\d{8}\.(mp4|jpg|txt|json)", member.name) and member.isfile() for member in tar)


def test_an_empty_selection_makes_a_set_without_shards(corpus):
    report = packed(corpus, recipe(keep={"motion": {"min": 1000}}))
    assert report.clips == 0 and report.shards == () and "croissant.json" in bytes_of(report.folder)


def test_every_rule_of_a_clip_is_explained(corpus):
    asked = recipe(keep={"motion": {"min": 2}, "aesthetic": {"min": 1}})
    told = {verdict.rule: (verdict.passes, verdict.detail) for verdict in explain(corpus, asked, "sa-00000000-00000024")}
    assert told["rights"] == (True, None) and told["motion"] == (False, "motion 1 < 2")
    assert told["aesthetic"] == (False, "aesthetic is null: not measured") and told["duplicates"] == (None, None)
    with pytest.raises(CorpusError, match="there is no clip"):
        explain(corpus, asked, "sz-0-1")


def test_the_ledger_of_a_corpus_adds_up(corpus):
    select(corpus, recipe(keep={"motion": {"min": 2}}))
    ledger = corpus.table("ledger").to_pylist()
    for source in corpus.table("sources").to_pylist():
        assert sum(row["end_s"] - row["start_s"] for row in ledger if row["source_id"] == source["source_id"]) == pytest.approx(source["duration_s"])
    assert isinstance(corpus.read("funnels/r"), pa.Table)


def test_scores_follow_the_caption_where_the_recipe_asks_for_them(corpus):
    plain = {sample.key: sample for sample in samples_in(packed(corpus, recipe()).folder)}
    asked = recipe(conditioning={"motion": "motion {:.1f}", "aesthetic": "aesthetic {:.1f}", "media_type": "a {}"})
    told = {sample.key: sample for sample in samples_in(packed(corpus, asked).folder)}
    still, moving = "sc-00000000-00000001", "sa-00000024-00000048"
    assert told[moving].caption == f"{plain[moving].caption.rstrip('. ')}, motion 25.0, a video"
    assert told[still].caption.endswith("motion 0.5, a image") and plain[still].caption in told[still].caption
    assert told[moving].facts == plain[moving].facts and told[moving].video == plain[moving].video
