"""The cascade samples any prefix of its stages, repeatably, with every sampler, and writes real video."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from schemas.document import DocumentError
from schemas.run import Phase, TrainingRun
from train.cascade import Cascade, open_cascade, write_mp4
from train.clips import to_clip, to_frames
from train.conditions import blend_keys, resize_clip
from train.loop import train
from train.objective import Objective
from train.samplers import SAMPLERS, denoise, guided, in_chunks, overlapping_chunks
from train.schedules import signal


@pytest.fixture(scope="module")
def cascade(trained: Path) -> Cascade:
    return open_cascade(trained)


@pytest.mark.parametrize(("upto", "shape"), [("base", (4, 16, 16, 3)), ("interpolation", (13, 16, 16, 3)), ("vsr", (13, 64, 64, 3))])
def test_any_prefix_of_the_stages_samples(cascade: Cascade, upto: str, shape: tuple[int, ...]):
    frames = cascade(prompt="a square", steps=4, upto=upto)
    assert frames.shape == shape
    assert frames.dtype == np.uint8
    assert frames.std() > 0


def test_the_seed_decides_what_is_sampled(cascade: Cascade):
    first, again, other = (cascade(prompt="a square", seed=seed, steps=2, upto="base") for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_saved_cascade_samples_the_same(cascade: Cascade, tmp_path: Path):
    cascade.save_pretrained(tmp_path)
    again = Cascade.from_pretrained(tmp_path)
    assert np.array_equal(again(prompt="a square", steps=1), cascade(prompt="a square", steps=1))


def test_a_stage_that_was_not_trained_is_refused(trained: Path, cascade: Cascade):
    alone = Cascade(base=cascade.base, run=cascade.training_run.model_dump(mode="json"))
    assert alone(prompt="a square", steps=1).shape == (4, 16, 16, 3)
    with pytest.raises(DocumentError, match="no stage `interpolation`"):
        alone(prompt="a square", upto="vsr")
    with pytest.raises(DocumentError, match="no trained cascade"):
        open_cascade(trained.parent.parent)


def test_one_s_own_video_can_be_interpolated_and_enlarged(cascade: Cascade):
    frames = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), np.uint8)
    assert cascade.interpolate(frames).shape == (9, 16, 16, 3)
    assert cascade.upscale(frames).shape == (3, 64, 64, 3)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
@pytest.mark.parametrize("prediction", ["epsilon", "v", "sample"])
def test_every_sampler_finds_the_only_clip_there_is(sampler: str, prediction: str):
    clean = torch.randn(1, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    phase = Phase(task="text_to_video", steps=1, prediction=prediction)  # type: ignore[arg-type]
    kept = signal(phase.noise_schedule)

    def perfect(noised: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        share, rest = kept[time].sqrt().float(), (1 - kept[time]).sqrt().float()
        noise = (noised - share * clean) / rest
        return {"epsilon": noise, "v": share * noise - rest * clean, "sample": clean}[prediction]

    chance = torch.Generator().manual_seed(1)
    found = denoise(perfect, torch.randn(clean.shape, generator=chance), phase, sampler, 20, chance)
    assert (found - clean).abs().max() < 0.05


def test_flow_is_sampled_by_euler_only():
    clean = torch.ones(1, 1, 1, 2, 2)
    phase = Phase(task="text_to_video", steps=1, prediction="flow")
    chance = torch.Generator().manual_seed(1)
    noise = torch.randn(clean.shape, generator=chance)
    found = denoise(lambda noised, time: noise - clean, noise, phase, "euler", 10, chance)
    assert torch.allclose(found, clean, atol=1e-5)
    with pytest.raises(ValueError, match="sampled by euler"):
        denoise(lambda noised, time: noise, noise, phase, "ddim", 10, chance)


def test_a_phase_that_starts_at_the_plain_answer_adds_to_it_in_small_units():
    plain, clean = torch.randn(2, 1, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    phase = Phase(task="interpolate", steps=1, frames=5, prediction="flow", start="plain", timesteps="last")
    objective, seen = Objective.of(phase), []
    right = objective.target(clean, plain, torch.tensor([999]))
    assert torch.allclose(right * objective.unit, plain - clean)

    def perfect(noised: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        seen.append((noised, time))
        return right

    for steps in (1, 4):
        assert torch.allclose(denoise(perfect, plain, phase, "euler", steps, torch.Generator()), clean, atol=1e-5)
    assert torch.equal(seen[0][0], plain) and seen[0][1].item() == 999
    assert torch.allclose(objective.noised(clean, plain, torch.tensor([999])), plain)


def test_guidance_of_one_is_the_conditional_and_rescaling_keeps_its_spread():
    conditional, unconditional = torch.randn(2, 1, 4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(guided(conditional, unconditional, 1.0, 0.0), conditional, atol=1e-6)
    strong = guided(conditional, unconditional, 8.0, 1.0)
    assert strong.std().item() == pytest.approx(conditional.std().item(), rel=1e-4)


@pytest.mark.parametrize("frames", [1, 4, 5, 9, 61])
def test_overlapping_chunks_cover_every_frame_and_agree_with_the_whole(frames: int):
    spans = overlapping_chunks(frames, 8, 2)
    assert sorted({place for span, _ in spans for place in range(span.start, span.stop)}) == list(range(frames))
    noised = torch.randn(1, 2, frames, 3, 3)
    whole = in_chunks(lambda part, time, span: part * 2, frames, 8, 2)
    assert torch.allclose(whole(noised, torch.tensor([5])), noised * 2, atol=1e-6)


def test_a_video_is_written_whole_at_its_rate(tmp_path: Path):
    frames = np.random.default_rng(0).integers(0, 255, (9, 33, 48, 3), np.uint8)
    write_mp4(frames, tmp_path / "made.mp4", 24)
    with av.open(str(tmp_path / "made.mp4")) as container:
        track = container.streams.video[0]
        assert (len(list(container.decode(track))), track.width, track.height, track.average_rate) == (9, 48, 32, 24)
    assert [path.name for path in tmp_path.iterdir()] == ["made.mp4"]


def test_a_base_that_knows_first_frames_goes_on_from_the_last_one(shards: Path, tmp_path: Path, cascade: Cascade):
    phase = Phase(task="text_to_video", steps=2, batch=2, frames=4, height=16, width=16, first_frame=0.5)
    continued = open_cascade(train(TrainingRun(name="tiny", shards=str(shards), phases=(phase,)), tmp_path))
    start = continued("a square", steps=2)
    longer = continued.extend(start, "a square", times=2, steps=2)
    assert longer.shape == (10, 16, 16, 3)
    assert np.array_equal(longer[:4], start)
    with pytest.raises(DocumentError, match="first_frame"):
        cascade.extend(start, "a square")


def test_a_stage_that_adds_nothing_gives_the_plain_answer_and_loses_none_of_it(cascade: Cascade, monkeypatch: pytest.MonkeyPatch):
    """Noise is what the embedded latent space cannot hold."""
    for stage in ("interpolation", "vsr"):
        monkeypatch.setattr(getattr(cascade, stage), "forward", lambda sample, *rest, **named: torch.zeros_like(sample[:, : cascade.latents.channels]))
    frames = np.random.default_rng(0).integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
    between = cascade.interpolate(frames)
    assert np.abs(between.astype(int) - to_frames(blend_keys(to_clip(frames), 4))).max() <= 1
    exactly = cascade.upscale(frames, noise_level=0, add_noise=False)
    assert np.abs(exactly.astype(int) - to_frames(resize_clip(to_clip(frames), 64, 64))).max() <= 1
    large = cascade.upscale(frames, noise_level=0)
    # The lowest noise level is not quite none: a grey level or so.
    assert np.abs(large.astype(int) - to_frames(resize_clip(to_clip(frames), 64, 64))).mean() < 2
