"""The embedded scorers, on pictures drawn here; and scoring a corpus, on clips laid into one."""

import hashlib

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curate import score as scoring
from curate.corpus import open_corpus
from curate.score import Score, ScoreError, score_corpus
from curate.scorers import PROFILES
from curate.scorers.base import ClipBatch, Picture, Unmeasured, columns, tabulate
from curate.scorers.statistics import grey_quantiles, quantiles
from curate.scorers.text import Text
from curate.stage import Worker
from curate.storage.views import SPANS
from schemas.clip import CAPTIONS, CLIPS, PROXIES, clip_id
from schemas.table import table_of


def scene(seed: int, height: int = 180, width: int = 320) -> np.ndarray:
    """A picture with soft ground, sharp shapes and some texture, uint8 RGB."""
    random = np.random.default_rng(seed)
    picture = cv2.resize(random.integers(40, 220, (4, 6, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(6):
        centre = int(random.integers(0, width)), int(random.integers(0, height))
        cv2.circle(picture, centre, int(random.integers(8, 40)), [int(part) for part in random.integers(0, 255, 3)], -1, cv2.LINE_AA)
    return picture


def jpeg(picture: np.ndarray, quality: int = 92) -> bytes:
    return cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def batch_of(*clips: list[np.ndarray], **features) -> ClipBatch:
    rows = pa.table({"clip_id": [f"clip{number}" for number in range(len(clips))]})
    return ClipBatch(rows, [[Picture(jpeg(picture)) for picture in clip] for clip in clips], features=features)


def run_here(rows, stages, listener=scoring.quiet):
    """The stages one after another in this process, in batches."""
    tables = [rows.slice(start, 3) for start in range(0, rows.num_rows, 3)]
    for stage in stages:
        worker = Worker(stage)
        tables = [made for table in tables for made in worker(table)]
    yield from tables


@pytest.fixture
def corpus(tmp_path):
    """Five clips of two sources, with two proxies each."""
    made = open_corpus(str(tmp_path / "corpus"), create=True)
    for source, numbers in (("s0", (0, 2, 4)), ("s1", (1, 3))):
        spans, proxies = [], []
        for number in numbers:
            clip = {"clip_id": clip_id(source, number * 10, number * 10 + 10), "source_id": source}
            spans.append({**clip, "media_type": "video", "start_s": number * 1.0, "end_s": number + 1.0, "overlay_evidence": 0.25 * number})
            frames = enumerate([scene(number), scene(number + 100)])
            proxies += [{**clip, "kind": "frame", "proxy_index": at, "image": jpeg(frame)} for at, frame in frames]
        made.commit(source, {"spans": table_of(spans, SPANS), "proxies": table_of(proxies, PROXIES)})
    return made


def test_a_null_is_explained_for_every_column():
    fields = columns("technical", "noise")

    def measure(index: int) -> dict[str, object]:
        if index == 0:
            raise Unmeasured("the clip has no proxies")
        return {"technical": float("nan"), "noise": 0.123456}

    made = tabulate(batch_of([scene(1)], [scene(2)]), fields, measure).to_pylist()
    assert dict(made[0]["unmeasured"]) == {"technical": "the clip has no proxies", "noise": "the clip has no proxies"}
    assert made[1]["noise"] == 0.1235 and made[1]["technical"] is None
    assert dict(made[1]["unmeasured"]) == {"technical": "no finite value"}


def test_a_fault_that_is_not_of_one_clip_stops_the_run():
    def measure(index: int) -> dict[str, object]:
        raise MemoryError

    with pytest.raises(MemoryError):
        tabulate(batch_of([scene(1)]), columns("technical"), measure)


def test_scoring_a_corpus_fills_every_column_or_says_why(corpus):
    report = score_corpus(corpus, "embedded", run_here)
    clips = corpus.table("clips").to_pylist()
    assert len(clips) == 5
    for clip in clips:
        reasons = dict(clip["unmeasured"])
        for cls in PROFILES["embedded"]:
            for column in cls.columns if cls.family == "measures" else ():
                if "caption" not in cls.needs:
                    assert clip[column.name] is not None or column.name == "watermark_box"
                    assert (clip[column.name] is None) == (column.name in reasons)
    assert set(report.scored.values()) == {5}
    assert "aesthetic" in corpus.makers() and corpus.makers()["aesthetic"].startswith("handcrafted@")


@pytest.mark.parametrize("size", [1, 2, 5, 24, 1001, 20000])
def test_quantiles_are_those_of_numpy(size):
    values, shares = np.random.default_rng(size).gamma(0.4, 20, size).astype(np.float32), (0.0, 0.02, 0.2, 0.5, 0.97, 1.0)
    assert quantiles(values, shares) == pytest.approx(np.quantile(values.astype(np.float64), shares), rel=1e-6)
    grey = values.clip(0, 255).astype(np.uint8)
    assert grey_quantiles(grey, shares) == pytest.approx(np.quantile(grey, shares), abs=1e-9)


def test_what_is_done_to_proxies_is_noted_under_the_scorers_identity(corpus):
    score_corpus(corpus, "embedded", run_here, only=["labels"])
    (identity,) = {corpus.makers()["labels"]}
    assert corpus.settings()["scorers"] == {identity: "central 224x224 of the shorter side at 256"}


def test_scoring_again_scores_nothing(corpus):
    score_corpus(corpus, "embedded", run_here, only=["handcrafted", "technical"])
    before = corpus.table("clips").to_pylist()
    assert score_corpus(corpus, "embedded", run_here, only=["handcrafted", "technical"]).scored == {}
    assert corpus.table("clips").to_pylist() == before


def test_a_crash_halfway_repeats_nothing_and_loses_nothing(corpus, monkeypatch):
    monkeypatch.setattr(scoring, "COMMIT_ROWS", 1)

    def breaks_after_one_batch(rows, stages, listener=scoring.quiet):
        yield next(iter(run_here(rows, stages)))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_corpus(corpus, "embedded", breaks_after_one_batch, only="technical")
    ((identity, scored),) = score_corpus(corpus, "embedded", run_here, only="technical").scored.items()
    assert identity.startswith("technical@") and scored == 2
    assert corpus.read(f"measures/{identity}").num_rows == 5


def test_a_changed_caption_is_judged_again(corpus):
    rows = [row["clip_id"] for row in corpus.table("clips", columns=["clip_id"]).to_pylist()]

    def say(captioner: str, words: str) -> None:
        made = [{"clip_id": clip, "captioner": captioner, "text": f"{words} {number}", "start_s": 0.0, "end_s": 1.0} for number, clip in enumerate(rows)]
        corpus.append("captions", table_of(made, CAPTIONS), hashlib.sha256(captioner.encode()).hexdigest())

    identity = PROFILES["embedded"][-1].identity()
    assert score_corpus(corpus, "embedded", run_here, only="conse").scored == {}
    say("describe@1", "a dark shot of a castle")
    assert score_corpus(corpus, "embedded", run_here, only="conse").scored == {identity: 5}
    assert score_corpus(corpus, "embedded", run_here, only="conse").scored == {}
    first = corpus.table("clips")["alignment"].to_pylist()
    say("metadata@1", "a sailing boat on a lake")
    assert score_corpus(corpus, "embedded", run_here, only="conse").scored == {identity: 5}
    clips = corpus.table("clips")
    assert clips.num_rows == 5 and clips["alignment"].to_pylist() != first and None not in clips["alignment"].to_pylist()


def test_an_unknown_profile_or_scorer_is_refused_with_what_there_is(corpus):
    with pytest.raises(ScoreError, match="embedded"):
        score_corpus(corpus, "best", run_here)
    with pytest.raises(ScoreError, match="handcrafted"):
        score_corpus(corpus, "embedded", run_here, only="aesthetic")


def test_a_score_does_not_depend_on_its_neighbours(corpus):
    rows = corpus.table("clips", columns=["clip_id", "overlay_evidence"])
    worker = Worker(Score(corpus.url, tuple(cls.name for cls in PROFILES["embedded"] if "caption" not in cls.needs), "embedded"))
    (together,) = worker(rows)
    alone = [made for number in range(rows.num_rows) for made in worker(rows.slice(number, 1))]
    assert together.to_pylist() == pa.concat_tables(alone).to_pylist()


def test_a_box_too_tall_for_a_line_is_not_read():
    reader = Text()
    reader.setup()
    recognised = []
    picture = written(("Hello",))
    (line,) = reader.read(picture)
    recogniser = reader._reader._engine.text_rec
    reader._reader._engine.text_rec = lambda asked: (recognised.append(len(asked.img)), recogniser(asked))[1]
    found = reader._reader._engine.text_det(picture)
    assert line.words == "Hello" and len(found.boxes) == 1
    reader._reader._engine.text_det._tallest = 0.01
    assert reader.read(picture) == [] and recognised == []


def test_a_line_is_read_the_same_beside_a_longer_one():
    from rapidocr.ch_ppocr_rec import TextRecInput

    reader = Text()
    reader.setup()
    reader.read(written(("The end",)))
    short, long = written(("The end of it",))[40:70, :130], written(("directed by somebody whose name is very long",))[40:70, :480]
    alone, beside = (reader._reader._engine.text_rec(TextRecInput(img=lines)) for lines in ([short], [short, long]))
    assert (alone.txts[0], alone.scores[0]) == (beside.txts[0], beside.scores[0]) and beside.txts[1].startswith("directed by")


def written(lines: tuple[str, ...]) -> np.ndarray:
    """Lines of white text one under another on a plain ground, uint8 RGB."""
    picture = np.full((288, 512, 3), 60, np.uint8)
    for number, line in enumerate(lines):
        cv2.putText(picture, line, (10, 60 + 120 * number), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 2, cv2.LINE_AA)
    return picture


def test_two_scorers_of_a_profile_never_write_one_column():
    for profile in PROFILES.values():
        names = [column.name for cls in profile if cls.family == "measures" for column in cls.columns]
        assert len(names) == len(set(names)) and set(names) <= set(CLIPS.names)
