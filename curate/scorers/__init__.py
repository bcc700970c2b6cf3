"""The scorers by profile: a new one is a file, its column in schemas.clip, and a line here."""

from curate.scorers.alignment import ConseAlignment
from curate.scorers.base import Scorer
from curate.scorers.clip_alignment import ClipAlignment
from curate.scorers.embeddings import ClipEmbedding, EfficientNetEmbedding
from curate.scorers.handcrafted import HandcraftedAesthetic
from curate.scorers.labels import Labels
from curate.scorers.laion import LaionAesthetic, LaionAestheticAva, LaionAestheticAvaRelu, LaionAestheticV1
from curate.scorers.overlay_watermark import OverlayWatermark
from curate.scorers.published import PUBLISHED
from curate.scorers.technical import Technical
from curate.scorers.text import Text
from curate.scorers.watermark import Watermark
from curate.scorers.zero_shot import NotSafeForWork, Tags

EMBEDDED: tuple[type[Scorer], ...] = (HandcraftedAesthetic, Technical, Text, Labels, Watermark, EfficientNetEmbedding, ConseAlignment)
LAION: tuple[type[Scorer], ...] = (LaionAesthetic, Technical, Text, Tags, NotSafeForWork, Watermark, ClipEmbedding, ClipAlignment)
BY_NAME_ONLY: tuple[type[Scorer], ...] = (LaionAestheticV1, LaionAestheticAva, LaionAestheticAvaRelu, *PUBLISHED, OverlayWatermark)

PROFILES: dict[str, tuple[type[Scorer], ...]] = {"embedded": EMBEDDED, "laion": LAION}
"""Which scorers a profile runs. Two scorers of one profile never write the same column."""

SCORERS: tuple[type[Scorer], ...] = tuple(dict.fromkeys((*EMBEDDED, *LAION, *BY_NAME_ONLY)))
"""Every scorer there is; any can be run by its name."""
