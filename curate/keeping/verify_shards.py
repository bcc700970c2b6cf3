"""Verifying shards: digests, members and index against the manifest, and each packed clip against its row, frame by frame."""

import hashlib
import itertools
import json
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import IO, Any

import duckdb
import numpy as np
import pyarrow as pa

from curate.corpus import Corpus, CorpusError
from curate.engine import Listener
from curate.footage.standing import no_longer_usable
from curate.media.sound import flac_problem
from curate.packing.croissant import INDEX_FILE
from curate.packing.describing import changed
from curate.packing.index import index_by_shard
from curate.packing.manifest import manifest_digest, told_of
from curate.packing.recognise import SIZE, Recognition, foreign_ends, small_luma
from curate.packing.shards import members_of
from curate.storage.on_disk import copy, insert, on_disk
from curate.trace import manifests
from curate.video import MediaError, decode
from schemas.recipe import Recipe
from schemas.sample import AUDIO_SUFFIX, CAPTION_SUFFIX, FACTS_SUFFIX, IMAGE_SUFFIX, VIDEO_SUFFIX

SIDE, TOLERANCE_FRAMES = 64, 1.5
PACKED = "CREATE OR REPLACE TABLE packed AS"


def shard_problems(corpus: Corpus, pictures: bool, listener: Listener) -> Iterator[str]:
    """What is wrong with packed sets.

    Args:
        pictures: also decode every clip.
        listener: hears how many shards were checked.
    """
    sets = manifests(corpus)
    total, done = sum(len(manifest["shards"]) for _, manifest in sets), 0
    with on_disk() as connection:
        copy(corpus, connection, "spans", ("clip_id", "num_frames", "start_s", "end_s"), "spans")
        for name, manifest in sets:
            yield from _told_problems(corpus, name, manifest)
            yield from _rights_problems(corpus, name, manifest)
            beside = changed(corpus.filesystem, corpus.path("shards", name), manifest)
            yield from (f"shards/{name}/{file}: is not what was written with the set; pack again, which writes it anew" for file in beside)
            rows = _rows_by_shard(connection, manifest)
            indexed = itertools.repeat(None) if INDEX_FILE in beside else _index_by_shard(corpus, name, manifest)
            for shard, clips, index in zip(manifest["shards"], rows, indexed):
                for problem in _shard_problems(corpus, name, manifest, shard, index, clips, pictures):
                    yield f"shards/{name}/{shard['shard']}: {problem}"
                done += 1
                listener("verify", done, total)


def _rows_by_shard(connection: duckdb.DuckDBPyConnection, manifest: Mapping[str, Any]) -> Iterator[dict[str, dict[str, Any]]]:
    """For each shard, the rows of its clips by their ids; those that are not in the table are left out."""
    shards = manifest["shards"]
    clips = pa.chunked_array([pa.array(shard["clips"], pa.string()) for shard in shards], pa.string())
    insert(connection, "packed", pa.table({"shard": np.repeat(np.arange(len(shards)), [len(shard["clips"]) for shard in shards]), "clip_id": clips}), PACKED)
    found = connection.sql("SELECT * FROM packed JOIN spans USING (clip_id) ORDER BY shard").to_arrow_reader(1024)
    by_shard = itertools.groupby((row for batch in found for row in batch.to_pylist()), key=lambda row: row["shard"])
    for mine in _in_step(range(len(shards)), by_shard):
        yield {row["clip_id"]: row for row in mine or ()}


def _index_by_shard(corpus: Corpus, name: str, manifest: Mapping[str, Any]) -> Iterator[dict[tuple[str, str], tuple[int, int]]]:
    """For each shard, offset and bytes by clip and suffix, as the index tells them."""
    shards = [shard["shard"] for shard in manifest["shards"]]
    for mine in _in_step(shards, index_by_shard(corpus, corpus.path("shards", name))):
        yield {(row["clip_id"], row["suffix"]): (row["offset"], row["bytes"]) for row in (mine.to_pylist() if mine is not None else ())}


def _in_step(names: Iterable[Any], groups: Iterator[tuple[Any, Any]]) -> Iterator[Any]:
    """For each name the group of that name, of groups in the same order; None for a name that has none. A group is read before the next is asked for."""
    ahead = next(groups, None)
    for name in names:
        if ahead is None or ahead[0] != name:
            yield None
            continue
        yield ahead[1]
        ahead = next(groups, None)


def _told_problems(corpus: Corpus, name: str, manifest: Mapping[str, Any]) -> Iterator[str]:
    """The manifest must be the one that the journal's last word of the set is of."""
    try:
        told = told_of(corpus, manifest)
    except CorpusError:  # an entry of the journal is not whole, which is told where the journal is checked
        return
    if told is None:
        yield f"set {name}: the journal does not tell of its MANIFEST: packing or a takedown was interrupted (do it again), or the journal was cut"
    elif told and told != manifest_digest(corpus.filesystem, corpus.path("shards", name)):
        yield f"shards/{name}/MANIFEST: is not what the journal says was written; restore it from a copy, or remove it and pack again, which encodes anew"


