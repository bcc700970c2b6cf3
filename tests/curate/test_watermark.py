"""The watermark scorer: what it looks at, that it repeats itself, that it finds marks and leaves the owner's own alone."""

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curate.models import ModelError
from curate.observers.overlay_maps import OverlayMaps, pictures, planes_from
from curate.scorers.allowed_marks import FOLDER_VARIABLE, AllowedMarks, MarkError
from curate.scorers.base import ClipBatch, Picture
from curate.scorers.watermark import Watermark
from curate.scorers.watermark_features import CANVAS, canvas_of
from curate.scorers.watermark_judge import Calibration, Judge, box_of


def film(seed: int = 0, frames: int = 48, size: tuple[int, int] = (360, 640)) -> np.ndarray:
    """A soft random landscape panning diagonally, uint8 (T, H, W, 3)."""
    height, width = size
    coarse = np.random.default_rng(seed).integers(20, 200, (12, 20)).astype(np.float32)
    wide = cv2.resize(coarse, (width + 6 * frames, height + 4 * frames), interpolation=cv2.INTER_CUBIC)
    wide += np.random.default_rng(seed + 1).normal(0, 6, wide.shape)
    views = [wide[4 * at : 4 * at + height, 6 * at : 6 * at + width] for at in range(frames)]
    return np.repeat(np.clip(np.stack(views), 0, 255).astype(np.uint8)[..., None], 3, axis=3)


def logo() -> np.ndarray:
    """A white ring with letters beside it on black, uint8 (30, 116)."""
    drawn = np.zeros((30, 116), np.uint8)
    cv2.circle(drawn, (15, 15), 12, 255, 3, cv2.LINE_AA)
    cv2.putText(drawn, "QUVEX", (34, 23), cv2.FONT_HERSHEY_DUPLEX, 0.8, 255, 2, cv2.LINE_AA)
    return drawn


def stamped(frames: np.ndarray, opacity: float = 0.8, place: tuple[int, int] = (14, 508)) -> np.ndarray:
    """The film with the logo in white over it at (top, left)."""
    drawn, (top, left) = logo(), place
    alpha = (drawn / 255 * opacity)[None, :, :, None]
    out = frames.astype(np.float32)
    spot = out[:, top : top + 30, left : left + 116]
    out[:, top : top + 30, left : left + 116] = spot + alpha * (255 - spot)
    return np.rint(out).astype(np.uint8)


def kept(frames: np.ndarray, fps: float = 24.0) -> tuple[list[Picture], list[Picture]]:
    """What a corpus keeps of a film: JPEG frames and PNG maps."""
    shown = [cv2.imencode(".jpg", cv2.resize(frames[at], None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)[:, :, ::-1])[1] for at in (6, 18, 30, 42)]
    maps = OverlayMaps(fps)
    maps.add(frames, range(len(frames)), [at / fps for at in range(len(frames))])
    stored = [cv2.imencode(".png", map_[:, :, ::-1])[1] for window in maps.close(0, len(frames)) for map_ in pictures(window.planes)]
    return [Picture(each.tobytes()) for each in shown], [Picture(each.tobytes()) for each in stored]


def batch_of(*clips: tuple[list[Picture], list[Picture]]) -> ClipBatch:
    names = pa.table({"clip_id": [f"clip{at}" for at in range(len(clips))]})
    return ClipBatch(names, [frames for frames, _ in clips], [edges for _, edges in clips])


@pytest.fixture(scope="module")
def scorer() -> Watermark:
    made = Watermark()
    made.setup()
    return made


@pytest.fixture(scope="module")
def clean_and_marked() -> tuple:
    return kept(film()), kept(stamped(film()))


def test_a_marked_film_scores_high_with_its_box_and_the_same_film_clean_scores_low(scorer, clean_and_marked):
    clean, marked = scorer.score(batch_of(*clean_and_marked)).to_pylist()
    assert marked["watermark"] > 0.7 > 0.3 > clean["watermark"]
    left, top, right, bottom = marked["watermark_box"]
    assert left == pytest.approx(508 / 640, abs=0.05) and right == pytest.approx(624 / 640, abs=0.05)
    assert top == pytest.approx(14 / 360, abs=0.06) and bottom == pytest.approx(44 / 360, abs=0.06)


def test_a_score_does_not_depend_on_its_neighbours_nor_on_how_often_it_is_asked(scorer, clean_and_marked):
    clean, marked = clean_and_marked
    alone = scorer.score(batch_of(marked)).to_pylist()[0]
    among = scorer.score(batch_of(clean, marked, clean, marked)).to_pylist()
    assert {**alone, "clip_id": None} == {**among[1], "clip_id": None} == {**among[3], "clip_id": None}


