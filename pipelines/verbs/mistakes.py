"""Mistakes: what a person can put right, said in plain words instead of a traceback, and the exit code that goes with it."""

import contextlib
import errno
import sys
from collections.abc import Iterator
from typing import NoReturn

from curate.calibrate import CalibrationError
from curate.captioners import CaptionError
from curate.corpus import CorpusError
from curate.engine import EngineError
from curate.models import ModelError
from curate.pins import PinError
from curate.score import ScoreError
from curate.scorers.allowed_marks import MarkError
from curate.storage.commits import StoreError
from pipelines.demo.footage import DemoFootageMissing
from pipelines.verbs.options import EXIT_INTERRUPTED, EXIT_MISTAKE, errors, plain
from schemas.document import DocumentError

MISTAKES = (
    DocumentError, CorpusError, StoreError, EngineError, ModelError, PinError, ScoreError, MarkError, CaptionError, CalibrationError, DemoFootageMissing
)  # fmt: skip
"""Each message says what was wrong, where, and what to do."""

OF_THE_MACHINE = frozenset(
    [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EMFILE]
)
"""What a disk or a folder may refuse; a file that is missing where it should be is not among them, since that may be a defect of ours."""


@contextlib.contextmanager
def mistakes_said_plainly() -> Iterator[None]:
    """Ends the program with a plain message where a person can put something right, or interrupted it."""
    try:
        yield
    except MISTAKES as error:
        _end(str(error))
    except OSError as error:
        if error.errno not in OF_THE_MACHINE:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _end(f"{where}{error.strerror or error}; put that right and run the same command again: what was committed is kept")
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as ended:
        if ended.code == EXIT_INTERRUPTED:  # typer hears of it first, and says nothing
            _interrupted()
        raise


def _interrupted() -> NoReturn:
    errors.print("interrupted; run the same command again to go on from here")
    sys.exit(EXIT_INTERRUPTED)


def _end(message: str) -> NoReturn:
    lines = "\n".join(map(plain, message.split("\n")))
    errors.print(f"[red]error:[/red] {lines}")
    sys.exit(EXIT_MISTAKE)
