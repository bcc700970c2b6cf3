"""Embeddings kept of clips: under a name of their own, once, of length one, and gone with their source."""

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curate.corpus import CorpusError, open_corpus
from curate.embedding.features import EfficientNet
from curate.embedding.parts import LOGITS, POOLED
from curate.embedding.stored import stored_vectors
from curate.engine import run_here
from curate.keeping.erase import erase_rows
from curate.score import score_corpus
from curate.scorers.base import ClipBatch, Picture
from curate.storage.views import SPANS
from schemas.clip import PROXIES, clip_id
from schemas.table import table_of


def scene(seed: int) -> np.ndarray:
    """Coloured discs on a soft ground, uint8 (180, 320, 3) RGB."""
    random = np.random.default_rng(seed)
    picture = cv2.resize(random.integers(40, 220, (4, 6, 3), np.uint8), (320, 180), interpolation=cv2.INTER_CUBIC)
    for _ in range(6):
        centre = int(random.integers(0, 320)), int(random.integers(0, 180))
        cv2.circle(picture, centre, int(random.integers(8, 40)), [int(part) for part in random.integers(0, 255, 3)], -1, cv2.LINE_AA)
    return picture


def jpeg(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture[:, :, ::-1])[1].tobytes()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Four clips of two sources; the second clip of each shows what its first does, a little darker; and a fifth whose proxy is broken."""
    made = open_corpus(str(tmp_path_factory.mktemp("kept") / "corpus"), create=True)
    for source, look in (("s0", 1), ("s1", 2)):
        spans, proxies = [], []
        for number, gain in enumerate((1.0, 0.8)):
            clip = {"clip_id": clip_id(source, number * 10, number * 10 + 10), "source_id": source}
            spans.append({**clip, "media_type": "video", "start_s": number * 1.0, "end_s": number + 1.0})
            proxies += [{**clip, "kind": "frame", "proxy_index": at, "image": jpeg((scene(look + 10 * at) * gain).astype(np.uint8))} for at in range(2)]
        if source == "s1":
            clip = {"clip_id": clip_id(source, 90, 99), "source_id": source}
            spans.append({**clip, "media_type": "video", "start_s": 9.0, "end_s": 9.9})
            proxies.append({**clip, "kind": "frame", "proxy_index": 0, "image": b"no picture"})
        made.commit(source, {"spans": table_of(spans, SPANS), "proxies": table_of(proxies, PROXIES)})
    score_corpus(made, "embedded", run_here, only=["labels", "efficientnet"])
    return made


def test_one_vector_of_length_one_is_kept_of_every_clip_that_can_be_seen(corpus):
    stored = stored_vectors(corpus)
    assert stored.name == "efficientnet" and f"embeddings/{stored.maker}" in corpus.names("embeddings/")
    assert len(stored.clip_ids) == 4 and stored.vectors.shape == (4, 1280) and stored.vectors.dtype == np.float16
    assert np.abs(np.linalg.norm(stored.vectors.astype(np.float32), axis=1) - 1).max() < 1e-3
    alike = stored.vectors.astype(np.float32) @ stored.vectors.astype(np.float32).T
    assert alike[0].argsort()[::-1][1] == 1 and alike[2].argsort()[::-1][1] == 3


def test_a_clip_that_cannot_be_seen_has_no_vector_and_a_reason(corpus):
    rows = {row["clip_id"]: row for row in corpus.read(f"embeddings/{stored_vectors(corpus).maker}").to_pylist()}
    broken = rows[clip_id("s1", 90, 99)]
    assert broken["vector"] is None and broken["unmeasured"] == [("vector", "a proxy is not a readable picture")]


def test_vectors_are_kept_once_and_clips_do_not_show_them(corpus):
    assert score_corpus(corpus, "embedded", run_here, only=["labels", "efficientnet"]).scored == {}
    assert "vector" not in corpus.table("clips").column_names and "vector" not in corpus.makers()


def test_the_pooled_features_are_what_the_logits_are_made_of():
    feature = EfficientNet()
    feature.setup()
    (seen,) = feature.compute(ClipBatch(pa.table({"clip_id": ["one"]}), [[Picture(jpeg(scene(seed))) for seed in (1, 2)]]))
    classifier = feature._network.classifier
    made = seen[:, POOLED] @ classifier.weight.detach().numpy().T + classifier.bias.detach().numpy()
    assert np.abs(made - seen[:, LOGITS]).max() < 1e-4


def test_the_vectors_of_clip_are_those_of_its_image_tower(small_models, tmp_path):
    corpus = open_corpus(str(tmp_path / "corpus"), create=True)
    clip = {"clip_id": clip_id("s0", 0, 10), "source_id": "s0"}
    pictures = [jpeg(scene(seed)) for seed in (1, 2)]
    proxies = [{**clip, "kind": "frame", "proxy_index": at, "image": image} for at, image in enumerate(pictures)]
    span = {**clip, "media_type": "video", "start_s": 0.0, "end_s": 1.0}
    corpus.commit("s0", {"spans": table_of([span], SPANS), "proxies": table_of(proxies, PROXIES)})
    score_corpus(corpus, "laion", run_here, only="clip_l14", models_dir=str(small_models))
    from curate.embedding.clip_tower import clip_tower

    tower = clip_tower(str(small_models))
    expected = tower.embed_prepared(np.stack([tower.prepare(Picture(image).pixels) for image in pictures])).mean(axis=0)
    assert np.abs(stored_vectors(corpus, "clip_l14").vectors[0] - expected / np.linalg.norm(expected)).max() < 1e-3


def test_a_corpus_without_vectors_says_how_they_come_about(tmp_path):
    with pytest.raises(CorpusError, match="clipmill measure"):
        stored_vectors(open_corpus(str(tmp_path / "empty"), create=True))


def test_a_source_taken_down_leaves_no_vector(corpus):
    erase_rows(corpus, "s0")
    assert {each.split("-")[0] for each in stored_vectors(corpus).clip_ids} == {"s1"}
