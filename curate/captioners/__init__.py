"""The captioners that run unless others are asked for: a new one is a file and a line here."""

from curate.captioners.base import Captioner
from curate.captioners.describe import Describe
from curate.captioners.metadata import Metadata

DEFAULT: tuple[Captioner, ...] = (Metadata(), Describe())
"""In order of preference; which caption `clips` shows is stated in curate.views."""
