"""Mistakes: what a person can put right, said in plain words instead of a traceback, and the exit code that goes with it."""

import contextlib
import sys
from collections.abc import Iterator

from rich.markup import escape

from curate.calibrate import CalibrationError
from curate.captioners import CaptionError
from curate.corpus import CorpusError
from curate.engine import EngineError
from curate.models import ModelError
from curate.pins import PinError
from curate.score import ScoreError
from curate.scorers.allowed_marks import MarkError
from pipelines.demo.footage import DemoFootageMissing
from pipelines.verbs.options import EXIT_INTERRUPTED, EXIT_MISTAKE, errors
from schemas.document import DocumentError

MISTAKES = (DocumentError, CorpusError, EngineError, ModelError, PinError, ScoreError, MarkError, CaptionError, CalibrationError, DemoFootageMissing)
"""Each message says what was wrong, where, and what to do."""


@contextlib.contextmanager
def mistakes_said_plainly() -> Iterator[None]:
    """Ends the program with a plain message where a person can put something right, or interrupted it."""
    try:
        yield
    except MISTAKES as error:
        errors.print(f"[red]error:[/red] {escape(str(error))}")
        sys.exit(EXIT_MISTAKE)
    except KeyboardInterrupt:
        errors.print("interrupted; run the same command again to go on from here")
        sys.exit(EXIT_INTERRUPTED)
