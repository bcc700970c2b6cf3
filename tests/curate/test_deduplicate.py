"""Deduplicating: copies come together whatever was done to them, look-alikes do not, and nothing comes together by way of a third."""

import hashlib
import json

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curate.copies.cells import laid_in
from curate.copies.compare import same_footage
from curate.copies.fingerprint import CROPS, MIRROR, Still, descriptors, footage, miniature, still
from curate.copies.glance import alike
from curate.copies.neighbours import all_near_pairs
from curate.copies.placement import overlaid, place, roughly
from curate.copies.rank import Kinship, best_first
from curate.copies.search import NEAR, views, whole
from curate.copies.tones import even, toned
from curate.corpus import open_corpus
from curate.deduplicate import deduplicate
from curate.engine import run_here
from curate.storage.views import RELATIONS
from schemas.clip import CLIPS, clip_id
from schemas.table import table_of

TIMES = (0.6, 1.9, 3.1, 4.4)


def scene(seed, detail=40):
    """A luma picture of blobs (180, 320), another for each seed."""
    generator = np.random.default_rng(seed)
    picture = cv2.resize(generator.uniform(0, 255, (9, 16)).astype(np.float32), (320, 180), interpolation=cv2.INTER_CUBIC)
    for _ in range(detail):
        x, y, radius, level = generator.integers(0, [320, 180, 25, 255])
        cv2.circle(picture, (int(x), int(y)), int(radius) + 3, float(level), -1)
    return np.clip(picture, 0, 255)


def moving(seed, times=TIMES, shift=9.0):
    """A clip: the scene under a camera that pans by `shift` pixels a second, at these times."""
    wide = np.hstack([scene(seed), scene(seed + 1000)])
    return [wide[:, round(shift * time) : round(shift * time) + 320] for time in times]


def watermarked(picture):
    return cv2.putText(picture.astype(np.uint8), "CLIP", (210, 165), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 3)


def letterboxed(picture):
    return cv2.copyMakeBorder(picture, 30, 30, 0, 0, cv2.BORDER_CONSTANT, value=0)


EDITS = {
    "scaled": lambda picture: cv2.resize(picture, (192, 108), interpolation=cv2.INTER_AREA),
    "cropped": lambda picture: picture[9:171, 16:304],
    "cropped by 15 % off centre": lambda picture: picture[0:153, 40:312],
    "graded": lambda picture: 255 * (picture / 255) ** 0.7 * 0.8 + 20,
    "watermarked": watermarked,
    "marked in white": lambda picture: cv2.rectangle(picture.astype(np.float32).copy(), (230, 10), (300, 32), 250.0, -1),
    "darkened until blacks are gone": lambda picture: np.clip(255 * (picture / 255) ** 1.4 - 38, 0, 255),
    "noisy": lambda picture: picture + np.random.default_rng(5).normal(0, 8, picture.shape),
    "letterboxed": letterboxed,
}


def stills(pictures, times=TIMES, box=None):
    made = [still(cv2.imencode(".jpg", np.clip(picture, 0, 255).astype(np.uint8))[1].tobytes(), time, box) for picture, time in zip(pictures, times)]
    return [one for one in made if one is not None]


def clip_of(pictures, times=TIMES, box=None, length_s=5.0):
    return footage(length_s, stills(pictures, times, box))


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_copy_is_the_same_footage(edit):
    box = [0.0, 30 / 240, 1.0, 210 / 240] if edit == "letterboxed" else None
    assert same_footage(clip_of(moving(1)), clip_of([EDITS[edit](picture) for picture in moving(1)], box=box)) > 0.96


def test_a_mirrored_copy_is_one_only_when_asked_for():
    original, mirrored = clip_of(moving(2)), clip_of([np.ascontiguousarray(picture[:, ::-1]) for picture in moving(2)])
    assert same_footage(original, mirrored, mirror=True) > 0.96 and same_footage(original, mirrored) == 0


def test_a_part_of_a_clip_is_a_copy_and_a_neighbouring_part_is_not():
    whole, middle = clip_of(moving(3)), clip_of(moving(3, (1.4, 1.9, 2.6, 3.1)), (0.4, 0.9, 1.6, 2.1), length_s=2.5)
    assert same_footage(whole, middle) > 0.96
    later = clip_of(moving(3, (4.45, 5.8, 7.0, 8.3)), (0.05, 1.4, 2.6, 3.9))
    assert same_footage(whole, later) == 0


def test_a_faster_copy_is_a_copy():
    assert same_footage(clip_of(moving(4)), clip_of(moving(4), tuple(time / 1.25 for time in TIMES), length_s=4.0)) > 0.96