def _rights_problems(corpus: Corpus, name: str, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Sources in the set that may not be used any more."""
    clips = (clip for shard in manifest["shards"] for clip in shard["clips"])
    for source_id, reason in no_longer_usable(corpus, clips, Recipe.model_validate(manifest["recipe"]).rights, datetime.now(UTC).date()):
        yield f"shards/{name}: holds clips of {source_id}, which may not be used: {reason}; select and pack again, or take it down"


def _shard_problems(
    corpus: Corpus,
    name: str,
    manifest: Mapping[str, Any],
    shard: Mapping[str, Any],
    indexed: Mapping[tuple[str, str], tuple[int, int]] | None,
    clips: Mapping[str, Mapping[str, Any]],
    pictures: bool,
) -> Iterator[str]:
    path = corpus.path("shards", name, shard["shard"])
    if not corpus.filesystem.exists(path):
        yield "is missing; pack again"
        return
    with corpus.filesystem.open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(4 << 20):
            digest.update(block)
        if digest.hexdigest() != shard["sha256"]:
            yield "is not what was packed: its digest differs from the manifest's; restore it from a copy, or remove it and pack again"
        try:
            members = list(members_of(file))
        except (tarfile.TarError, ValueError) as error:
            yield f"is no readable tar: {error}"
            return
        there = list(dict.fromkeys(member["clip_id"] for member in members))
        if there != list(shard["clips"]):
            yield "holds other clips, or in another order, than the manifest says"
        strays = [one for one in members if indexed is not None and indexed.get((one["clip_id"], one["suffix"])) != (one["offset"], one["bytes"])]
        if strays:
            yield f"{len(strays)} files lie elsewhere than the index says, such as {strays[0]['clip_id']}.{strays[0]['suffix']}"
        known = Recognition.of(corpus, list(shard["clips"]) if pictures else [])
        for clip_id, mine in itertools.groupby(members, key=lambda member: member["clip_id"]):
            files = {member["suffix"]: _bytes_at(file, member["offset"], member["bytes"]) for member in mine}
            yield from _sample_problems(clip_id, files, clips, manifest["recipe"]["encoding"], known if pictures else None)


def _bytes_at(file: IO[bytes], offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _sample_problems(
    clip_id: str, files: Mapping[str, bytes], clips: Mapping[str, Mapping[str, Any]], encoding: Mapping[str, Any], known: Recognition | None
) -> Iterator[str]:
    """What is wrong with one sample; its pictures are looked at where it is known what they were."""
    if {CAPTION_SUFFIX, FACTS_SUFFIX} - files.keys() or not {VIDEO_SUFFIX, IMAGE_SUFFIX} & files.keys():
        yield f"{clip_id}: is not whole, it has only {', '.join(sorted(files))}"
        return
    facts, row = json.loads(files[FACTS_SUFFIX]), clips.get(clip_id)
    if row is None:
        yield f"{clip_id}: is not in the table of clips"
        return
    if facts.get("num_frames") != row["num_frames"]:
        yield f"{clip_id}: says it has {facts.get('num_frames')} frames, and its row says {row['num_frames']}"
    told = facts["encoded"].get("sound")
    if (told is not None) != (AUDIO_SUFFIX in files):
        yield f"{clip_id}: has {'no sound beside it' if told is not None else 'sound beside it'}, and it says otherwise"
    elif known is not None and told is not None and (problem := _sound_problem(files[AUDIO_SUFFIX], told, row)):
        yield f"{clip_id}.{AUDIO_SUFFIX}: {problem}"
    if known is not None and VIDEO_SUFFIX in files:
        yield from _picture_problems(clip_id, files[VIDEO_SUFFIX], facts["encoded"], row, encoding, known)


def _sound_problem(sound: bytes, told: dict[str, int], row: Mapping[str, Any]) -> str | None:
    """Whether it decodes to what was encoded, and lasts as long as the row says, to a sample."""
    wanted = round(row["end_s"] * told["rate"]) - round(row["start_s"] * told["rate"])
    return flac_problem(sound, told) or (f"has {told['samples']} samples, and its row asks for {wanted}" if told["samples"] != wanted else None)


def _picture_problems(
    clip_id: str, video: bytes, told: Mapping[str, Any], row: Mapping[str, Any], encoding: Mapping[str, Any], known: Recognition
) -> Iterator[str]:
    """Frames counted, timed and recognised: as many as the sample says, as long as the row says, showing what was measured and no other shot."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(video)
        file.flush()
        try:
            frames, ends_s = 0, 0.0
            lumas, times_s = [np.empty((0, *SIZE[::-1]), np.int16)], [np.empty(0)]
            for chunk in decode(file.name, SIDE):
                frames, ends_s = frames + len(chunk), float(chunk.ends_s[-1])
                lumas.append(np.stack([small_luma(picture) for picture in chunk.pictures]))
                times_s.append(chunk.times_s)
        except MediaError as error:
            yield f"{clip_id}: does not decode: {error}"
            return
    if frames != told["frames"]:
        yield f"{clip_id}: {frames} frames decode, and it says {told['frames']}"
    wanted_s = row["end_s"] - row["start_s"]
    if encoding["mode"] == "encode" and abs(ends_s - wanted_s) * (told["fps"] or 24.0) > TOLERANCE_FRAMES:
        yield f"{clip_id}: lasts {ends_s:.3f} s, and its row says {wanted_s:.3f} s"
    own = slice(told.get("in_frame", 0), told.get("out_frame"))
    held, when_s = np.concatenate(lumas)[own], np.concatenate(times_s)[own]
    for end, count, levels in foreign_ends(held):
        yield f"{clip_id}: its {end} {count} frames look like another shot ({levels:.0f} of 255 levels from the frame beside them)"
    if len(held):
        for number, levels in known.strange(clip_id, row["start_s"], held, when_s - when_s[0]):
            yield f"{clip_id}: shows something else than frame {number} of its source ({levels:.0f} of 255 levels apart)"
