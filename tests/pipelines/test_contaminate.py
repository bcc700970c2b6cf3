"""Each harm does to a clip what its name says, to the clips that the dose asks for, and to nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ablation.contaminate import MARK_BOX, duplicates_of, frozen, harmed_keys, low_resolution, watermark, wrong_captions

FRAMES = np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), dtype=np.uint8)


def test_a_watermark_changes_its_corner_and_nothing_else():
    left, top, right, bottom = (round(share * size) for share, size in zip(MARK_BOX, (64, 48, 64, 48)))
    changed = (watermark(FRAMES) != FRAMES).any(axis=(0, 3))
    assert changed[top:bottom, left:right].mean() > 0.95
    changed[top:bottom, left:right] = False
    assert not changed.any()


@pytest.mark.parametrize("size", [(16, 16), (32, 32), (180, 320)])
def test_a_watermark_stays_visible_at_any_size(size: tuple[int, int]):
    dark = np.zeros((2, *size, 3), dtype=np.uint8)
    marked = watermark(dark).max(axis=(0, 3))
    assert marked.max() > 120 and marked[: size[0] // 2].max() == 0


def test_a_frozen_clip_repeats_its_middle_frame():
    stopped = frozen(FRAMES)
    assert stopped.shape == FRAMES.shape and (stopped == FRAMES[3]).all()


def test_low_resolution_takes_fine_detail_away_and_leaves_the_coarse():
    blurred = low_resolution(FRAMES)
    assert blurred.shape == FRAMES.shape
    assert np.abs(np.diff(blurred.astype(int), axis=2)).mean() < 0.25 * np.abs(np.diff(FRAMES.astype(int), axis=2)).mean()
    assert blurred.mean() == pytest.approx(FRAMES.mean(), abs=2)


def test_a_wrong_caption_is_another_clips_and_never_the_same_words():
    before = dict(zip("abcde", ["a cat", "a cat", "a dog", "a horse", "a cat"]))
    after = wrong_captions(before)
    assert after.keys() == before.keys()
    assert all(after[key] != before[key] and after[key] in {"a cat", "a dog", "a horse"} for key in before)


def test_clips_that_all_share_one_caption_keep_it():
    assert wrong_captions(dict.fromkeys("abc", "same")) == dict.fromkeys("abc", "same")


def test_duplicated_clips_come_from_a_few_donors_that_half_a_dose_leaves_alone():
    keys = [f"clip{index:03d}" for index in range(40)]
    copied, harmed = duplicates_of(keys, seed=1), harmed_keys(keys, 0.5, seed=1)
    donors = {copied[key] for key in harmed}
    assert len(donors) == 2, "a twentieth of 40 clips"
    assert not donors & harmed


@given(st.integers(1, 60), st.integers(0, 5))
def test_a_smaller_dose_harms_a_subset(count: int, seed: int):
    keys = [f"clip{index}" for index in range(count)]
    quarter, half = harmed_keys(keys, 0.25, seed), harmed_keys(keys, 0.5, seed)
    assert quarter <= half and len(half) == round(count * 0.5)
    assert harmed_keys(keys, 0, seed) == frozenset() and harmed_keys(keys, 1, seed) == frozenset(keys)


def test_another_seed_harms_other_clips():
    keys = [f"clip{index}" for index in range(40)]
    assert harmed_keys(keys, 0.5, 0) != harmed_keys(keys, 0.5, 1)
