"""Observers see every frame of a source, once, and measure its clips. A new one is a file and a line here."""

from curate.observers.base import Observer
from curate.observers.borders import Borders
from curate.observers.exposure import Exposure
from curate.observers.motion import Motion
from curate.observers.overlay import Overlay

OBSERVERS: tuple[type[Observer], ...] = (Motion, Exposure, Borders, Overlay)
