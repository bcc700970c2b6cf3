"""The table of sources: one row per distinct content (a video or an image), whose it is and what became of it."""

import pyarrow as pa

from schemas.table import column

STATUS_OK, STATUS_REJECTED, STATUS_FAILED = "ok", "rejected", "failed"

SOURCES = pa.schema(
    [
        column(
            "source_id",
            pa.string(),
            "Identity of the content: `s` and the first 20 hexadecimal digits of its sha256; provisional (`p…`, from the location) while it cannot be read",
            by="add",
        ),
        column("uri", pa.string(), "First location by which the content was added", by="add"),
        column("locations", pa.list_(pa.string()), "Every location at which the same content was seen", by="add"),
        column("sha256", pa.string(), "Digest of the whole content", by="add"),
        column("bytes", pa.int64(), "Size of the content", unit="bytes", by="add"),
        column("media_type", pa.string(), "`video` or `image`", by="add"),
        column(
            "duration_s",
            pa.float64(),
            "What decodes, from the first picture to the end of the last; the container's claim until it was decoded; 0 for an image",
            unit="s",
            by="measure",
        ),
        column("container_duration_s", pa.float64(), "What the container claims", unit="s", by="add"),
        column("width", pa.int32(), "Displayed width, after rotation and sample aspect ratio", unit="pixels", by="add"),
        column("height", pa.int32(), "Displayed height", unit="pixels", by="add"),
        column("fps", pa.float64(), "Average frame rate", unit="1/s", by="add"),
        column("codec", pa.string(), "Video codec, in FFmpeg's name", by="add"),
        column("frames", pa.int64(), "Frames that decoded", by="measure"),
        column("variable_rate", pa.bool_(), "Whether frame intervals differ", by="measure"),
        column("interlaced", pa.bool_(), "Whether frames are coded as fields", by="measure"),
        column("hdr", pa.bool_(), "Whether the transfer is PQ or HLG; measured on a tone-mapped picture", by="measure"),
        column("keyframes", pa.list_(pa.int64()), "Frame numbers of keyframes, for cheap cutting", by="measure"),
        column("title", pa.string(), "Title given by the owner", by="add"),
        column("description", pa.string(), "Description given by the owner", by="add"),
        column("tags", pa.list_(pa.string()), "Tags given by the owner", by="add"),
        column("category", pa.string(), "Category given by the owner", by="add"),
        column("status", pa.string(), "`ok`, `rejected` (by a rule, before decoding) or `failed` (could not be read)", by="add, measure"),
        column("rule", pa.string(), "Which rule rejected it, or which step failed", by="add, measure"),
        column("reason", pa.string(), "Why, in words", by="add, measure"),
        column("warnings", pa.list_(pa.string()), "What was odd but survivable", by="add, measure"),
        column("license", pa.string(), "SPDX or Creative Commons identifier, or a contract reference; `unstated` without rights file or policy", by="add"),
        column("rights_holder", pa.string(), "Who holds the rights", by="add"),
        column("rights_uses", pa.list_(pa.string()), "Permitted uses: train, redistribute, commercial, …", by="add"),
        column("rights_territories", pa.list_(pa.string()), "ISO 3166 codes, or `worldwide`", by="add"),
        column("rights_start", pa.date32(), "First day of the term", by="add"),
        column("rights_expires", pa.date32(), "Last day of the term", by="add"),
        column("attribution", pa.string(), "The line that the licence wants shown", by="add"),
        column("releases", pa.list_(pa.string()), "Releases at hand: people, property", by="add"),
        column("rights_proof", pa.string(), "The document that proves the grant", by="add"),
        column("content_credentials", pa.string(), "The source's own C2PA manifest, as JSON", by="add"),
    ]
)