def test_another_object_before_the_same_background_is_no_copy():
    background = scene(5)
    object_, other = (cv2.resize(scene(seed, 80), (90, 110)) for seed in (6, 7))
    pictures = [[np.copy(background) for _ in TIMES] for _ in range(2)]
    for frames, shown in zip(pictures, (object_, other)):
        for frame in frames:
            frame[40:150, 120:210] = shown
    assert same_footage(clip_of(pictures[0]), clip_of(pictures[1])) == 0


def test_one_moment_alike_does_not_make_up_for_moments_that_differ():
    """A fixed camera on an empty room: both clips begin empty, and then other people come in."""
    room = scene(8)
    visits = []
    for seed in (9, 10):
        visited = room.copy()
        visited[30:170, 60:180] = cv2.resize(scene(seed, 80), (120, 140))
        visits.append(clip_of([room, visited, visited, visited]))
    assert same_footage(*visits) == 0


def gesture(raised_at, changes=True):
    """A person in a room, whose hand is up in some pictures; where something changes, the room's door stands open in the second half."""
    room, hand, door = scene(8), cv2.resize(scene(9, 80), (150, 170)), cv2.resize(scene(10, 80), (160, 175))
    pictures = [room.copy() for _ in TIMES]
    for number, picture in enumerate(pictures):
        if changes and number >= 2:
            picture[:175, :160] = door
        if number in raised_at:
            picture[5:175, 165:315] = hand
    return pictures


BETWEEN = (TIMES[0], 1.5, *TIMES[2:])


def test_what_happens_between_two_moments_contradicts_nothing_where_both_show_the_same_change():
    """The hand went up and down again between two pictures of one, and the other has a picture of it."""
    assert same_footage(clip_of(gesture(())), clip_of(gesture({1}), BETWEEN)) > 0.96
    assert same_footage(clip_of(gesture({1}), BETWEEN), clip_of(gesture(()))) > 0.96


def test_a_fixed_camera_that_saw_something_in_between_is_no_copy_of_one_that_did_not():
    assert same_footage(clip_of(gesture((), changes=False)), clip_of(gesture({1, 2}, changes=False), (TIMES[0], 1.5, 3.5, TIMES[3]))) == 0


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_of_nothing_is_evidence_of_nothing(level):
    assert stills([np.full((180, 320), level)] * 4) == []
    assert same_footage(clip_of([np.full((180, 320), level)] * 4), clip_of([np.full((180, 320), level)] * 4)) == 0


def fields(seed, column, slant):
    """A luma picture (180, 320) of two plain fields with an edge between them, and noise of its own."""
    generator, picture = np.random.default_rng(seed), np.full((180, 320), 190.0, np.float32)
    cv2.fillPoly(picture, [np.array([[0, 0], [column + slant, 0], [column - slant, 180], [0, 180]])], 60.0)
    return picture + cv2.GaussianBlur(generator.normal(0, 4, picture.shape), (0, 0), 1.0)


@pytest.mark.parametrize("slant", [0, 30])
def test_an_edge_between_plain_fields_is_evidence_of_too_little(slant):
    """A door frame lies well over the edge of a table; parts of real frames did so in 9 of a million pairs."""
    one, other = (clip_of([fields(seed, column, slant)] * 4) for seed, column in ((1, 150), (2, 158)))
    assert same_footage(one, other) == 0


def test_what_has_nothing_to_do_with_a_fixed_cameras_picture_is_not_held_against_its_others(monkeypatch):
    laid = []
    monkeypatch.setattr("curate.copies.compare.roughly", lambda *asked: laid.append(asked) or roughly(*asked))
    assert same_footage(clip_of([scene(20)] * 4), clip_of([scene(21)] * 4)) == 0 and len(laid) == 1
    assert same_footage(clip_of(moving(22, shift=60)), clip_of(moving(23, shift=60))) == 0 and len(laid) > 4


def test_tones_come_back_whatever_curve_was_laid_over_them_and_a_mark_does_not_bend_them():
    picture = cv2.resize(scene(24), (128, 72), interpolation=cv2.INTER_AREA)
    graded = 255 * (picture / 255) ** 0.6 * 0.7 + 30
    graded[:20, 90:] = 255
    apart = toned(even(picture), even(graded)).differences()
    assert (apart > 0.6).sum() <= 9 and np.quantile(apart, 0.85) < 0.15


def test_what_does_not_decode_is_left_out():
    assert still(b"not a picture", 0.0, None) is None and still(b"", 0.0, [0.5, 0.5, 0.5, 0.5]) is None


