"""Attention over frames: positions, buckets, the first and the former frame, and text shared by the frames of a clip."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from train.attention import (
    ROTARY_CHANNELS,
    RotaryEmbedding,
    SparseCausalAttention,
    SpatialAttention,
    TemporalAttention,
    TextAttention,
    attend,
    bucket_starts,
    relative_buckets,
)


def randomised(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5)
    return module.eval()


@settings(max_examples=30, deadline=None)
@given(shift=st.integers(1, 40), head_channels=st.sampled_from([8, 32, 33, 40]), seed=st.integers(0, 1000))
def test_rotary_scores_depend_on_the_distance_between_frames_only(shift: int, head_channels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, head_channels, generator=generator)
    frames = torch.zeros(shift + 6, head_channels)
    queries, keys = frames.clone(), frames.clone()
    queries[0], queries[shift] = query, query
    keys[5], keys[shift + 5] = key, key
    rotary = RotaryEmbedding()
    queries, keys = rotary(queries), rotary(keys)
    torch.testing.assert_close(queries[0] @ keys[5], queries[shift] @ keys[shift + 5], atol=1e-3, rtol=1e-4)


def test_rotary_turns_adjacent_pairs_of_the_first_channels_and_keeps_the_rest() -> None:
    x = torch.randn(3, 40)
    turned = RotaryEmbedding()(x)
    assert torch.equal(turned[:, ROTARY_CHANNELS:], x[:, ROTARY_CHANNELS:])
    assert torch.equal(turned[0], x[0])
    angle = 2 * 10_000 ** (-2 / 32)  # frame 2, second pair
    expected = x[2, 2] * math.cos(angle) - x[2, 3] * math.sin(angle)
    torch.testing.assert_close(turned[2, 2], expected)


def test_rotary_angles_stay_exact_when_the_network_is_in_half_precision() -> None:
    rotary = RotaryEmbedding().to(torch.bfloat16)
    x = torch.randn(61, 32)
    torch.testing.assert_close(rotary(x), RotaryEmbedding()(x), atol=0, rtol=0)
    assert rotary(x.bfloat16()).dtype == torch.bfloat16


def test_buckets_are_exact_near_by_logarithmic_further_and_separate_past_from_future() -> None:
    seen_from_the_first = relative_buckets(40)[0]
    assert seen_from_the_first[:9].tolist() == [0, 17, 18, 19, 20, 21, 22, 23, 24]
    seen_from_the_last = relative_buckets(40)[39].flip(0)
    assert seen_from_the_last[:9].tolist() == list(range(9))
    assert seen_from_the_last[16] == 12  # the tie log(16/8) / log(32/8) x 8 = 4 is exact
    assert seen_from_the_last.max() == 15
    assert seen_from_the_first.max() == 31
    assert torch.equal(relative_buckets(7), relative_buckets(40)[:7, :7])


@given(num_buckets=st.sampled_from([8, 16, 32, 64]), factor=st.integers(2, 16))
def test_bucket_starts_grow_and_end_within_the_longest_distance(num_buckets: int, factor: int) -> None:
    max_distance = num_buckets // 4 * factor * 2
    starts = bucket_starts(num_buckets, max_distance)
    assert len(starts) == num_buckets // 2 - 1
    assert list(starts) == sorted(starts)
    assert starts[-1] <= max_distance


def test_buckets_and_bias_equal_the_recorded_ones(recording_of) -> None:
    recording = recording_of("base")
    assert torch.equal(relative_buckets(40), recording["buckets"])
    tables = [value for key, value in recording["state_dict"].items() if key.endswith("relative_attention_bias.weight")]
    biases = [F.embedding(relative_buckets(40), table).permute(2, 0, 1) for table in tables]
    assert any(torch.equal(bias, recording["rel_bias"]) for bias in biases)


def plain_attention(attention: TemporalAttention, x_BFC: torch.Tensor) -> torch.Tensor:
    """The same layer written out: scores, rotary, bias, softmax."""
    q, k, v = (layer(x_BFC).unflatten(-1, (attention.heads, -1)).transpose(1, 2) for layer in (attention.to_q, attention.to_k, attention.to_v))
    scale = q.shape[-1] ** -0.5
    if attention.rotary_emb is not None:
        q, k = attention.rotary_emb(q * scale), attention.rotary_emb(k)
        scores = q @ k.transpose(-1, -2) + attention.time_rel_pos_bias(x_BFC.shape[1])
    else:
        scores = q @ k.transpose(-1, -2) * scale
    return attention.to_out[0]((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("rotary", [RotaryEmbedding(), None], ids=["rotary", "no position"])
def test_temporal_attention_equals_the_same_thing_written_out(rotary: RotaryEmbedding | None) -> None:
    attention = randomised(TemporalAttention(80, 2, rotary))
    x_BFNC = torch.randn(2, 9, 5, 80)
    rows = x_BFNC.permute(0, 2, 1, 3).flatten(0, 1)
    expected = plain_attention(attention, rows)
    torch.testing.assert_close(attention(rows), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(attention(x_BFNC), expected.unflatten(0, (2, 5)).permute(0, 2, 1, 3), atol=1e-5, rtol=1e-5)


def test_temporal_attention_over_many_places_is_cut_into_batches_the_kernels_take(monkeypatch: pytest.MonkeyPatch) -> None:
    attention = randomised(TemporalAttention(32, 2, RotaryEmbedding()))
    x = torch.randn(2, 4, 7, 32)
    whole = attention(x)
    monkeypatch.setattr("train.attention.MAX_FUSED_BATCH", 5)
    torch.testing.assert_close(attention(x), whole)


def test_the_relative_bias_is_learned() -> None:
    attention = randomised(TemporalAttention(32, 2, RotaryEmbedding()))
    attention(torch.randn(3, 6, 32)).square().sum().backward()
    gradient = attention.time_rel_pos_bias.relative_attention_bias.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_without_positions_temporal_attention_does_not_know_the_order_of_frames() -> None:
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    x = torch.randn(3, 8, 32)
    blind, aware = (randomised(TemporalAttention(32, 2, rotary)) for rotary in (None, RotaryEmbedding()))
    torch.testing.assert_close(blind(x[:, order]), blind(x)[:, order], atol=1e-5, rtol=1e-5)
    assert (aware(x[:, order]) - aware(x)[:, order]).abs().max() > 1e-2


@pytest.mark.parametrize("num_images", [0, 2])
def test_sparse_causal_attention_sees_the_first_frame_and_the_former_one(num_images: int) -> None:
    attention = randomised(SparseCausalAttention(32, 4))
    frames = 5
    x = torch.randn(2, frames + num_images, 6, 32)
    q, k, v = attention.to_q(x), attention.to_k(x), attention.to_v(x)
    expected = []
    for frame in range(frames + num_images):
        seen = [0, max(frame - 1, 0)] if frame < frames else [frame]
        keys, values = (torch.cat([part[:, index] for index in seen], dim=1) for part in (k, v))
        expected.append(attention.to_out[0](attend(q[:, frame], keys, values, 4)))
    torch.testing.assert_close(attention(x, num_images), torch.stack(expected, dim=1), atol=1e-5, rtol=1e-5)


def test_sparse_causal_attention_on_one_frame_is_plain_attention_to_the_bit() -> None:
    sparse, plain = randomised(SparseCausalAttention(32, 4)), randomised(SpatialAttention(32, 4))
    x = torch.randn(2, 1, 6, 32)
    assert torch.equal(sparse(x), plain(x))


def test_text_is_shared_by_the_frames_of_a_clip_and_each_image_has_its_own() -> None:
    attention = randomised(TextAttention(32, 4, context_channels=24))
    x = torch.randn(2, 5, 6, 32)
    text = torch.randn(2, 3, 7, 24)
    joint = attention(x, text, num_images=2)
    for frame in range(5):
        caption = text[:, max(0, frame - 2)]
        torch.testing.assert_close(joint[:, frame], attention(x[:, frame : frame + 1], caption)[:, 0], atol=1e-5, rtol=1e-5)


def test_heads_that_do_not_divide_the_channels_are_refused_with_advice() -> None:
    with pytest.raises(ValueError, match="50 channels cannot be split into 8 attention heads"):
        SpatialAttention(50, 8)
