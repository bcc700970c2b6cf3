"""Shards are found, scanned and read by sample, wherever they lie."""

import json
from pathlib import Path

import fsspec
import pytest
import webdataset

from schemas.document import DocumentError
from schemas.sample import Sample, encode
from train.frames import decode_frames
from train.shards import Shards


def test_every_sample_is_listed_once_with_its_kind_and_frames(shards: Path):
    found = Shards(str(shards))
    assert sorted(entry.key for entry in found.videos) == [f"clip{number}" for number in range(6)]
    assert sorted(entry.key for entry in found.images) == ["still0", "still1"]
    assert {entry.frames for entry in found.videos} == {20}


def test_a_sample_reads_as_webdataset_reads_it(shards: Path):
    found = Shards(str(shards))
    theirs = {sample["__key__"]: sample for tar in found.tars for sample in webdataset.WebDataset(tar, shardshuffle=False)}
    for entry in found.entries:
        ours = found.read(entry)
        assert ours.caption.encode() == theirs[entry.key]["txt"]
        assert (ours.video or ours.image) == theirs[entry.key].get("mp4", theirs[entry.key].get("jpg"))


def test_of_groups_of_pictures_copied_whole_only_the_clips_own_frames_are_read(shards: Path, tmp_path: Path):
    others = Shards(str(shards))
    video = others.read(others.videos[0]).video
    encoded = {"mode": "copy", "frames": 20, "in_frame": 5, "out_frame": 17, "width": 48, "height": 40}
    with webdataset.TarWriter(str(tmp_path / "shard-000000.tar"), encoder=False) as writer:
        writer.write(encode(Sample("clip", "words", {"num_frames": 12, "encoded": encoded}, video)))
    found = Shards(str(tmp_path))
    (entry,) = found.videos
    frames = decode_frames(found.read(entry), 48, 40)
    assert entry.frames == len(frames) == 12
    whole = decode_frames(Sample("clip", "words", {}, video), 48, 40)
    assert (frames == whole[5:17]).all()


def test_a_brace_expanded_url_on_another_filesystem_is_read_too(shards: Path):
    memory = fsspec.filesystem("memory")
    for number in range(2):
        memory.pipe_file(f"/tars/shard-{number:06d}.tar", (shards / f"shard-{number:06d}.tar").read_bytes())
    found = Shards("memory://tars/shard-{000000..000001}.tar")
    assert len(found.videos) == 6
    assert found.read(found.videos[3]).video


def test_lineage_names_the_manifest_the_selection_and_every_clip(shards: Path, tmp_path: Path):
    for tar in shards.glob("*.tar"):
        (tmp_path / tar.name).write_bytes(tar.read_bytes())
    manifest = {"name": "chosen", "contents": "abc", "shards": [{"shard": "shard-000000.tar"}, {"shard": "shard-000001.tar"}]}
    (tmp_path / "MANIFEST").write_text(json.dumps(manifest))
    told = Shards(str(tmp_path)).lineage()
    assert told["name"] == "chosen"
    assert len(told["manifest_sha256"]) == 64
    assert told["clips"] == [f"clip{number}" for number in range(6)]


@pytest.mark.parametrize("content", ["nothing", "a shard of the manifest is gone"])
def test_shards_that_are_not_there_are_refused_plainly(tmp_path: Path, content: str):
    if content != "nothing":
        (tmp_path / "MANIFEST").write_text(json.dumps({"shards": [{"shard": "shard-000007.tar"}]}))
    with pytest.raises(DocumentError, match="does not exist|no .tar files"):
        Shards(str(tmp_path))
