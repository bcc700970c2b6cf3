"""Croissant: the machine-readable description of a set of shards (ML Commons, Croissant 1.0), valid before it is written."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

INDEX_FILE = "index.parquet"
VIDEO, SOUND, IMAGE = ("mp4", "video/mp4"), ("flac", "audio/flac"), ("jpg", "image/jpeg")
MEDIA = {"video": (VIDEO,), "video-audio": (VIDEO, SOUND), "image": (IMAGE,)}


def croissant(manifest: Mapping[str, Any], licenses: Sequence[str], index_sha256: str, description: str) -> str:
    """The description as JSON.

    Args:
        manifest: of the set.
        licenses: every licence that occurs in it.
        index_sha256: digest of its index.
        description: of the set, in a sentence or two.

    Raises:
        mlcroissant.ValidationError: the description is not valid.
    """
    import mlcroissant as mlc

    logging.getLogger("absl").setLevel(logging.ERROR)
    kinds = {kind: [shard["shard"] for shard in manifest["shards"] if shard["kind"] == kind] for kind in MEDIA}
    tars = [
        mlc.FileObject(id=shard["shard"], name=shard["shard"], content_url=shard["shard"], content_size=f"{shard['bytes']} B",
                       encoding_formats=["application/x-tar"], sha256=shard["sha256"])
        for shard in manifest["shards"]
    ]  # fmt: skip
    index = mlc.FileObject(id=INDEX_FILE, name=INDEX_FILE, content_url=INDEX_FILE, encoding_formats=["application/x-parquet"], sha256=index_sha256)
    files, records = [], [_index_records(mlc)]
    for kind, shards in kinds.items():
        if shards:
            made = list(_files(mlc, kind, shards))
            files += made
            records += [_file_records(mlc, file) for file in made[len(MEDIA[kind]) :]]
    told = mlc.Metadata(
        name=manifest["name"], description=description, license=list(licenses), url="README.md", version="1.0.0", distribution=[*tars, index, *files],
        record_sets=records,
    )  # fmt: skip
    return json.dumps(told.to_json(), indent=2, ensure_ascii=False, default=str) + "\n"


def _files(mlc: Any, kind: str, shards: list[str]) -> Iterable[Any]:
    """The files inside the shards of one kind: media, captions and facts."""
    for suffix, format_ in (*MEDIA[kind], ("txt", "text/plain"), ("json", "application/json")):
        name = f"{kind}-{suffix}"
        yield mlc.FileSet(id=name, name=name, contained_in=shards, includes=f"*.{suffix}", encoding_formats=[format_])


def _file_records(mlc: Any, files: Any) -> Any:
    """Records of one kind of file: the clip's id and the file's content."""
    suffix = files.id.rsplit("-", 1)[1]
    name = mlc.Transform(regex=rf"^(.*)\.{suffix}$")
    columns = [("clip_id", mlc.FileProperty.filename, "The clip", [name]), ("content", mlc.FileProperty.content, f"Its {suffix} file", [])]
    fields = [
        mlc.Field(id=f"{files.id}-records/{column}", name=column, description=told, data_types=[mlc.DataType.TEXT],
                  source=mlc.Source(file_set=files.id, extract=mlc.Extract(file_property=what), transforms=transforms))
        for column, what, told, transforms in columns
    ]  # fmt: skip
    return mlc.RecordSet(id=f"{files.id}-records", name=f"{files.id}-records", fields=fields)


def _index_records(mlc: Any) -> Any:
    """Records of the index: where each file of each clip lies."""
    whole, text = mlc.DataType.INTEGER, mlc.DataType.TEXT
    columns = [
        ("clip_id", text, "The clip"), ("shard", text, "The tar that holds it"), ("suffix", text, "Which of its files"),
        ("offset", whole, "Where the file's bytes begin in the tar"), ("bytes", whole, "How many they are"),
    ]  # fmt: skip
    fields = [
        mlc.Field(id=f"index/{name}", name=name, description=told, data_types=[type_],
                  source=mlc.Source(file_object=INDEX_FILE, extract=mlc.Extract(column=name)))
        for name, type_, told in columns
    ]  # fmt: skip
    return mlc.RecordSet(id="index", name="index", fields=fields)