def test_what_cannot_be_looked_at_is_null_with_its_reason_and_harms_no_neighbour(scorer, clean_and_marked):
    marked = clean_and_marked[1]
    broken = [Picture(b"not a picture")]
    rows = scorer.score(batch_of(([], []), (broken, marked[1]), (marked[0], marked[1][:2]), marked)).to_pylist()
    reasons = [dict(row["unmeasured"]).get("watermark", "") for row in rows]
    assert "no proxies" in reasons[0] and "not a readable picture" in reasons[1] and "whole windows" in reasons[2] and reasons[3] == ""
    assert [row["watermark"] is None for row in rows] == [True, True, True, False]


def test_an_image_without_maps_is_measured_as_a_still(scorer):
    picture = Picture(cv2.imencode(".jpg", film()[0])[1].tobytes())
    row = scorer.score(batch_of(([picture], []))).to_pylist()[0]
    assert 0 <= row["watermark"] <= 1 and len(row["watermark_box"]) == 4


def test_numbers_are_signed_with_the_digest_of_the_weights_and_of_allowed_marks(monkeypatch, tmp_path):
    plain = Watermark.identity()
    assert plain.startswith("watermark@2-") and len(plain) == len("watermark@2-") + 8
    cv2.imwrite(str(tmp_path / "own.png"), logo())
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert Watermark.identity().startswith(plain + "-allowing-")


def test_the_owners_own_logo_is_left_alone_and_another_mark_is_still_found(monkeypatch, tmp_path, clean_and_marked):
    cv2.imwrite(str(tmp_path / "own.png"), logo())
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    allowing = Watermark()
    allowing.setup()
    other = film()
    for at in range(len(other)):
        cv2.putText(other[at], "nobivar", (24, 330), cv2.FONT_HERSHEY_DUPLEX, 0.6, (240, 240, 240), 1, cv2.LINE_AA)
    own, foreign, both = allowing.score(batch_of(clean_and_marked[1], kept(other), kept(stamped(other)))).to_pylist()
    assert own["watermark"] < 0.4 and foreign["watermark"] > 0.6 and both["watermark"] > 0.6
    assert both["watermark_box"][1] > 0.7


@pytest.mark.parametrize("make", ["nothing", "plain", "broken"])
def test_allowed_marks_that_show_nothing_are_refused_by_name(tmp_path, make):
    folder = tmp_path / "marks"
    if make != "nothing":
        folder.mkdir()
    if make == "plain":
        cv2.imwrite(str(folder / "own.png"), np.full((20, 20), 90, np.uint8))
    if make == "broken":
        (folder / "own.png").write_bytes(b"no image")
    with pytest.raises(MarkError, match="marks"):
        AllowedMarks.load(folder)


@pytest.mark.parametrize("shape", [(360, 640), (640, 360), (360, 480), (272, 640), (360, 360)])
def test_every_shape_is_carried_on_to_one_canvas_or_its_transpose(shape):
    canvas = canvas_of(planes_from(np.zeros((4, *shape), np.uint8)), [np.zeros((*shape, 3), np.uint8)])
    assert canvas.planes.shape[1:] == (CANVAS if shape[1] >= shape[0] else CANVAS[::-1])
    assert canvas.valid.sum() == shape[0] * shape[1] // 16
    assert canvas.pictures.shape == (4, 2 * canvas.planes.shape[1], 2 * canvas.planes.shape[2])


def test_maps_that_are_not_ours_are_refused():
    picture = [np.zeros((90, 160), np.uint8)]
    for shape in ((8, 90, 160), (9, 200, 300)):
        with pytest.raises(ValueError, match="edge maps"):
            canvas_of(np.zeros(shape, np.uint8), picture)
    with pytest.raises(ValueError, match="no picture"):
        canvas_of(np.zeros((9, 90, 160), np.uint8), [])


def test_the_box_holds_the_peak_and_leaves_out_what_lies_apart():
    logits = np.full((45, 80), -8.0, np.float32)
    logits[4:7, 60:72] = 3.0
    logits[30:34, 5:9] = 1.5
    assert box_of(logits, 3.0) == (60 / 80, 4 / 45, 72 / 80, 7 / 45)


def test_weights_survive_saving_and_a_foreign_file_is_refused(tmp_path, scorer):
    from safetensors.numpy import save_file

    scorer._judge.save(tmp_path / "same.safetensors")
    again = Judge.load(tmp_path / "same.safetensors")
    canvas = canvas_of(planes_from(film(frames=4)[..., 0]), list(film(frames=4)))
    assert again(canvas) == scorer._judge(canvas)
    save_file({"weight": np.zeros(3, np.float32)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(ModelError, match="watermark network"):
        Judge.load(tmp_path / "other.safetensors")


def test_either_head_alone_can_raise_the_probability():
    calibration = Calibration(1.0, 0.0, 1.0, 0.0)
    assert calibration.probability(-9.0, -9.0) < 0.01 < 0.98 < min(calibration.probability(9.0, -9.0), calibration.probability(-9.0, 9.0))
    assert calibration.probability(1e9, 0.0) <= 1.0 and calibration.probability(-1e9, -1e9) >= 0.0
