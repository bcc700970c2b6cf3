"""Searching kept vectors: by text and by clip, ranked, in bounded memory, and never across models."""

import json

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from curate import search as searching
from curate.corpus import CorpusError, open_corpus
from curate.embedding.clip_tower import clip_tower
from curate.embedding.parts import POOLED_WIDTH
from curate.embedding.queries import _classifier
from curate.scorers.embeddings import ClipEmbedding, EfficientNetEmbedding
from curate.scorers.labels import label_names
from curate.search import search
from curate.storage.relations import RELATIONS
from pipelines.cli import app
from schemas.clip import clip_id
from schemas.table import table_of


def made_corpus(folder, maker: str, vectors: dict[str, np.ndarray | None]):
    """A corpus with one clip of each source, named by its letter, and that clip's vector."""
    made = open_corpus(str(folder / "corpus"), create=True)
    for number, (name, vector) in enumerate(vectors.items()):
        span = {"clip_id": clip_id(name, 0, 50), "source_id": name, "media_type": "video", "start_s": 1.0 * number, "end_s": 2.0 + number}
        made.append("added", table_of([{"source_id": name, "uri": f"films/{name}.mp4", "status": "ok"}], RELATIONS["added"]), name)
        reading = table_of([{"source_id": name, "status": "ok", "duration_s": 2.0}], RELATIONS["readings"])
        made.commit(name, {"spans": table_of([span], RELATIONS["spans"]), "readings": reading})
        width = next(len(each) for each in vectors.values() if each is not None)
        column = pa.array([None if vector is None else vector.astype(np.float16)], pa.list_(pa.float16(), width))
        made.append(f"embeddings/{maker}", pa.table({"clip_id": [span["clip_id"]], "vector": column}), name)
    return made


def unit(vector) -> np.ndarray:
    return np.asarray(vector, np.float32) / np.linalg.norm(vector)


@pytest.fixture
def plane(tmp_path):
    """Four clips in a plane, ten, twenty and ninety degrees from the first; and one without a vector."""
    angles = {"sa": 0.0, "sb": 10.0, "sc": 20.0, "sd": 90.0}
    vectors = {name: np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle)), 0.0]) for name, angle in angles.items()}
    return made_corpus(tmp_path, "efficientnet@1-abc", {**vectors, "se": None})


def test_clips_like_another_come_nearest_first_and_without_itself(plane):
    found = search(plane, like=clip_id("sb", 0, 50), top=3)
    assert (found.maker, found.clips) == ("efficientnet@1-abc", 4)
    assert [hit.source_id for hit in found.hits] == ["sa", "sc", "sd"]
    assert [hit.score for hit in found.hits] == pytest.approx([0.985, 0.985, 0.174], abs=2e-3)
    assert (found.hits[1].uri, found.hits[1].start_s, found.hits[1].end_s) == ("films/sc.mp4", 2.0, 4.0)


def test_how_many_vectors_are_compared_at_once_changes_nothing(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    corpus = made_corpus(tmp_path, "efficientnet@1-abc", {f"s{number:02}": unit(random.normal(size=6)) for number in range(20)})
    corpus.gather()
    whole = search(corpus, like=clip_id("s03", 0, 50), top=7)
    monkeypatch.setattr(searching, "ROWS_AT_ONCE", 3)
    assert search(corpus, like=clip_id("s03", 0, 50), top=7) == whole
    vectors = {row["clip_id"]: np.array(row["vector"], np.float32) for row in corpus.read("embeddings/efficientnet@1-abc").to_pylist()}
    wanted = vectors.pop(clip_id("s03", 0, 50))
    assert [hit.clip_id for hit in whole.hits] == sorted(vectors, key=lambda each: -float(vectors[each] @ wanted))[:7]


def test_memory_holds_a_stretch_of_vectors_whatever_their_number(monkeypatch):
    shown = []

    def query(vectors):
        shown.append(len(vectors))
        return vectors[:, 0].astype(np.float64)

    def batches():
        for start in range(0, 40_000, 10_000):
            column = pa.FixedSizeListArray.from_arrays(pa.array((np.arange(start, start + 10_000) / 40_000).astype(np.float16)), 1)
            yield pa.table({"clip_id": [f"c{number}" for number in range(start, start + 10_000)], "vector": column})

    seen, best = searching._nearest(batches(), query, 5, without=None)
    assert seen == 40_000 and len(best) == 5 and max(shown) == searching.ROWS_AT_ONCE and best[0][0] == 1.0


def test_a_text_finds_what_clip_finds(tmp_path, small_models):
    tower = clip_tower(str(small_models))
    sentences = {"sa": "a photo of a castle", "sb": "boats in a harbour", "sc": "a dog"}
    vectors = {name: tower.embed_texts([text])[0] for name, text in sentences.items()}
    corpus = made_corpus(tmp_path, ClipEmbedding.identity(), vectors)
    found = search(corpus, text="boats in a harbour", models_dir=str(small_models))
    assert found.hits[0].source_id == "sb" and found.hits[0].score == pytest.approx(1.0, abs=1e-3)
    assert found.hits[1].score == pytest.approx(max(float(vectors["sb"] @ vectors[name]) for name in ("sa", "sc")), abs=2e-3)


def test_without_clip_a_text_finds_the_labels_it_names(tmp_path):
    matrix, _ = _classifier(None)
    assert matrix.shape == (1000, POOLED_WIDTH)
    things = {"sa": "golden retriever", "sb": "castle", "sc": "speedboat"}
    names = [name.lower() for name in label_names()]
    corpus = made_corpus(tmp_path, EfficientNetEmbedding.identity(), {source: unit(matrix[names.index(thing)]) for source, thing in things.items()})
    for text, source in (("a dog runs through the garden", "sa"), ("an old stone fortress", "sb"), ("a boat on the water", "sc")):
        assert search(corpus, text=text).hits[0].source_id == source


def test_vectors_of_another_model_are_not_compared_with_a_text(plane):
    with pytest.raises(CorpusError, match=r"efficientnet@1-abc.*do not compare.*clipmill measure --only efficientnet"):
        search(plane, text="a dog")


def test_what_is_missing_is_said_plainly(plane, tmp_path):
    with pytest.raises(CorpusError, match=r"no vector of a clip `s9-0-1`.*clipmill trace"):
        search(plane, like="s9-0-1")
    with pytest.raises(CorpusError, match="no vector of a clip"):
        search(plane, like=clip_id("se", 0, 50))
    with pytest.raises(CorpusError, match="no embeddings are kept; `clipmill measure`"):
        search(open_corpus(str(tmp_path / "empty"), create=True), text="a dog")
    with pytest.raises(CorpusError, match="no embeddings of clip_l14 are kept"):
        search(plane, text="a dog", network="clip_l14")


def test_the_verb_prints_a_table_or_json(plane):
    asked = ["search", "--corpus", plane.url, "--like", clip_id("sa", 0, 50), "--top", "2"]
    shown = CliRunner().invoke(app, asked)
    assert shown.exit_code == 0 and "2 of 4 clips, by efficientnet@1-abc" in shown.output and "films/sb.mp4" in shown.output
    told = json.loads(CliRunner().invoke(app, [*asked, "--json"]).output)
    assert [hit["source_id"] for hit in told["hits"]] == ["sb", "sc"] and told["clips"] == 4
    assert "either --text WORDS or --like CLIP_ID" in str(CliRunner().invoke(app, [*asked, "--text", "both"]).exception)
