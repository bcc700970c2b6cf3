"""Randomness is a function of its purpose: resuming, dividing or repeating changes nothing."""

import torch

from train.draws import generator, held_out_draws, training_draws


def test_the_same_purpose_draws_the_same_and_another_does_not():
    first, again, other = (torch.rand(4, generator=generator(*purpose)) for purpose in ((1, "noise", 3), (1, "noise", 3), (1, "noise", 4)))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_two_workers_together_draw_what_one_draws():
    whole = training_draws(7, "text_to_video", 5, range(4), 4)
    halves = [training_draws(7, "text_to_video", 5, places, 4) for places in (range(2), range(2, 4))]
    assert torch.equal(whole.timesteps, torch.cat([half.timesteps for half in halves]))
    assert torch.equal(whole.normal((3, 2)), torch.cat([half.normal((3, 2)) for half in halves]))


def test_stratified_times_fall_into_one_range_each():
    for step in range(20):
        times = training_draws(0, "upscale", step, range(10), 10).timesteps
        assert sorted((times // 100).tolist()) == list(range(10))


def test_logit_normal_times_gather_in_the_middle():
    times = torch.cat([training_draws(0, "t", step, range(8), 8, "logit-normal").timesteps for step in range(200)]).double()
    assert abs(times.mean() - 500) < 20
    assert ((times > 250) & (times < 750)).double().mean() > 0.65


def test_late_times_gather_where_only_the_caption_tells_what_is_to_be_seen():
    times = torch.cat([training_draws(0, "t", step, range(8), 8, "late").timesteps for step in range(100)])
    assert 0.45 < (times >= 875).double().mean() < 0.55
    assert times.min() < 200
    assert training_draws(0, "t", 0, range(3), 3, "last").timesteps.tolist() == [999, 999, 999]


def test_held_out_noise_depends_on_clip_and_level_only():
    pair = held_out_draws(3, ["a", "b"], 500)
    alone = held_out_draws(3, ["b"], 500)
    noise = pair.normal((5,))
    assert torch.equal(noise[1], alone.normal((5,))[0])
    assert not torch.equal(noise[0], noise[1])
    assert not pair.training