def test_a_placement_is_found_to_a_fraction_of_a_pixel():
    picture = cv2.GaussianBlur(scene(11), (0, 0), 1.5).astype(np.float32)
    into = np.array([[1.13, 0, -17.4], [0, 1.13, -6.7]], np.float32)
    inner = cv2.warpAffine(picture, into, (320, 180))
    small = [Still(0.0, cv2.resize(one, (128, 72), interpolation=cv2.INTER_AREA)) for one in (picture, inner)]
    rough = roughly(*small, (False,))
    assert rough.placement.agreement > 0.95
    found = place(*small, rough)
    assert found.matrix[0, 0] == pytest.approx(1 / 1.13, abs=0.01) and found.matrix[0, 2] == pytest.approx(17.4 / 1.13 * 0.4, abs=0.5)
    part, other = overlaid(*small, found)
    assert part.size > 0.7 * small[0].luma.size and np.corrcoef(part.ravel(), other.ravel())[0, 1] > 0.995


def test_a_descriptor_of_a_mirrored_picture_is_the_mirrored_descriptor():
    picture = miniature(scene(12))
    assert descriptors(picture[None, :, ::-1])[0] == pytest.approx(descriptors(picture[None])[0] * MIRROR, abs=1e-3)


def glanced(first, second, mirrored=False):
    """Whether some picture of one clip passes a glance beside one of the other, either being the part."""
    ones, others = (np.stack([miniature(one.luma) for one in clip.stills]) for clip in (first, second))
    pairs = np.array([(i, j) for i in range(len(ones)) for j in range(len(others))])
    flags = np.full(len(pairs), mirrored)
    return bool(alike(ones, pairs[:, 0], others[pairs[:, 1]], flags).any() or alike(others, pairs[:, 1], ones[pairs[:, 0]], flags).any())


@pytest.mark.parametrize("seed", [1, 13, 14])
@pytest.mark.parametrize("edit", EDITS)
def test_a_glance_passes_whatever_turns_out_to_be_a_copy(edit, seed):
    box = [0.0, 30 / 240, 1.0, 210 / 240] if edit == "letterboxed" else None
    original, copy = clip_of(moving(seed)), clip_of([EDITS[edit](picture) for picture in moving(seed)], box=box)
    assert same_footage(original, copy) > 0 and glanced(original, copy)


def test_a_glance_passes_a_mirrored_copy_only_when_told_that_it_is_mirrored():
    original, mirrored = clip_of(moving(2)), clip_of([np.ascontiguousarray(picture[:, ::-1]) for picture in moving(2)])
    assert glanced(original, mirrored, mirrored=True) and not glanced(original, mirrored)


def test_a_glance_turns_strangers_away():
    pictures = np.stack([miniature(scene(seed)) for seed in range(100)])
    first, second = np.array([(i, j) for i in range(100) for j in range(100) if i != j]).T
    assert not alike(pictures, first, pictures[second], np.zeros(len(first), bool)).any()


def given(miniatures):
    """A source that gives miniatures in two batches, each of a clip of its own."""
    owners = np.arange(len(miniatures))
    return lambda: iter([(miniatures[half], owners[half]) for half in (slice(0, 150), slice(150, None))])


def test_near_pairs_are_found_both_exactly_and_in_cells(tmp_path, monkeypatch):
    pictures = [scene(seed) for seed in range(400)] + [EDITS["cropped"](scene(seed)) for seed in range(20)]
    source, wanted = given(np.stack([miniature(picture) for picture in pictures])), {(seed, 400 + seed) for seed in range(20)}

    def found(folder):
        folder.mkdir()
        return {tuple(pair) for pair in all_near_pairs(source, whole, NEAR, views(False), folder).tolist()}

    assert wanted <= found(tmp_path / "one")
    for name, value in {"ONE_CELL_UP_TO": 100, "PER_CELL": 8, "LEARNT_OF": 2}.items():
        monkeypatch.setattr(f"curate.copies.cells.{name}", value)
    assert len(wanted & found(tmp_path / "many")) >= 19
    assert laid_in(tmp_path / "many").regions == 7


def test_a_thousand_pictures_alike_are_not_a_million_pairs(tmp_path, monkeypatch):
    """An intro that opens every film: each finds a few of the others, and memory does not grow with all of them."""
    monkeypatch.setattr("curate.copies.neighbours.MOST", 20)
    monkeypatch.setattr("curate.copies.neighbours.BATCH", 100)
    monkeypatch.setattr("curate.copies.neighbours.HELD", 10_000)
    pairs = all_near_pairs(given(np.repeat(miniature(scene(1))[None], 1000, axis=0)), whole, NEAR, views(False), tmp_path)
    assert len(np.unique(pairs)) == 1000 and len(pairs) <= 20 * 1000


