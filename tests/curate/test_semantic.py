"""Alike clips: clusters by cosine to their best clip, written apart from copies, removed by a recipe that asks for it, and gone with their source."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from curate.copies.semantic import find_alike
from curate.corpus import CorpusError, open_corpus
from curate.keeping.erase import erase_rows
from curate.select import explain, select
from curate.storage.relations import RELATIONS
from schemas.clip import clip_id
from schemas.recipe import Recipe
from schemas.table import table_of

ANGLES = {"sa": 0.0, "sb": 10.0, "sc": 20.0, "sd": 90.0}
"""Degrees at which the vectors of the sources' clips lie: neighbours have a cosine of .985, the first and the third of .94."""


@pytest.fixture
def corpus(tmp_path):
    """Four clips, the first the largest, with vectors in a plane; and a fifth without one."""
    made = open_corpus(str(tmp_path / "corpus"), create=True)
    for number, name in enumerate((*ANGLES, "se")):
        span = {"clip_id": clip_id(name, 0, 50), "source_id": name, "media_type": "video", "shot_index": 0, "start_s": 0.0, "end_s": 2.0}
        span |= {"start_frame": 0, "end_frame": 50, "width": 640 - number, "height": 360}
        made.append("added", table_of([{"source_id": name, "uri": name, "status": "ok"}], RELATIONS["added"]), name)
        reading = table_of([{"source_id": name, "status": "ok", "duration_s": 2.0}], RELATIONS["readings"])
        made.commit(name, {"spans": table_of([span], RELATIONS["spans"]), "readings": reading})
        vector = [np.cos(np.radians(ANGLES[name])), np.sin(np.radians(ANGLES[name])), 0.0] if name in ANGLES else None
        column = pa.array([vector], pa.list_(pa.float16(), 3))
        made.append("embeddings/efficientnet@1-abc", pa.table({"clip_id": [span["clip_id"]], "vector": column}), name)
    return made


def clusters(corpus):
    rows = corpus.table("clips", columns=["source_id", "semantic_cluster", "semantic_similarity", "duplicate_of"]).to_pylist()
    return {row["source_id"]: (row["semantic_cluster"] and row["semantic_cluster"][:2], row["semantic_similarity"]) for row in rows}


def test_a_clip_is_alike_to_its_clusters_best_and_never_by_way_of_another(corpus):
    report = find_alike(corpus, 0.98)
    assert clusters(corpus) == {"sa": ("sa", 1.0), "sb": ("sa", pytest.approx(0.985, abs=1e-3)), "sc": ("sc", 1.0), "sd": ("sd", 1.0), "se": (None, None)}
    assert (report.clips, report.alike, report.clusters) == (4, 1, 1)
    find_alike(corpus, 0.9)
    assert clusters(corpus)["sc"] == ("sa", pytest.approx(0.94, abs=1e-3))
    assert not corpus.names("duplicates")


def test_only_a_recipe_removes_what_is_alike_and_may_be_stricter_than_the_clusters(corpus):
    find_alike(corpus, 0.9)
    kept = {}
    for least in (None, 0.98, 0.9):
        recipe = Recipe(name="r", duplicates={"semantic": least})
        select(corpus, recipe)
        kept[least] = {name[:2] for name in corpus.read("selections/r")["clip_id"].to_pylist()}
    assert kept == {None: {"sa", "sb", "sc", "sd", "se"}, 0.98: {"sa", "sc", "sd", "se"}, 0.9: {"sa", "sd", "se"}}
    told = explain(corpus, Recipe(name="r", duplicates={"semantic": 0.9}), clip_id("sb", 0, 50), on=date(2026, 1, 1))
    assert (told[-1].rule, told[-1].detail) == ("semantic", f"alike to {clip_id('sa', 0, 50)}, which is kept")


def test_where_the_best_is_rejected_the_next_one_stands_for_the_cluster(corpus):
    find_alike(corpus, 0.9)
    select(corpus, Recipe(name="r", keep={"width": {"max": 639}}, duplicates={"semantic": 0.9}))
    assert {name[:2] for name in corpus.read("selections/r")["clip_id"].to_pylist()} == {"sb", "sd", "se"}


def test_many_vectors_are_found_in_cells_and_compared_as_they_are(corpus, monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr("curate.copies.cells.ONE_CELL_UP_TO", 1)
    vectors = rng.normal(size=(600, 80)).astype(np.float32)
    vectors[300:] = vectors[:300] + 0.02 * rng.normal(size=(300, 80))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [clip_id(f"t{number:03d}", 0, 50) for number in range(600)]
    spans = [{"clip_id": name, "source_id": name[:4], "media_type": "video", "start_s": 0.0, "end_s": 1.0, "width": 64, "height": 36} for name in names]
    corpus.append("spans", table_of(spans, RELATIONS["spans"]), "many")
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float16).ravel()), 80)
    corpus.append("embeddings/clip_l14@1-abc", pa.table({"clip_id": names, "vector": column}), "many")
    assert find_alike(corpus, 0.95).alike >= 294


def test_a_takedown_leaves_no_trace_of_a_best_clip(corpus):
    find_alike(corpus, 0.9)
    erase_rows(corpus, "sa")
    rows = corpus.read("semantic").to_pylist()
    assert {row["clip_id"][:2]: row["semantic_of"] for row in rows} == {"sb": None, "sc": None, "sd": None}
    assert all(row["semantic_cluster"] == row["clip_id"] for row in rows)


def test_without_vectors_the_message_says_how_to_make_some(tmp_path):
    with pytest.raises(CorpusError, match="clipmill measure"):
        find_alike(open_corpus(str(tmp_path), create=True), 0.9)
