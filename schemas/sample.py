"""A WebDataset sample, encoded and decoded side by side: the only thing curate and train share."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

VIDEO_SUFFIX, IMAGE_SUFFIX, AUDIO_SUFFIX, CAPTION_SUFFIX, FACTS_SUFFIX = "mp4", "jpg", "flac", "txt", "json"


@dataclass(frozen=True)
class Sample:
    """One clip (or image) as a shard holds it.

    Attributes:
        key: the clip's id, which is the name its files share.
        caption: the text to train with.
        facts: everything known about the clip (its row, its rights, its captions), as JSON values.
        video: an MP4 file's bytes; None for an image.
        image: a JPEG file's bytes; None for a video.
        extras: further files by suffix, such as cached latents (`latents.npy`).
        audio: a FLAC file's bytes, as long as the clip; None where its sound is not kept apart, or there is none.
    """

    key: str
    caption: str
    facts: dict[str, Any]
    video: bytes | None = None
    image: bytes | None = None
    extras: Mapping[str, bytes] = field(default_factory=dict)
    audio: bytes | None = None


def encode(sample: Sample) -> dict[str, Any]:
    """The sample as webdataset's writer takes it: suffix to bytes, and `__key__`."""
    media = {VIDEO_SUFFIX: sample.video, IMAGE_SUFFIX: sample.image, AUDIO_SUFFIX: sample.audio}
    facts = json.dumps(sample.facts, ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return {
        "__key__": sample.key,
        **{suffix: data for suffix, data in media.items() if data is not None},
        CAPTION_SUFFIX: sample.caption.encode(),
        FACTS_SUFFIX: facts.encode(),
        **sample.extras,
    }


def decode(fields: Mapping[str, Any]) -> Sample:
    """The sample back from what a reader gives: suffix to bytes, and `__key__`."""
    known = {VIDEO_SUFFIX, IMAGE_SUFFIX, AUDIO_SUFFIX, CAPTION_SUFFIX, FACTS_SUFFIX}
    return Sample(
        key=fields["__key__"],
        caption=bytes(fields[CAPTION_SUFFIX]).decode(),
        facts=json.loads(bytes(fields[FACTS_SUFFIX])),
        video=fields.get(VIDEO_SUFFIX),
        image=fields.get(IMAGE_SUFFIX),
        extras={suffix: data for suffix, data in fields.items() if suffix not in known and not suffix.startswith("__")},
        audio=fields.get(AUDIO_SUFFIX),
    )
