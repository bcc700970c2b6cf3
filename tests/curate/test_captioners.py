"""Captioners that need no model, the checks every caption goes through, and captioning a corpus."""

import re
import unicodedata

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.caption import caption_corpus
from curate.captioners.base import Caption, Captioner, cleaned
from curate.captioners.check import problem_of
from curate.captioners.colours import colours
from curate.captioners.describe import Describe, described
from curate.captioners.metadata import Metadata, told
from curate.corpus import open_corpus
from curate.engine import run_here
from curate.scorers.base import ClipBatch, Picture
from curate.storage.views import SPANS
from schemas.clip import PROXIES, clip_id
from schemas.source import SOURCES
from schemas.table import table_of


def picture(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((36, 64, 3), colour, np.uint8)


def jpeg(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", pixels[:, :, ::-1])[1].tobytes()


@pytest.fixture
def corpus(tmp_path):
    """Two clips: one of a source with a title, one of a source without."""
    made = open_corpus(str(tmp_path / "corpus"), create=True)
    added = [{"source_id": "s0", "status": "ok", "title": "Harbour at dawn", "tags": ["boats"]}, {"source_id": "s1", "status": "ok", "title": "", "tags": []}]
    made.append("added", table_of(added, pa.schema([SOURCES.field(name) for name in ("source_id", "status", "title", "description", "tags")])), "added")
    for number, source in enumerate(("s0", "s1")):
        clip = {"clip_id": clip_id(source, 0, 50), "source_id": source}
        span = {**clip, "media_type": "video", "start_s": 0.0, "end_s": 2.0, "brightness": 0.1, "motion": 0.5, "camera_motion": 0.4, "pan": 0.4}
        proxy = {**clip, "kind": "frame", "proxy_index": 0, "image": jpeg(picture((200, 30, 30) if number else (30, 30, 200)))}
        made.commit(source, {"spans": table_of([span], SPANS), "proxies": table_of([proxy], PROXIES)})
    return made


def test_the_owner_comes_first_and_the_rest_is_described(corpus):
    report = caption_corpus(corpus, None, "embedded", run_here)
    clips = corpus.table("clips").to_pylist()
    assert clips[0]["caption"] == "Harbour at dawn." and clips[0]["captioner"] == "metadata@1"
    assert clips[1]["caption"].startswith("A dark shot in red tones") and clips[1]["captioner"].startswith("describe@")
    assert all(clip["alignment"] is not None for clip in clips)
    assert report.written == {"metadata@1": 1, Describe().identity(): 2} and report.problems == {"nothing to say": 1}


def test_captioning_again_writes_nothing(corpus):
    caption_corpus(corpus, None, "embedded", run_here)
    before = corpus.table("captions").to_pylist()
    assert caption_corpus(corpus, None, "embedded", run_here).written == {}
    assert corpus.table("captions").to_pylist() == before


class Windows(Captioner):
    """Two halves of a clip, the second a refusal."""

    name, version, needs = "vlm", "1", frozenset()

    def write(self, batch: ClipBatch) -> list[list[Caption]]:
        refused = "I'm sorry, I cannot describe this."
        return [
            [Caption("a boat leaves the harbour", "Say.", 0.0, 1.0), Caption(refused, "Say.", 1.0, 2.0, problem=problem_of(refused))] for _ in range(len(batch))
        ]


def test_a_clip_may_have_several_captions_and_a_refusal_is_kept_but_never_shown(corpus):
    caption_corpus(corpus, [Describe(), Windows()], "embedded", run_here)
    captions = corpus.table("captions").to_pylist()
    assert [row["problem"] for row in captions if row["captioner"] == "vlm@1"] == [None, "a refusal"] * 2
    assert [(row["start_s"], row["end_s"]) for row in captions if row["captioner"] == "vlm@1"][:2] == [(0.0, 1.0), (1.0, 2.0)]
    assert set(corpus.table("clips")["caption"].to_pylist()) == {"a boat leaves the harbour"}


@pytest.mark.parametrize(
    ("given_text", "wanted"),
    [
        ("<b>Boats</b> &amp; piers<script>alert(1)</script>", "Boats & piers alert(1)"),
        ("two\nlines\twith\x00 controls\x1b[31m", "two lines with controls [31m"),
        ("see https://example.org/x?y=1 or write me@example.org now", "see or write now"),
        ("left‮right​ joined", "left right joined"),
        ("&lt;img src=x onerror=alert(1)&gt; harbour", "harbour"),
        ("../../etc/passwd", "../../etc/passwd"),
        (None, ""),
    ],
)
def test_text_from_outside_becomes_one_plain_line(given_text, wanted):
    assert cleaned(given_text) == wanted


@given(st.text(max_size=3000))
def test_cleaned_text_holds_no_markup_no_controls_and_stays_clean(text):
    once = cleaned(text)
    assert "<" not in once and ">" not in once and len(once) <= 1000
    assert not any(unicodedata.category(letter)[0] == "C" for letter in once)
    assert cleaned(once) == once or "&" in once or "@" in once


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a boat leaves the harbour", None),
        ("Two words", "too short"),
        ("boat " * 10, "repetition"),
        ("the cat sat on the cat sat on the cat sat", "repetition"),
        ("I'm sorry, but I cannot see the video.", "a refusal"),
        ("As an AI language model I describe boats", "a refusal"),
        ("word " * 90 + "and more " * 90, "too long"),
        ("船が港を出る 夜明け 前に", "not in a Latin script"),
        ("12 34 56 78 ok", "mostly not letters"),
        ("Un bateau quitte le port dans la brume de l'aube", "not English: reads as French"),
        ("Ein Boot verlässt den Hafen und der Himmel ist rot", "not English: reads as German"),
        ("Un barco sale del puerto con las velas y el sol", "not English: reads as Spanish"),
        ("O barco sai do porto com uma vela", "not English: reads as Portuguese"),
        ("A waiter in the café La Vie en Rose carries el Greco's portrait", None),
        ("Boat leaving harbour, sunrise, aerial", None),
    ],
)
def test_an_unfit_caption_is_told_from_a_fit_one(text, problem):
    found = problem_of(text)
    assert found is None if problem is None else found is not None and found.startswith(problem)


