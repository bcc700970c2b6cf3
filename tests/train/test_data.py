"""Batches are a function of seed, phase and step, and cover every clip once an epoch."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from schemas.document import DocumentError
from schemas.run import Phase
from train.data import ClipReader, TrainingBatches, held_out_batches, pixels, training_batches
from train.frames import UnreadableClip, draw_window
from train.shards import Shards

PHASE = Phase(task="text_to_video", steps=6, batch=4, frames=5, height=32, width=32, images=2, stride=(1, 3))


@pytest.fixture(scope="module")
def reader(shards: Path) -> ClipReader:
    return ClipReader(Shards(str(shards)), PHASE)


def equal(one, other) -> bool:
    return one.keys == other.keys and one.captions == other.captions and torch.equal(one.frames, other.frames) and torch.equal(one.images, other.images)


def test_a_batch_has_the_phase_s_shape_and_its_captions(reader: ClipReader):
    batch = TrainingBatches(reader, 0, range(4))[0]
    assert batch.frames.shape == (4, 5, 3, 32, 32)
    assert batch.images.shape == (4, 2, 3, 32, 32)
    assert all(caption == f"a square number {key[4:]} moves right" for key, caption in zip(batch.keys, batch.captions))
    assert all(text.startswith("a still square") for texts in batch.image_captions for text in texts)
    assert pixels(batch.frames).shape == (4, 3, 5, 32, 32)
    assert pixels(batch.frames).abs().max() <= 1


def test_a_later_start_continues_the_same_batches(reader: ClipReader):
    whole = list(training_batches(reader, 0, range(4), 0, 0))
    resumed = list(training_batches(reader, 0, range(4), 4, 0))
    assert all(equal(one, other) for one, other in zip(whole[4:], resumed, strict=True))
    assert not equal(whole[0], next(training_batches(reader, 1, range(4), 0, 0)))


def test_other_processes_read_the_same_batches(reader: ClipReader):
    here = training_batches(reader, 0, range(4), 0, 0)
    ahead = training_batches(reader, 0, range(4), 0, 2)
    assert all(equal(one, other) for one, other in zip(here, ahead, strict=True))


def test_two_workers_divide_a_batch(reader: ClipReader):
    whole = TrainingBatches(reader, 0, range(4))[2]
    halves = [TrainingBatches(reader, 0, places)[2] for places in (range(2), range(2, 4))]
    assert torch.equal(whole.frames, torch.cat([half.frames for half in halves]))


def test_an_epoch_shows_every_clip_once(reader: ClipReader):
    batches = TrainingBatches(reader, 0, range(4))
    seen = Counter(key for step in range(6) for key in batches[step].keys)
    assert seen == {f"clip{number}": 4 for number in range(6)}


def test_clips_too_short_are_left_out_and_counted_and_none_left_is_refused(shards: Path):
    long = Phase(task="text_to_video", steps=1, frames=21)
    with pytest.raises(DocumentError, match="longest has 20"):
        ClipReader(Shards(str(shards)), long)


def test_held_out_batches_show_the_middle_of_every_clip_once(reader: ClipReader):
    batches = list(held_out_batches(reader, 4))
    assert [len(batch.keys) for batch in batches] == [4, 2]
    assert batches[0].shown[0] == pytest.approx((1 / 12, 0.0, 11 / 12, 1.0), abs=0.02)


@pytest.mark.parametrize("available", [5, 6, 20])
def test_a_window_never_leaves_the_clip(available: int):
    for seed in range(50):
        window = draw_window(available, 5, (1, 4), True, torch.Generator().manual_seed(seed))
        assert window.start >= 0 and window.stride >= 1
        assert window.start + 4 * window.stride < available


def test_a_clip_that_decodes_to_too_few_frames_is_named(shards: Path, reader: ClipReader):
    entry = reader.clips[0]
    longer = ClipReader(reader.shards, Phase(task="text_to_video", steps=1, frames=20))
    longer.phase = longer.phase.model_copy(update={"frames": 40})
    with pytest.raises(UnreadableClip, match=entry.key):
        longer.clip(entry, None)
