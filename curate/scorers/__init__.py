"""The scorers by profile: a new one is a file, its column in schemas.clip, and a line here."""

from curate.scorers.alignment import ConseAlignment
from curate.scorers.base import Scorer
from curate.scorers.handcrafted import HandcraftedAesthetic
from curate.scorers.labels import Labels
from curate.scorers.overlay_watermark import OverlayWatermark
from curate.scorers.technical import Technical
from curate.scorers.text import Text

EMBEDDED: tuple[type[Scorer], ...] = (HandcraftedAesthetic, Technical, Text, Labels, OverlayWatermark, ConseAlignment)

PROFILES: dict[str, tuple[type[Scorer], ...]] = {"embedded": EMBEDDED}
"""Which scorers a profile runs. Two scorers of one profile never write the same column."""
