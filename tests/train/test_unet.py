"""The video UNet as a network: what temporal layers may see, what starts as identity, how it is saved, cast and compiled."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from train.presets import unet_config
from train.temporal import over_video
from train.unet import VideoUNet, is_temporal
from train.weights import reset

STAGES = ("base", "interpolation", "vsr")
TEXT_CHANNELS = 24


def small_config(stage: str, **changes: Any) -> dict[str, Any]:
    """The published arrangement of a stage at toy widths."""
    config = unet_config("lavie", stage, text_channels=TEXT_CHANNELS) | {"block_out_channels": (32, 64), "layers_per_block": 1, "num_attention_heads": 2}
    config |= {"down_attention": (False, True), "only_cross_attention": (stage == "vsr", False)}
    if stage == "vsr":
        config |= {"temporal_down": (0, 1), "temporal_up": (0, 1), "num_class_embeds": 50}
    return config | changes


def small_unet(stage: str, seed: int = 0, **changes: Any) -> VideoUNet:
    """Every weight random, the zero-initialised included, so that nothing is silent."""
    model = VideoUNet(**small_config(stage, **changes))
    reset(model, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 8)
            assert parameter.any(), name
    return model.eval()


def clip(model: VideoUNet, frames: int = 5, height: int = 8, width: int = 12, batch: int = 2, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = {
        "sample": torch.randn(batch, model.config["in_channels"], frames, height, width, generator=generator),
        "timestep": torch.randint(0, 1000, (batch,), generator=generator),
        "encoder_hidden_states": torch.randn(batch, 7, TEXT_CHANNELS, generator=generator),
    }
    if model.config["num_class_embeds"]:
        inputs["class_labels"] = torch.randint(0, 50, (batch,), generator=generator)
    return inputs


@pytest.mark.parametrize("stage", STAGES)
def test_in_transformers_frames_see_each_other_and_still_images_nothing_but_themselves(stage: str) -> None:
    transformer = small_unet(stage).mid_block.attentions[0]
    torch.manual_seed(0)
    x = torch.randn(2, 64, 6, 4, 4)
    text = torch.randn(2, 3, 7, TEXT_CHANNELS)
    other_video, other_images = x.clone(), x.clone()
    other_video[:, :, 1] = torch.randn(2, 64, 4, 4)
    other_images[:, :, 4:] = torch.randn(2, 64, 2, 4, 4)
    with torch.no_grad():
        out, with_other_video, with_other_images = (transformer(value, text, 2) for value in (x, other_video, other_images))
        alone = transformer(x[:, :, 4:5], text[:, 1], 0) if stage == "base" else None
    assert torch.equal(with_other_video[:, :, 4:], out[:, :, 4:])
    assert torch.equal(with_other_images[:, :, :4], out[:, :, :4])
    assert ((with_other_video - out)[:, :, :4].abs().amax(dim=(0, 1, 3, 4)) > 1e-4).all()
    assert alone is None or (alone[:, :, 0] - out[:, :, 4]).abs().max() > 1e-4  # as a video of one frame, its temporal layer would act on it


def test_temporal_modules_pass_still_images_on_untouched() -> None:
    model = small_unet("vsr")
    x, time = torch.randn(2, 64, 6, 4, 4), torch.randn(2, 128)
    with torch.no_grad():
        out = over_video(model.mid_temporal_block, x, 2, time)
        assert torch.equal(out[:, :, 4:], x[:, :, 4:])
        assert torch.equal(out[:, :, :4], model.mid_temporal_block(x[:, :, :4], time))


def test_still_images_share_the_resnet_statistics_of_their_video() -> None:
    model = small_unet("base")
    inputs = clip(model)
    louder = inputs["sample"].clone()
    louder[:, :, 0] *= 3
    with torch.no_grad():
        moved = model(**(inputs | {"sample": louder}), num_images=2) - model(**inputs, num_images=2)
    assert (moved[:, :, 3:].abs().amax(dim=(0, 1, 3, 4)) > 1e-4).all()


@pytest.mark.parametrize("stage", STAGES)
def test_fresh_temporal_parts_leave_every_frame_alone(stage: str) -> None:
    """A repeated frame has the pooled statistics of one frame, so a network whose temporal parts are silent predicts the same for all."""
    model = VideoUNet(**small_config(stage)).eval()
    inputs = clip(model, frames=1)
    with torch.no_grad():
        one = model(**inputs)
        four = model(**(inputs | {"sample": inputs["sample"].repeat(1, 1, 4, 1, 1)}))
    torch.testing.assert_close(four, one.expand_as(four), atol=1e-5, rtol=1e-5)


def test_the_reference_leaves_its_temporal_bias_random_and_identity_does_not() -> None:
    for stage in STAGES:
        for temporal_init in ("identity", "reference"):
            model = VideoUNet(**small_config(stage, temporal_init=temporal_init))
            for name, parameter in model.named_parameters():
                if "attn_temp" in name and ".to_out.0." in name:
                    assert parameter.any().item() == (temporal_init == "reference" and name.endswith("bias")), name
                if "resblock_temporal.conv2" in name:
                    assert parameter.any().item() == (temporal_init == "reference"), name
                if "shift_conv" in name:
                    assert not parameter.any(), name


@pytest.mark.parametrize("stage", STAGES)
def test_a_saved_network_comes_back_whole(stage: str, tmp_path: Path) -> None:
    model = small_unet(stage)
    model.save_pretrained(tmp_path)
    again = VideoUNet.from_pretrained(tmp_path)
    assert (tmp_path / "diffusion_pytorch_model.safetensors").is_file()
    assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in model.parameters())
    inputs = clip(model)
    with torch.no_grad():
        assert torch.equal(again(**inputs), model(**inputs))


@pytest.mark.parametrize("stage", STAGES)
def test_checkpointing_trades_memory_for_time_and_nothing_else(stage: str) -> None:
    model = small_unet(stage)
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.enable_gradient_checkpointing()
        model.zero_grad()
        model(**clip(model)).square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain)


@pytest.mark.parametrize("stage", STAGES)
def test_every_trainable_weight_gets_a_gradient(stage: str) -> None:
    model = small_unet(stage)
    model(**clip(model)).square().mean().backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None]


@pytest.mark.parametrize("stage", STAGES)
def test_channels_last_is_the_same_function(stage: str) -> None:
    model = small_unet(stage)
    inputs = clip(model)
    with torch.no_grad():
        expected = model(**inputs)
        torch.testing.assert_close(model.use_channels_last()(**inputs), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stage", STAGES)
def test_bfloat16_autocast_stays_near_float32(stage: str) -> None:
    model = small_unet(stage)
    inputs = clip(model)
    with torch.no_grad():
        expected = model(**inputs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            cast = model(**inputs)
        halved = model.bfloat16()(**{key: value.bfloat16() if value.is_floating_point() else value for key, value in inputs.items()})
    scale = expected.abs().mean()
    assert (cast.float() - expected).abs().mean() < 0.03 * scale
    assert (halved.float() - expected).abs().mean() < 0.05 * scale


def test_one_time_may_serve_all_samples_and_each_may_have_its_own() -> None:
    model = small_unet("base")
    inputs = clip(model)
    with torch.no_grad():
        for timestep in (7, torch.tensor(7), torch.tensor([7])):
            assert torch.equal(model(**(inputs | {"timestep": timestep})), model(**(inputs | {"timestep": torch.tensor([7, 7])})))
        swapped = {key: value.flip(0) for key, value in inputs.items()}
        torch.testing.assert_close(model(**swapped), model(**inputs).flip(0), atol=1e-5, rtol=1e-5)


def test_low_resolution_frames_join_the_channels() -> None:
    model = small_unet("vsr")
    inputs = clip(model)
    with torch.no_grad():
        together = model(**inputs)
        apart = model(**(inputs | {"sample": inputs["sample"][:, :4], "low_res": inputs["sample"][:, 4:]}))
    assert torch.equal(together, apart)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample": torch.zeros(2, 3, 5, 8, 8)}, r"must be \(B, 7, F, H, W\), not \(2, 3, 5, 8, 8\)"),
        ({"num_images": 5}, "at least one frame of video"),
        ({"encoder_hidden_states": torch.zeros(2, 2, 7, TEXT_CHANNELS)}, r"joint text must be \(B, 1, L, D\)"),
        ({"class_labels": None}, "needs class_labels"),
    ],
)
def test_wrong_inputs_are_named(change: dict[str, Any], message: str) -> None:
    model = small_unet("vsr")
    with pytest.raises(ValueError, match=message):
        model(**(clip(model) | change))


def test_settings_that_do_not_fit_the_levels_are_named() -> None:
    with pytest.raises(ValueError, match="num_attention_heads has 3 values for 2 levels"):
        VideoUNet(**small_config("base", num_attention_heads=(1, 2, 4)))


@pytest.mark.parametrize("preset", ["tiny", "compact"])
@pytest.mark.parametrize("stage", STAGES)
def test_presets_are_of_the_size_they_promise(preset: str, stage: str) -> None:
    with torch.device("meta"):
        model = VideoUNet(**unet_config(preset, stage, latent_channels=12))
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert millions < 2 if preset == "tiny" else 100 < millions < 150
    assert model.config["out_channels"] == 12
    assert model.config["in_channels"] == {"base": 12, "interpolation": 24, "vsr": 15}[stage]


def test_unknown_presets_and_stages_are_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="choose one of tiny, compact, lavie"):
        unet_config("huge", "base")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="choose one of base, interpolation, vsr"):
        unet_config("tiny", "final")  # type: ignore[arg-type]


def test_temporal_parameters_are_told_by_name() -> None:
    model = small_unet("vsr")
    spatial = {name for name, _ in model.named_parameters() if not is_temporal(name)}
    assert not [name for name in spatial if "temporal" in name]
    assert {name.split(".")[0] for name in spatial} == {
        "conv_in",
        "time_embedding",
        "class_embedding",
        "down_blocks",
        "mid_block",
        "up_blocks",
        "conv_norm_out",
        "conv_out",
    }


def test_the_whole_forward_pass_is_one_graph_for_the_compiler() -> None:
    one_level = {"block_out_channels": (32,), "down_attention": (True,), "only_cross_attention": False, "temporal_down": (0,), "temporal_up": (0,)}
    model = small_unet("vsr", **one_level)
    inputs = clip(model)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(**inputs), model(**inputs))


def test_numbered_frames_tell_equal_frames_apart_and_leave_still_images_alone() -> None:
    """Without numbers, equal frames stay equal through attention over time: nothing says which way time runs."""
    still = clip(small_unet("base"), frames=1)
    still["sample"] = still["sample"].expand(-1, -1, 4, -1, -1)
    for numbered in (False, True):
        model = small_unet("base", frame_positions=numbered)
        with torch.no_grad():
            out = model(**still)
        assert torch.allclose(out, out[:, :, :1].expand_as(out), atol=1e-5) is not numbered
    state = torch.randn(2, 32, 6, 4, 4)
    changed = model._numbered(state, 2) != state
    assert changed[:, :, :4].any() and not changed[:, :, 4:].any()


def test_a_summary_of_the_caption_reaches_places_that_no_word_is_attended_from() -> None:
    model = small_unet("base", down_attention=(False, False), text_summary=True)
    inputs = clip(model)
    padded = {**inputs, "encoder_hidden_states": torch.nn.functional.pad(inputs["encoder_hidden_states"], (0, 0, 0, 3))}
    other = {**inputs, "encoder_hidden_states": inputs["encoder_hidden_states"].flip(-1)}
    with torch.no_grad():
        out, same, changed = (model(**told) for told in (inputs, padded, other))
    text = inputs["encoder_hidden_states"]
    assert torch.allclose(model.summary(padded["encoder_hidden_states"]), model.summary(text), atol=1e-6)
    assert not torch.allclose(model.summary(other["encoder_hidden_states"]), model.summary(text), atol=1e-3)
    assert out.shape == same.shape and not torch.allclose(out, changed, atol=1e-4)


def test_places_are_told_apart_whatever_the_size_of_the_picture() -> None:
    model = small_unet("base", place_positions=True)
    small, large = (model.places(torch.zeros(1, 32, 2, size, size))[0, :, 0] for size in (4, 12))
    assert small.flatten(1).T.unique(dim=0).shape[0] == 16
    assert torch.allclose(small, large[:, 1::3, 1::3], atol=1e-5)


def test_the_published_networks_number_no_frames_and_the_small_ones_do() -> None:
    numbered = {(preset, stage): unet_config(preset, stage).get("frame_positions", False) for preset in ("tiny", "compact", "lavie") for stage in STAGES}
    assert {preset for (preset, _), wanted in numbered.items() if wanted} == {"tiny", "compact"}
    assert all(numbered[preset, stage] for preset in ("tiny", "compact") for stage in STAGES)