def test_metadata_puts_the_title_before_the_description_once():
    row = {"title": "Harbour at dawn", "description": "Boats leave. A gull watches.", "tags": ["sea"]}
    assert told(row) == "Harbour at dawn. Boats leave. A gull watches."
    assert told({**row, "description": "Harbour at dawn, seen from the pier"}) == "Harbour at dawn, seen from the pier."
    assert told({"title": None, "description": None, "tags": ["sea", "boats", "<i>gulls</i>"]}) == "sea, boats, gulls"
    assert len(told({"title": "word " * 200}).split()) == 60
    assert Metadata().write(ClipBatch(pa.table({"clip_id": ["c"], "title": pa.array([None], pa.string())}), [()])) == [[]]


def test_colours_are_named_only_when_they_stand_out():
    grey, red, green, blue = (picture(colour) for colour in ((128, 128, 128), (210, 30, 30), (30, 180, 30), (30, 30, 210)))
    assert colours([blue]) == "blue"
    assert colours([grey]) == "black-and-white"
    assert colours([red, green]) == "green and red"
    assert colours([np.concatenate([grey] * 9 + [red])]) == "muted"
    assert colours([red, green, blue, picture((210, 190, 20))]) == "many"


def test_a_sentence_follows_the_camera_and_is_unsure_where_labels_are():
    row = {"labels": ["castle"], "label_confidences": [0.6], "motion": 0.8, "camera_motion": 0.7, "pan": -0.7, "subject_motion": 0.02, "brightness": 0.8}
    told_of = described(row, "blue")
    assert told_of == "A bright shot of what seems to be a castle in blue tones, with the camera panning left and with little movement."
    assert described({**row, "label_confidences": [0.9]}, None).startswith("A bright shot of a castle, with the camera")
    assert described({**row, "texts": ['Say "hi"', "<b>now</b>"], "text_kind": "subtitle"}, None).endswith("Subtitles read \"Say 'hi' / now\".")
    assert described({"media_type": "image", "labels": ["orange"], "label_confidences": [0.9]}, "orange") == "A picture of an orange in orange tones."


@pytest.mark.parametrize(
    ("measures", "said"),
    [
        ({"pan": 0.3}, "with the camera panning slowly right"),
        ({"tilt": -1.0}, "with the camera tilting up"),
        ({"zoom": 0.8}, "with the camera moving in"),
        ({"shake": 2.0, "pan": 0.5}, "filmed with a shaky camera"),
        ({"camera_motion": 0.0}, "filmed with a still camera"),
        ({"freeze_share": 1.0}, "in which nothing moves"),
        ({"subject_motion": 3.0}, "with a lot of movement"),
        ({"subject_motion": 0.5}, "with some movement"),
    ],
)
def test_movement_is_put_into_words(measures, said):
    row = {"motion": 0.5, "camera_motion": 0.5, "subject_motion": 0.3, "pan": 0.0, "tilt": 0.0, "zoom": 0.0, "shake": 0.0, "freeze_share": 0.0, **measures}
    assert said in described(row, None)


MEASURES = {
    "labels": st.one_of(st.none(), st.just([]), st.just(["castle"]), st.just(["albatross", "lake"])),
    "label_confidences": st.just([0.8, 0.55]),
    **{name: st.one_of(st.none(), st.floats(-5, 5)) for name in ("motion", "camera_motion", "subject_motion", "pan", "tilt", "zoom", "shake")},
    **{name: st.one_of(st.none(), st.floats(0, 1)) for name in ("slideshow", "freeze_share", "brightness")},
    "text_kind": st.sampled_from([None, "none", "subtitle", "scene"]),
    "texts": st.one_of(st.none(), st.lists(st.text(max_size=40), max_size=3)),
    "media_type": st.sampled_from(["video", "image"]),
}


@given(st.fixed_dictionaries(MEASURES), st.sampled_from([None, "blue", "black-and-white", "red and green", "muted", "many"]))
def test_a_description_is_a_sentence_and_claims_nothing_unmeasured(row, colour):
    said = described(row, colour)
    assert re.match(r"An? [a-z]", said) and said[-1] in ".!?" and "  " not in said
    opening = said.split(". ")[0]
    assert ("castle" in opening or "albatross" in opening) == bool(row["labels"])
    if row["camera_motion"] is None:
        assert "camera" not in opening
    if row["motion"] is None:
        assert "movement" not in opening and "moves" not in opening
    if row["brightness"] is None:
        assert "dark" not in opening and "bright" not in opening
    if not row["texts"]:
        assert '"' not in said


def test_a_clip_without_pictures_is_described_without_colours():
    rows = pa.table({"clip_id": ["c"], "media_type": ["video"]})
    ((caption,),) = Describe().write(ClipBatch(rows, [(Picture(b"not a picture"),)]))
    assert caption.text == "A shot."
