"""What a trial trains on: the clips, captions and harm that its arm asks for, drawn by its seed, and written again without loss where need be."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.ablation.arms import Entrant
from pipelines.ablation.contaminate import MARK_BOX, harmed_keys
from pipelines.ablation.pieces import Pieces
from pipelines.ablation.plan import PlannedArm
from pipelines.ablation.pool import Pool, Pooled, write_shards
from pipelines.ablation.treatment import CLEAN, PLAIN, Treatments, doses, rewrite
from schemas.experiment import Arm
from schemas.recipe import Recipe
from schemas.run import Phase
from schemas.sample import Sample
from train.cascade import write_mp4
from train.frames import decode_frames
from train.shards import Shards

COUNT, SIDE = 20, 64


def index(count: int = COUNT, seconds: float = 2.0) -> dict[str, Pooled]:
    keys = [f"clip{number:03d}" for number in range(count)]
    captions = {key: {"describe": f"described {key}", "vlm": f"seen {key}"} for key in keys}
    return {key: Pooled(f"digest of {key}", f"caption of {key}", captions[key], seconds, False) for key in keys}


def planned(pool: Pool, clips_drawn: int | None = None, hours_drawn: float | None = None, **changes: Any) -> PlannedArm:
    entrant = Entrant(Arm(name="arm", recipe="r", **changes), Recipe(name="r"), (Phase(task="text_to_video", steps=1),), (0,))
    return PlannedArm(entrant, tuple(pool.index), 1.0, clips_drawn or len(pool.index), hours_drawn, ())


def keys(given: list[Any]) -> list[str]:
    return [dose.key for dose in given]


def test_an_arm_without_treatment_trains_on_what_its_recipe_keeps_as_it_was_packed():
    pool = Pool("", index())
    given = doses(planned(pool), 0, pool)
    assert keys(given) == list(pool.index) and {dose.picture for dose in given} == {PLAIN}
    assert given[0].caption == "caption of clip000"


def test_halves_of_one_seed_share_no_clip_and_other_seeds_split_otherwise():
    pool = Pool("", index())
    first, second = (doses(planned(pool, clips_drawn=10, half=half), 0, pool) for half in ("first", "second"))
    assert not set(keys(first)) & set(keys(second)) and len(first) == len(second) == 10
    assert set(keys(first)) != set(keys(doses(planned(pool, clips_drawn=10, half="first"), 1, pool)))


def test_a_budget_of_hours_draws_clips_until_it_is_spent():
    pool = Pool("", index(seconds=9.0))
    assert len(doses(planned(pool, hours_drawn=45 / 3600), 0, pool)) == 5
    assert len(doses(planned(pool, hours_drawn=1 / 3600), 0, pool)) == 1, "one clip at least"


def test_captions_are_those_of_the_captioner_asked_for():
    pool = Pool("", index())
    assert doses(planned(pool, captions="vlm"), 0, pool)[3].caption == "seen clip003"


def test_a_caption_mix_draws_each_captioner_by_its_share():
    pool = Pool("", index(400))
    mixed = Counter(dose.caption.split()[0] for dose in doses(planned(pool, caption_mix={"describe": 0.75, "vlm": 0.25}), 0, pool))
    assert mixed["described"] / 400 == pytest.approx(0.75, abs=0.06) and sum(mixed.values()) == 400


@pytest.mark.parametrize("harm", ["watermark", "wrong_captions", "duplicated"])
def test_a_dose_harms_its_share_and_writes_the_rest_again_clean(harm: str):
    pool = Pool("", index())
    clean, half = (doses(planned(pool, contamination={"harm": harm, "share": share}), 0, pool) for share in (0, 0.5))
    assert {dose.picture for dose in clean} == {CLEAN} and keys(clean) == keys(half)
    changed = {after.key for before, after in zip(clean, half) if before != after}
    assert changed == harmed_keys(keys(clean), 0.5, 0)


def sample(key: str, level: int) -> Sample:
    frames = np.full((12, SIDE, SIDE, 3), level, dtype=np.uint8)
    frames[:, 10:30, 10:30, 0] = np.arange(12, dtype=np.uint8)[:, None, None] * 10
    return Sample(key, f"caption of {key}", {"encoded": {"frames": 12, "width": SIDE, "height": SIDE, "fps": 8.0, "duration_s": 1.5}}, video=encoded(frames))


def encoded(frames: np.ndarray) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write_mp4(frames, Path(folder) / "clip.mp4", 8)
        return (Path(folder) / "clip.mp4").read_bytes()


def test_a_clip_written_again_clean_shows_the_same():
    before = sample("a", 90)
    after = rewrite(before, CLEAN, SIDE)
    shown = [decode_frames(one, SIDE, SIDE).astype(int) for one in (before, after)]
    assert shown[0].shape == shown[1].shape and np.abs(shown[0] - shown[1]).mean() < 2
    assert after.facts["treatment"] == CLEAN and after.facts["encoded"]["frames"] == 12


def test_a_clip_written_again_with_a_watermark_shows_it_in_its_corner_alone():
    before = sample("a", 90)
    shown = [decode_frames(one, SIDE, SIDE).astype(int) for one in (rewrite(before, CLEAN, SIDE), rewrite(before, "watermark", SIDE))]
    changed = np.abs(shown[1] - shown[0]).mean(axis=(0, 3))
    left, top, right, bottom = (round(share * SIDE) for share in MARK_BOX)
    assert changed[top:bottom, left:right].mean() > 40
    assert changed[: top - 4].mean() < 2


def test_shards_of_a_dose_hold_harmed_and_clean_clips_and_are_made_once(tmp_path: Path):
    (tmp_path / "pool").mkdir()
    samples = [sample(f"clip{number:03d}", 20 * number) for number in range(4)]
    write_shards(samples, tmp_path / "pool", "pool", "x")
    pool, heard = Pool(str(tmp_path / "pool"), index(4)), list[str]()
    treatments = Treatments(pool, Pieces(tmp_path / "pieces"), SIDE, lambda what, done, total: heard.append(what))
    arm = planned(pool, contamination={"harm": "watermark", "share": 0.5})
    piece = treatments.shards(arm, 0)
    made = Shards(str(piece.folder))
    told = {entry.key: made.read(entry) for entry in made.entries}
    harmed = harmed_keys(list(told), 0.5, 0)
    assert {key for key, one in told.items() if one.facts["treatment"] == "watermark"} == harmed and len(told) == 4
    before = len(heard)
    again = Treatments(pool, Pieces(tmp_path / "pieces"), SIDE, lambda what, done, total: heard.append(what)).shards(arm, 0)
    assert again.digest == piece.digest and not again.fresh and len(heard) == before
    assert treatments.shards(arm, 1).digest != piece.digest or harmed_keys(list(told), 0.5, 1) == harmed
