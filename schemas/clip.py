"""The tables about time: shots as found, clips with all that was measured of them, their proxies, and the ledger of a selection."""

import pyarrow as pa

from schemas.table import column

SHOTS = pa.schema(
    [
        column("source_id", pa.string(), "The source", by="measure"),
        column("shot_index", pa.int32(), "Position of the shot in its source, from 0", by="measure"),
        column("start_frame", pa.int64(), "First frame, counted in decode order from 0", by="measure"),
        column("end_frame", pa.int64(), "Frame after the last", by="measure"),
        column("start_s", pa.float64(), "Presentation time of the first frame, from the source's first", unit="s", by="measure"),
        column("end_s", pa.float64(), "Presentation time at which the last frame ends", unit="s", by="measure"),
        column("transition", pa.string(), "How the shot begins: `start`, `cut` or `gradual`", by="measure"),
    ]
)

IDENTITY = (
    column("clip_id", pa.string(), "Identity of the clip: its source's and its frame span's, so it survives renaming", by="measure"),
    column("source_id", pa.string(), "The source", by="measure"),
    column("media_type", pa.string(), "`video` or `image`", by="measure"),
    column("shot_index", pa.int32(), "The shot it lies in", by="measure"),
    column("start_s", pa.float64(), "Presentation time of the first frame, from the source's first", unit="s", by="measure"),
    column("end_s", pa.float64(), "Presentation time at which the last frame ends", unit="s", by="measure"),
    column("start_frame", pa.int64(), "First frame, counted in decode order from 0", by="measure"),
    column("end_frame", pa.int64(), "Frame after the last", by="measure"),
    column("num_frames", pa.int64(), "Frames in the clip", by="measure"),
    column("fps", pa.float64(), "Frames over seconds within the clip", unit="1/s", by="measure"),
    column("width", pa.int32(), "Displayed width", unit="pixels", by="measure"),
    column("height", pa.int32(), "Displayed height", unit="pixels", by="measure"),
)

OBSERVED = (
    column(
        "motion",
        pa.float64(),
        "Typical optical flow per frame interval (DIS), robust to single jumps; grows with movement",
        unit="% of the frame's diagonal per 1/24 s",
        by="motion",
    ),
    column("motion_mean", pa.float64(), "Mean optical flow", unit="% of the diagonal per 1/24 s", by="motion"),
    column("motion_peak", pa.float64(), "95th percentile of optical flow over time", unit="% of the diagonal per 1/24 s", by="motion"),
    column("static_share", pa.float64(), "Share of frame intervals without movement", bounds="0-1", by="motion"),
    column("camera_motion", pa.float64(), "Flow explained by one global similarity transform", unit="% of the diagonal per 1/24 s", by="motion"),
    column("subject_motion", pa.float64(), "Flow left over after the camera's", unit="% of the diagonal per 1/24 s", by="motion"),
    column("pan", pa.float64(), "Mean horizontal camera movement, positive to the right", unit="% of the width per 1/24 s", by="motion"),
    column("tilt", pa.float64(), "Mean vertical camera movement, positive downwards", unit="% of the height per 1/24 s", by="motion"),
    column("zoom", pa.float64(), "Mean scale change, positive inwards", unit="% per 1/24 s", by="motion"),
    column("shake", pa.float64(), "Camera movement that changes direction from frame to frame", unit="% of the diagonal per 1/24 s", by="motion"),
    column("slideshow", pa.float64(), "Evidence that the clip is stills with transitions", bounds="0-1", by="motion"),
    column("freeze_share", pa.float64(), "Share of time in which the picture repeats exactly or nearly", bounds="0-1", by="motion"),
    column("flashes", pa.int32(), "Sudden brightness excursions that return", by="exposure"),
    column("brightness", pa.float64(), "Mean luma", bounds="0-1", by="exposure"),
    column("black_share", pa.float64(), "Share of black frames", bounds="0-1", by="exposure"),
    column("border", pa.string(), "`none`, `letterbox`, `pillarbox`, `windowbox` or `blurred`", by="borders"),
    column("content_box", pa.list_(pa.float64(), 4), "Rectangle of the picture inside its borders: left, top, right, bottom", bounds="0-1", by="borders"),
    column("overlay_evidence", pa.float64(), "Strength of edges that stay while content moves", bounds="0-1", by="overlay"),
    column("overlay_box", pa.list_(pa.float64(), 4), "Where they lie: left, top, right, bottom", bounds="0-1", by="overlay"),
)