def corpus_of(folder, films, **columns):
    """A corpus whose sources each hold one clip of these pictures; `columns` gives further columns of a source's clip."""
    corpus = open_corpus(str(folder), create=True)
    for name, pictures in films.items():
        own = columns.get(name, {})
        span = {"clip_id": clip_id(name, 0, 120), "source_id": name, "media_type": "video", "shot_index": 0, "start_s": 0.0, "end_s": 5.0, **own}
        proxies = [
            {"clip_id": span["clip_id"], "source_id": name, "kind": "frame", "proxy_index": i, "time_s": time, "image": _jpeg(picture)}
            for i, (time, picture) in enumerate(zip(TIMES, pictures))
        ]
        added = {"source_id": name, "uri": name, "status": "ok", "media_type": "video"}
        corpus.append("added", table_of([added], RELATIONS["added"]), name)
        spans = table_of([{"width": 320, "height": 180, **span}], RELATIONS["spans"])
        readings = table_of([{"source_id": name, "status": "ok", "duration_s": 5.0}], RELATIONS["readings"])
        corpus.commit(name, {"spans": spans, "proxies": table_of(proxies, RELATIONS["proxies"]), "readings": readings})
    return corpus


def _jpeg(picture):
    return cv2.imencode(".jpg", np.clip(picture, 0, 255).astype(np.uint8))[1].tobytes()


def clusters(corpus):
    return {row["clip_id"].split("-")[0]: row["duplicate_cluster"].split("-")[0] for row in corpus.table("clips").to_pylist()}


def test_clusters_form_around_the_best_copy(tmp_path):
    films = {
        "a": moving(1),
        "b": [EDITS["scaled"](p) for p in moving(1)],
        "c": moving(2),
        "d": [EDITS["graded"](p) for p in moving(1)],
        "e": [np.zeros((180, 320))] * 4,
    }
    corpus = corpus_of(tmp_path, films, b={"width": 192, "height": 108}, d={"width": 640, "height": 360})
    report = deduplicate(corpus)
    assert clusters(corpus) == {"a": "d", "b": "d", "c": "c", "d": "d", "e": "e"}
    assert (report.clips, report.duplicates, report.clusters) == (5, 2, 1)
    copies = {row["clip_id"].split("-")[0]: row["duplicate_of"] for row in corpus.table("clips").to_pylist()}
    assert copies["d"] is None and copies["a"] == clip_id("d", 0, 120)
    ranks = {row["clip_id"].split("-")[0]: row["duplicate_rank"] for row in corpus.read("duplicates").to_pylist()}
    assert ranks == {"d": 0, "a": 1, "b": 2, "c": 0, "e": 0}


def test_two_clips_do_not_come_together_through_a_third(tmp_path):
    """The middle one overlaps both its neighbours by more than half; they overlap each other by less."""
    films = {name: moving(3, tuple(start + time for time in TIMES)) for name, start in (("a", 0.0), ("b", 1.25), ("c", 2.5 + 1.2))}
    films["b"] = moving(3, tuple(1.25 + time for time in TIMES))
    corpus = corpus_of(tmp_path, films, b={"width": 160, "height": 90})
    deduplicate(corpus)
    found = clusters(corpus)
    assert found["a"] != found["c"]


def test_copies_of_one_clip_join_the_same_best_copy_whichever_they_resemble_most(tmp_path):
    """Two good copies show the left and the right of a picture, too little of it in common; two poor ones show all of it, each with a mark on one side."""
    whole = moving(30)
    films = {"a": [picture[:, :288] for picture in whole], "b": [picture[:, 32:] for picture in whole]}
    films["c"] = [cv2.rectangle(picture.copy(), (4, 8), (28, 38), 255, -1) for picture in whole]
    films["d"] = [cv2.rectangle(picture.copy(), (292, 8), (316, 38), 255, -1) for picture in whole]
    corpus = corpus_of(tmp_path, films, **{name: {"width": 640, "height": 360} for name in ("a", "b")})
    deduplicate(corpus)
    found = clusters(corpus)
    assert found["a"] != found["b"] and found["c"] == found["d"] == found["a"]


