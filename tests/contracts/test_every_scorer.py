"""What every scorer promises, whichever profile it belongs to: rows in order, nulls explained, the same number whoever its neighbours are."""

import pickle
import re

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curate.embedding.features import FEATURES
from curate.score import with_features
from curate.scorers import SCORERS
from curate.scorers.base import DECIMALS, ClipBatch, Picture, Scorer, schema_of
from schemas.clip import CLIPS

EVERY = sorted(SCORERS, key=lambda cls: cls.name)


def pictures(seed: int, count: int = 2) -> tuple[Picture, ...]:
    """Soft coloured grounds with shapes, as JPEG."""
    random, made = np.random.default_rng(seed), []
    for _ in range(count):
        ground = cv2.resize(random.integers(30, 220, (3, 5, 3), np.uint8), (256, 144), interpolation=cv2.INTER_CUBIC)
        cv2.circle(ground, (int(random.integers(40, 200)), 70), 30, [int(part) for part in random.integers(0, 255, 3)], -1, cv2.LINE_AA)
        made.append(Picture(cv2.imencode(".jpg", ground)[1].tobytes()))
    return tuple(made)


def rows(count: int) -> pa.Table:
    """Clips with a value in every column that scorers read."""
    boxes = pa.array([[0.8, 0.1, 0.95, 0.2]] * count, CLIPS.field("overlay_box").type)
    measured = {"overlay_evidence": [0.1 * number for number in range(count)], "overlay_box": boxes, "caption": ["a boat leaves the harbour"] * count}
    return pa.table({"clip_id": [f"clip{number}" for number in range(count)], **measured})


@pytest.fixture(scope="module")
def loaded(small_models):
    """Scorers and features by class, set up once."""
    there: dict[type, object] = {}

    def load(cls: type):
        if cls not in there:
            there[cls] = cls(str(small_models))
            there[cls].setup()
        return there[cls]

    return load


@pytest.fixture
def score(loaded):
    """A scorer's table over clips with these pictures."""

    def run(cls: type[Scorer], clips: list[tuple[Picture, ...]], table: pa.Table | None = None) -> list[dict]:
        batch = ClipBatch(table if table is not None else rows(len(clips)), clips, edges=[()] * len(clips))
        features = {feature.name: loaded(feature).compute(batch) for feature in FEATURES if feature.name in cls.needs}
        made = loaded(cls).score(ClipBatch(batch.clips, batch.pictures, batch.edges, features))
        assert made.schema.equals(schema_of(cls.columns))
        return made.to_pylist()

    return run


@pytest.mark.parametrize("cls", EVERY, ids=lambda cls: cls.name)
class TestEveryScorer:
    def test_it_says_who_it_is_and_what_it_writes_and_needs(self, cls):
        signed = cls.identity()
        assert re.fullmatch(r"[a-z][a-z_0-9]*@\d+(-([0-9a-f]{8}|unpinned))?(-allowing-[0-9a-f]{4})?", signed) and bool(cls.models) == ("-" in signed)
        assert cls.columns and all(CLIPS.field(column.name) == column for column in cls.columns if cls.family == "measures")
        assert cls.needs <= {"proxies", "edges"} | {feature.name for feature in FEATURES} | set(CLIPS.names)
        assert cls.__doc__ and not cls.__doc__.startswith("Sees what was kept")

    def test_it_travels_to_a_worker_before_it_is_set_up(self, cls):
        assert pickle.loads(pickle.dumps(cls("models"))).models_dir == "models"

    def test_rows_come_back_in_order_and_every_null_is_explained(self, cls, score):
        made = score(cls, [pictures(1), (), (Picture(b"not a picture"),), pictures(2)])
        assert [row["clip_id"] for row in made] == ["clip0", "clip1", "clip2", "clip3"]
        for row in made:
            assert {name for name, _ in row["unmeasured"]} == {column.name for column in cls.columns if row[column.name] is None}
            assert all(reason for _, reason in row["unmeasured"])

    def test_a_clip_that_cannot_be_seen_has_no_number(self, cls, score):
        if with_features(cls.needs) & {"proxies", "edges"}:
            (row,) = score(cls, [()])
            assert all(row[column.name] is None for column in cls.columns)

    def test_a_number_does_not_depend_on_neighbours(self, cls, score):
        clips = [pictures(seed, 1 + seed % 3) for seed in range(5)]
        together = score(cls, clips)
        for number, clip in enumerate(clips):
            assert score(cls, [clip], rows(5).slice(number, 1)) == [together[number]]

    def test_numbers_are_stored_to_four_decimals(self, cls, score):
        if cls.family == "embeddings":
            return
        for row in score(cls, [pictures(3), pictures(4)]):
            for value in row.values():
                for number in value if isinstance(value, list) else [value]:
                    assert not isinstance(number, float) or number == round(number, DECIMALS)
