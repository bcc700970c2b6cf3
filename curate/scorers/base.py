"""Scorer, which sees what was kept of clips and measures them; ClipBatch, what it sees; and `tabulate`, which explains every null."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from curate.models import identity
from schemas.clip import CLIPS, UNMEASURED

DECIMALS = 4
"""Scores are stored to 4 decimals, so that the last bits of a sum never decide what a recipe keeps."""


class Unmeasured(Exception):
    """This clip cannot be measured: the message is the reason that `unmeasured` will give."""


OF_ONE_CLIP = (Unmeasured, ValueError, ArithmeticError, LookupError, cv2.error)
"""What may go wrong with one clip alone; anything else (memory, a device, a missing model) stops the run, because a null would stay."""


@dataclass(frozen=True)
class Picture:
    """One proxy of a clip, decoded when first looked at.

    Attributes:
        image: the encoded picture.
        time_s: presentation time from the source's first frame, seconds.
        frame: frame number in the source.
    """

    image: bytes
    time_s: float = 0.0
    frame: int = 0

    @cached_property
    def pixels(self) -> np.ndarray:
        """The picture as uint8 (H, W, 3) RGB; a grey map comes back with three equal channels.

        Raises:
            Unmeasured: the bytes are no picture.
        """
        decoded = cv2.imdecode(np.frombuffer(self.image, np.uint8), cv2.IMREAD_COLOR) if self.image else None
        if decoded is None:
            raise Unmeasured("a proxy is not a readable picture")
        return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB, dst=decoded)


@dataclass(frozen=True)
class ClipBatch:
    """Some clips, what was kept of them, and what was computed once for all scorers.

    Attributes:
        clips: their rows: clip_id and whatever columns the scorers need.
        pictures: per clip its `frame` proxies in order.
        edges: per clip its `edges` proxies in order; empty unless a scorer needs them.
        features: by name, one entry per clip; an Unmeasured stands for a feature that could not be computed.
    """

    clips: pa.Table
    pictures: Sequence[Sequence[Picture]]
    edges: Sequence[Sequence[Picture]] = ()
    features: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.clips.num_rows

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The clips' columns as Python values."""
        return self.clips.to_pylist()

    def frames(self, index: int) -> list[np.ndarray]:
        """The decoded `frame` proxies of one clip, uint8 (H, W, 3) RGB each.

        Raises:
            Unmeasured: the clip has no proxies, or one does not decode.
        """
        if not self.pictures[index]:
            raise Unmeasured("the clip has no proxies")
        return [picture.pixels for picture in self.pictures[index]]

    def feature(self, name: str, index: int) -> Any:
        """A shared feature of one clip; raises the Unmeasured that stands for it where it could not be computed."""
        found = self.features[name][index]
        if isinstance(found, Unmeasured):
            raise found
        return found

    def column(self, name: str, index: int) -> Any:
        """A column of the clip's row; raises Unmeasured where it is null."""
        found = self.rows[index].get(name)
        if found is None:
            raise Unmeasured(f"the clip has no {name}")
        return found


class Scorer(ABC):
    """Sees what was kept of clips. Measures, never decides.

    Attributes:
        name, version: how its numbers are signed; a change of meaning needs a new one.
        family: the relations its rows go to: `measures`, which `clips` shows, or `embeddings`, which it does not.
        columns: what it writes.
        needs: `proxies`, `edges`, shared features (curate.embedding.features) or columns of clips, computed before it.
        models: names in curate.models, whose digests become part of its identity.
        preprocessing: what is done to a proxy before it is judged, in words.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    family: ClassVar[str] = "measures"
    columns: ClassVar[tuple[pa.Field, ...]]
    needs: ClassVar[frozenset[str]]
    models: ClassVar[tuple[str, ...]] = ()
    preprocessing: ClassVar[str] = "proxies as stored"

    def __init__(self, models_dir: str | None = None) -> None:
        self.models_dir = models_dir

    @classmethod
    def identity(cls) -> str:
        """`name@version`, with 8 digits of its weights' digest where it has weights."""
        return identity(cls.name, cls.version, cls.models)

    @classmethod
    def relation(cls) -> str:
        """Where its rows are kept, such as `measures/technical@2-9ef57ad7`."""
        return f"{cls.family}/{cls.identity()}"

    def setup(self) -> None:  # noqa: B027 - a scorer without weights has nothing to set up
        """Loads weights, once per worker."""

    @abstractmethod
    def score(self, batch: ClipBatch) -> pa.Table:
        """One row per clip: clip_id, the scorer's columns, and `unmeasured`."""


def columns(*names: str) -> tuple[pa.Field, ...]:
    """Columns of clips by name, for a scorer to declare."""
    return tuple(CLIPS.field(name) for name in names)


def schema_of(fields: Sequence[pa.Field]) -> pa.Schema:
    """What a scorer with these columns returns: clip_id, the columns, `unmeasured`."""
    return pa.schema([CLIPS.field("clip_id"), *fields, *UNMEASURED])


def tabulate(batch: ClipBatch, fields: Sequence[pa.Field], measure: Callable[[int], dict[str, Any]]) -> pa.Table:
    """The table a scorer returns, from a function that measures the clip at one index.

    Numbers are rounded to DECIMALS. A clip whose measuring fails, and a column left None or not finite, become null with the reason.
    """
    rows = []
    for index, clip in enumerate(batch.rows):
        reasons: dict[str, str] = {}
        try:
            found = measure(index)
        except OF_ONE_CLIP as error:
            told = str(error) if isinstance(error, Unmeasured) else f"{type(error).__name__}: {error}"
            found, reasons = {}, {each.name: told for each in fields}
        row = {each.name: _rounded(found.get(each.name)) for each in fields}
        reasons |= {name: "no finite value" for name, value in row.items() if value is None and name not in reasons}
        rows.append({"clip_id": clip["clip_id"], **row, "unmeasured": sorted(reasons.items())})
    return pa.Table.from_pylist(rows, schema=schema_of(fields))


def _rounded(value: Any) -> Any:
    if isinstance(value, (float, np.floating)):
        return round(float(value), DECIMALS) + 0.0 if np.isfinite(value) else None
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_rounded(each) for each in value]
    return value.item() if isinstance(value, np.generic) else value