def test_only_new_clips_are_described_again(tmp_path):
    films = {"a": moving(1), "b": moving(2)}
    corpus = corpus_of(tmp_path, films)
    deduplicate(corpus)
    corpus = corpus_of(tmp_path, {"c": [EDITS["graded"](picture) for picture in moving(2)]})
    seen = []

    def counting(rows, stages):
        seen.extend(rows["clip_id"].to_pylist() if "clip_id" in rows.column_names else [])
        return run_here(rows, stages)

    deduplicate(corpus, run=counting)
    assert seen == [clip_id("c", 0, 120)] and clusters(corpus) == {"a": "a", "b": "b", "c": "b"}


def test_what_shows_an_edge_between_plain_fields_is_not_even_looked_for(tmp_path):
    corpus = corpus_of(tmp_path, {name: [fields(seed, 150, 0)] * 4 for name, seed in (("a", 1), ("b", 2))})
    assert deduplicate(corpus).compared == 0 and clusters(corpus) == {"a": "a", "b": "b"}


def test_an_empty_corpus_has_no_duplicates(tmp_path):
    assert deduplicate(open_corpus(str(tmp_path), create=True)).clips == 0


def test_a_clean_copy_is_better_than_a_larger_one_with_a_watermark():
    base = {"start_s": 0.0, "end_s": 5.0, "content_box": None, "technical": None}
    rows = [
        {**base, "clip_id": "marked", "width": 1920, "height": 1080, "watermark": 0.9},
        {**base, "clip_id": "boxed", "width": 640, "height": 480, "watermark": 0.0, "content_box": [0.0, 0.125, 1.0, 0.875]},
        {**base, "clip_id": "clean", "width": 640, "height": 480, "watermark": None},
    ]
    assert [rows[i]["clip_id"] for i in best_first(table_of(rows, CLIPS)).to_pylist()] == ["clean", "boxed", "marked"]


def test_parts_of_one_shot_are_never_copies_of_one_another():
    row = {"media_type": "video", "source_id": "a", "shot_index": 0}
    clips = pa.Table.from_pylist([row, row, {**row, "shot_index": 1}, {**row, "source_id": "b", "media_type": "image"}])
    assert Kinship.of(clips).comparable(np.array([0, 0, 0]), np.array([1, 2, 3])).tolist() == [False, True, False]


CHOSEN = {
    "soccer": ("base", "crop15", "watermark", "mirror", "trim_mid", "reenc_crf38"),
    "dog": ("base", "letterbox", "retime_1.25x"),
}
LOOK_ALIKES = ("mdn-learning__elf.webm", "mdn-learning__monster.webm")


def read_files(folder, shared_media, files):
    """A corpus of some shared files, read as usual; and the file of each source."""
    from curate.read import ReadVideos

    corpus = open_corpus(str(folder), create=True)
    rows = []
    for file in files:
        name = "s" + hashlib.sha256((shared_media / file).read_bytes()).hexdigest()[:20]
        rows.append({"source_id": name, "uri": str(shared_media / file), "media_type": "video"})
        corpus.append("added", table_of([{**rows[-1], "status": "ok"}], RELATIONS["added"]), name)
    assert sum(made.num_rows for made in run_here(pa.Table.from_pylist(rows), [ReadVideos(corpus.url)])) >= len(files)
    return corpus, {row["source_id"]: file for row, file in zip(rows, files)}


def test_pictures_of_other_moments_do_not_hide_those_of_one(shared_media, tmp_path):
    """At another frame rate the kept pictures lie elsewhere, and of a busy scene the three pairs most alike are of different moments."""
    corpus, _ = read_files(tmp_path, shared_media, [f"truth/dups/soccer__{variant}.mp4" for variant in ("fps_12", "crop15")])
    deduplicate(corpus, mirror=True)
    assert len(set(corpus.table("clips")["duplicate_cluster"].to_pylist())) == 1


def test_truth_labelled_copies_come_together_and_look_alikes_stay_apart(shared_media, tmp_path):
    files = [f"truth/dups/{family}__{variant}.mp4" for family, variants in CHOSEN.items() for variant in variants] + [f"raw/{name}" for name in LOOK_ALIKES]
    assert {video["file"] for video in json.loads((shared_media / "truth/dups.json").read_text())["videos"]} >= set(files[:-2])
    corpus, of = read_files(tmp_path, shared_media, files)
    deduplicate(corpus, mirror=True)
    found: dict[str, set[str]] = {}
    for row in corpus.table("clips").to_pylist():
        found.setdefault(of[row["source_id"]].split("/")[-1].split("__")[0 if "dups" in of[row["source_id"]] else -1], set()).add(row["duplicate_cluster"])
    assert len(found["soccer"]) == len(found["dog"]) == 1
    assert len({frozenset(names) for names in found.values()}) == len(found) == 4
    assert CROPS[0] == 1.0