SCORED = (
    column("aesthetic", pa.float64(), "Aesthetic score, on the scale of its scorer; higher is better", unit="of the named scorer", by="aesthetic"),
    column("alignment", pa.float64(), "How well the caption fits the picture; higher is better", unit="of the named scorer", by="alignment"),
    column("labels", pa.list_(pa.string()), "What is seen, only where confident, most likely first", by="labels"),
    column("label_confidences", pa.list_(pa.float64()), "Confidence of each label", bounds="0-1", by="labels"),
    column("watermark", pa.float64(), "Probability of a watermark or logo laid over the picture", bounds="0-1", by="watermark"),
    column("watermark_box", pa.list_(pa.float64(), 4), "Where it lies: left, top, right, bottom", bounds="0-1", by="watermark"),
    column("text_area", pa.float64(), "Share of the frame under text laid over the picture, the largest over the proxies", bounds="0-1", by="text"),
    column("text_kind", pa.string(), "`none`, `subtitle`, `banner`, `title` or `scene`", by="text"),
    column("texts", pa.list_(pa.string()), "The words read", by="text"),
    column(
        "technical",
        pa.float64(),
        "Technical quality: sharpness, noise, blockiness, exposure, contrast, colourfulness; higher is better",
        bounds="0-1",
        by="technical",
    ),
    column("sharpness", pa.float64(), "Part of technical quality", bounds="0-1", by="technical"),
    column("noise", pa.float64(), "Part of technical quality; higher is noisier", bounds="0-1", by="technical"),
    column("blockiness", pa.float64(), "Part of technical quality; higher is blockier", bounds="0-1", by="technical"),
    column("exposure", pa.float64(), "Part of technical quality; higher is better exposed", bounds="0-1", by="technical"),
    column("contrast", pa.float64(), "Part of technical quality", bounds="0-1", by="technical"),
    column("colourfulness", pa.float64(), "Part of technical quality (Hasler and Suesstrunk 2003)", bounds="0-1", by="technical"),
    column("category", pa.string(), "Zero-shot category (the ten of Vimeo25M)", by="tags"),
    column("nsfw", pa.float64(), "Probability of content not safe for work", bounds="0-1", by="nsfw"),
)

CAPTIONED = (
    column("caption", pa.string(), "The chosen caption", by="caption"),
    column("captioner", pa.string(), "Who wrote it: captioner and version", by="caption"),
)

DEDUPLICATED = (
    column("duplicate_of", pa.string(), "The better copy of which this clip is a duplicate; null for the best copy itself", by="deduplicate"),
    column(
        "duplicate_cluster", pa.string(), "Cluster of near-duplicates: the clip_id of its representative; a unique clip is its own cluster", by="deduplicate"
    ),
    column("duplicate_rank", pa.int32(), "Place within its cluster, from 0 for the best copy", by="deduplicate"),
)

SEMANTIC = (
    column("semantic_of", pa.string(), "The better clip that this one is alike to; null for the best one itself", by="deduplicate --semantic"),
    column("semantic_cluster", pa.string(), "Cluster of clips that show alike things: the clip_id of its best one", by="deduplicate --semantic"),
    column("semantic_similarity", pa.float64(), "Cosine of its vector with that of its cluster's best clip", bounds="-1-1", by="deduplicate --semantic"),
)

UNMEASURED = (column("unmeasured", pa.map_(pa.string(), pa.string()), "Why a column is null: column to reason", by="every scorer"),)

CLIPS = pa.schema([*IDENTITY, *OBSERVED, *SCORED, *CAPTIONED, *DEDUPLICATED, *SEMANTIC, *UNMEASURED])

PROXIES = pa.schema(
    [
        column("clip_id", pa.string(), "The clip", by="measure"),
        column("source_id", pa.string(), "The source", by="measure"),
        column("kind", pa.string(), "`frame` (a JPEG picture) or `edges` (a PNG map of edge persistence over a time window, uint8)", by="measure"),
        column("proxy_index", pa.int32(), "Order within the clip and kind, from 0", by="measure"),
        column("frame", pa.int64(), "Frame number in the source; the window's first for edges", by="measure"),
        column("time_s", pa.float64(), "Presentation time from the source's first frame", unit="s", by="measure"),
        column("width", pa.int32(), "Width of the picture", unit="pixels", by="measure"),
        column("height", pa.int32(), "Height of the picture", unit="pixels", by="measure"),
        column("image", pa.binary(), "The encoded picture", by="measure"),
    ]
)

CAPTIONS = pa.schema(
    [
        column("clip_id", pa.string(), "The clip", by="caption"),
        column("captioner", pa.string(), "Captioner, version and model, for instance `describe@1`", by="caption"),
        column("prompt", pa.string(), "What a model was asked", by="caption"),
        column("text", pa.string(), "The caption", by="caption"),
        column("start_s", pa.float64(), "Start of the window described, within the source", unit="s", by="caption"),
        column("end_s", pa.float64(), "End of the window described", unit="s", by="caption"),
        column("problem", pa.string(), "Why the caption is not to be used (too short, a refusal, repetition); null when it is fine", by="caption"),
    ]
)

OUTCOME_KEPT, OUTCOME_REJECTED, OUTCOME_FAILED = "kept", "rejected", "failed"

LEDGER = pa.schema(
    [
        column("source_id", pa.string(), "The source", by="select"),
        column("clip_id", pa.string(), "The clip; null where the seconds belong to none", by="select"),
        column("start_s", pa.float64(), "Start", unit="s", by="select"),
        column("end_s", pa.float64(), "End", unit="s", by="select"),
        column("outcome", pa.string(), "`kept`, `rejected` or `failed`", by="select"),
        column("rule", pa.string(), "The rule that decided: a recipe's column, `rights`, `length`, `transition`, or the step that failed", by="select"),
        column("detail", pa.string(), "In words and numbers", by="select"),
    ]
)

GAPS = pa.schema([field for field in LEDGER if field.name != "clip_id"])
"""Seconds of a source that no clip holds, with the reason: too short a shot, a transition's margin, frames that did not decode. Written by measure."""


def clip_id(source_id: str, start_frame: int, end_frame: int) -> str:
    """The identity of a span of a source: sortable, safe as a file name and as a WebDataset key (no dot, no slash)."""
    return f"{source_id}-{start_frame:08d}-{end_frame:08d}"
