"""A folder of WebDataset shards as a list of samples, each read by itself wherever it lies in its tar."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import braceexpand
import fsspec

from schemas.document import DocumentError
from schemas.sample import FACTS_SUFFIX, IMAGE_SUFFIX, VIDEO_SUFFIX, Sample, decode

MANIFEST = "MANIFEST"
TAR_BLOCK = 512


@dataclass(frozen=True)
class Entry:
    """Where one sample lies and what it is.

    Attributes:
        key: the clip's id.
        shard: index of its tar in the list of tars.
        start, stop: bytes of the tar that hold its files, headers included: a tar of its own.
        is_image: whether it is a still.
        frames, width, height: of what was encoded; 0 where the sample does not say.
    """

    key: str
    shard: int
    start: int
    stop: int
    is_image: bool
    frames: int
    width: int
    height: int


class Shards:
    """The samples of a packed selection in packing order; random access, so that any order can be read and resumed at any place.

    Args:
        url: a folder with a MANIFEST, a folder of tars, or a brace-expanded URL of tars, on any filesystem that fsspec knows.

    Raises:
        DocumentError: there is no such folder, or no tar with samples in it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.filesystem, self.tars, self.manifest = _locate(url)
        self.folder = self.tars[0].rsplit("/", 1)[0]
        self.is_folder = self.filesystem.isdir(fsspec.core.url_to_fs(url)[1])
        self.entries = tuple(entry for number, tar in enumerate(self.tars) for entry in self._scan(number, tar))
        if not self.entries:
            raise DocumentError(f"shards = {url!r}: no samples in it; pack a selection that keeps some clips")

    @property
    def videos(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if not entry.is_image)

    @property
    def images(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.is_image)

    def read(self, entry: Entry) -> Sample:
        """The sample, through webdataset's own rules for which files make one."""
        from webdataset.tariterators import group_by_keys, tar_file_iterator

        data = self.filesystem.cat_file(self.tars[entry.shard], start=entry.start, end=entry.stop)
        files = ({**file, "__url__": self.tars[entry.shard]} for file in tar_file_iterator(io.BytesIO(data)))
        return decode(next(iter(group_by_keys(files))))

    def lineage(self) -> dict[str, Any]:
        """What a checkpoint tells of these shards: the manifest, its digest, the clips by id, and digests of tars without a manifest."""
        told: dict[str, Any] = {"clips": sorted(entry.key for entry in self.entries)}
        if self.manifest is not None:
            document = json.loads(self.manifest)
            told |= {name: document[name] for name in ("name", "contents", "recipe", "scorers", "encoder", "journal_head") if name in document}
            return told | {"manifest_sha256": hashlib.sha256(self.manifest).hexdigest()}
        return told | {"shards": {tar.rsplit("/", 1)[-1]: self.filesystem.size(tar) for tar in self.tars}}

    def _scan(self, number: int, tar: str) -> Iterator[Entry]:
        """Entries of one tar, from its headers and the small JSON of each sample."""
        with self.filesystem.open(tar, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            members: list[tarfile.TarInfo] = []
            for member in archive:
                if not member.isfile() or "." not in member.name:
                    continue
                if members and _key(members[0]) != _key(member):
                    yield _entry(number, members, archive)
                    members = []
                members.append(member)
            if members:
                yield _entry(number, members, archive)


def _locate(url: str) -> tuple[Any, list[str], bytes | None]:
    filesystem, path = fsspec.core.url_to_fs(url)
    if filesystem.isdir(path):
        tars = sorted(found for found in filesystem.ls(path, detail=False) if found.endswith(".tar"))
        manifest = filesystem.cat_file(f"{path}/{MANIFEST}") if filesystem.exists(f"{path}/{MANIFEST}") else None
        if manifest is not None:
            tars = [f"{path.rstrip('/')}/{shard['shard']}" for shard in json.loads(manifest)["shards"]]
    else:
        tars, manifest = list(braceexpand.braceexpand(path)), None
    missing = [tar for tar in tars if not filesystem.exists(tar)]
    if missing or not tars:
        raise DocumentError(f"shards = {url!r}: {f'{missing[0]} does not exist' if missing else 'no .tar files in it'}; name a packed folder")
    return filesystem, tars, manifest


def _key(member: tarfile.TarInfo) -> str:
    return member.name.split(".", 1)[0]


def _entry(number: int, members: list[tarfile.TarInfo], archive: tarfile.TarFile) -> Entry:
    suffixes = {member.name.split(".", 1)[1]: member for member in members}
    facts: dict[str, Any] = {}
    if FACTS_SUFFIX in suffixes:
        stream = archive.extractfile(suffixes[FACTS_SUFFIX])
        facts = json.loads(stream.read()) if stream is not None else {}
    told = facts.get("encoded") or {"frames": facts.get("num_frames"), "width": facts.get("width"), "height": facts.get("height")}
    if "in_frame" in told:  # copied in whole groups of pictures, of which these are the clip's own
        told = {**told, "frames": told["out_frame"] - told["in_frame"]}
    last = members[-1]
    stop = last.offset_data + -(-last.size // TAR_BLOCK) * TAR_BLOCK
    is_image = IMAGE_SUFFIX in suffixes and VIDEO_SUFFIX not in suffixes
    sizes = (int(told.get(name) or 0) for name in ("frames", "width", "height"))
    return Entry(_key(members[0]), number, members[0].offset, stop, is_image, *sizes)
