"""First weights: fresh under a seed, from image models without changing what they draw, from published files, from earlier runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from schemas.document import DocumentError
from train.lavie import export_published
from train.presets import Stage, unet_config
from train.unet import VideoUNet, is_temporal
from train.weights import inflate, initialise, reset

SHARED = {"layers_per_block": 1, "cross_attention_dim": 24, "attention_head_dim": 2}


def image_unet_like_stable_diffusion(**changes: Any) -> UNet2DConditionModel:
    torch.manual_seed(0)
    settings: dict[str, Any] = SHARED | {
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    return UNet2DConditionModel(**(settings | changes)).eval()


def image_unet_like_the_upscaler() -> UNet2DConditionModel:
    torch.manual_seed(1)
    return UNet2DConditionModel(
        in_channels=7,
        block_out_channels=(32, 32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        use_linear_projection=True,
        only_cross_attention=(True, True, False),
        num_class_embeds=50,
        **SHARED,
    ).eval()


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    image_unet_like_stable_diffusion().save_pretrained(tmp_path / "image")
    return tmp_path / "image"


@pytest.mark.parametrize(
    ("make_image_unet", "stage"),
    [(image_unet_like_stable_diffusion, "base"), (image_unet_like_stable_diffusion, "interpolation"), (image_unet_like_the_upscaler, "vsr")],
)
@pytest.mark.parametrize("size", [(16, 16), (10, 14)], ids=["even", "odd halves"])
def test_a_clip_of_one_frame_equals_the_image_model_to_the_bit(
    make_image_unet: Callable[[], UNet2DConditionModel], stage: Stage, size: tuple[int, int], tmp_path: Path
) -> None:
    image_unet = make_image_unet()
    image_unet.save_pretrained(tmp_path)
    model = inflate(tmp_path, stage).eval()
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(2, image_unet.config["in_channels"], *size, generator=generator)
    timestep, text = torch.tensor([3, 500]), torch.randn(2, 7, 24, generator=generator)
    levels = torch.tensor([7, 20]) if stage == "vsr" else None
    sample = torch.cat([image, torch.randn(image.shape, generator=generator)], dim=1) if stage == "interpolation" else image
    with torch.no_grad():
        expected = image_unet(image, timestep, text, class_labels=levels).sample
        assert torch.equal(model(sample[:, :, None], timestep, text, class_labels=levels)[:, :, 0], expected)


@pytest.mark.parametrize("stage", ["base", "interpolation"])
def test_a_network_that_exists_takes_an_image_models_weights(stage: Stage, image_folder: Path, tmp_path: Path) -> None:
    model, expected = inflate(image_folder, stage, seed=5), inflate(image_folder, stage, seed=5).state_dict()
    reset(model, 9)
    start = initialise(model, f"sd:{image_folder}", seed=5)
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
    assert start.fresh
    assert all(is_temporal(key) for key in start.fresh)
    assert not any(is_temporal(key) for key in start.loaded)
    pipeline = tmp_path / "pipeline"
    pipeline.mkdir()
    image_folder.rename(pipeline / "unet")
    assert initialise(model, f"sd:{pipeline}", seed=5).loaded == start.loaded


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state_alone(image_folder: Path) -> None:
    model = inflate(image_folder, "base")
    before = torch.random.get_rng_state()
    draws = []
    for seed in (1, 1, 2):
        initialise(model, "scratch", seed)
        draws.append({key: value.clone() for key, value in model.state_dict().items()})
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(value, draws[1][key]) for key, value in draws[0].items())
    assert not torch.equal(draws[2]["conv_in.weight"], draws[0]["conv_in.weight"])


def test_published_weights_fill_a_network_of_their_stage(image_folder: Path, tmp_path: Path) -> None:
    source = inflate(image_folder, "base", seed=1)
    with torch.no_grad():
        source.mid_block.attentions[0].transformer_blocks[0].attn_temp.to_out[0].weight.normal_()
    export_published(source, tmp_path / "base.pt")
    model = inflate(image_folder, "base", seed=2)
    start = initialise(model, f"lavie:{tmp_path / 'base.pt'}", seed=3)
    assert (start.fresh, start.unused) == ((), ())
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in model.state_dict().items())


def test_interpolation_starts_from_a_base_run_as_in_the_paper(image_folder: Path, tmp_path: Path) -> None:
    base = inflate(image_folder, "base", seed=1)
    base.save_pretrained(tmp_path / "run")
    model = inflate(image_folder, "interpolation", seed=2)
    start = initialise(model, f"run:{tmp_path / 'run'}", seed=3)
    assert start.fresh == ()
    assert all("time_rel_pos_bias" in key for key in start.unused)
    assert torch.equal(model.conv_in.weight[:, :4], base.conv_in.weight)
    assert not model.conv_in.weight[:, 4:].any()


@pytest.mark.parametrize("stage", ["base", "interpolation", "vsr"])
def test_every_stage_finds_its_own_weights_in_the_folder_of_a_run(stage: Stage, tmp_path: Path) -> None:
    saved = {}
    for index, name in enumerate(("base", "interpolation", "vsr")):
        network = VideoUNet(**unet_config("tiny", name))  # type: ignore[arg-type]
        reset(network, index)
        network.save_pretrained(tmp_path / "run" / "cascade" / name)
        saved[name] = network
    model = VideoUNet(**unet_config("tiny", stage))
    start = initialise(model, f"run:{tmp_path / 'run'}", seed=7)
    assert (start.fresh, start.unused) == ((), ())
    assert torch.equal(model.conv_out.weight, saved[stage].conv_out.weight)


def test_a_tiny_interpolation_starts_whole_from_a_run_that_has_only_a_base(tmp_path: Path) -> None:
    base = VideoUNet(**unet_config("tiny", "base"))
    base.save_pretrained(tmp_path / "run" / "cascade" / "base")
    model = VideoUNet(**unet_config("tiny", "interpolation"))
    start = initialise(model, f"run:{tmp_path / 'run'}", seed=7)
    assert (start.fresh, start.unused) == ((), ())
    with pytest.raises(DocumentError, match=r"no config\.json in it nor in cascade/vsr, vsr"):
        initialise(VideoUNet(**unet_config("tiny", "vsr")), f"run:{tmp_path / 'run'}", seed=7)


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path, image_folder: Path) -> None:
    model = inflate(image_folder, "base")
    (image_folder / "diffusion_pytorch_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(DocumentError, match="not a UNet2DConditionModel that can be loaded"):
        initialise(model, f"sd:{image_folder}", seed=0)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("stable-diffusion:here", "choose scratch, lavie:PATH, sd:FOLDER, x4:FOLDER, sd:FOLDER,x4:FOLDER or run:FOLDER"),
        ("sd:", "choose scratch"),
        ("sd:nowhere", "no config.json"),
        ("run:nowhere", "no config.json"),
        ("lavie:nowhere.pt", "no such file"),
    ],
)
def test_specs_that_lead_nowhere_are_refused_with_advice(spec: str, message: str, image_folder: Path) -> None:
    model = inflate(image_folder, "base")
    weights = model.conv_in.weight.clone()
    with pytest.raises(ValueError, match=message):
        initialise(model, spec, seed=0)
    assert torch.equal(model.conv_in.weight, weights)


def test_sources_of_another_shape_or_function_are_refused_by_name(image_folder: Path, tmp_path: Path) -> None:
    model: VideoUNet = inflate(image_folder, "base")
    image_unet_like_stable_diffusion(attention_head_dim=4).save_pretrained(tmp_path / "heads")
    with pytest.raises(ValueError, match="num_attention_heads is 4, this network's is 2"):
        initialise(model, f"sd:{tmp_path / 'heads'}", seed=0)
    image_unet_like_stable_diffusion(cross_attention_dim=32).save_pretrained(tmp_path / "text")
    with pytest.raises(ValueError, match=r"spatial weights are missing, left over or of another shape; the first is .*attn2.to_k"):
        initialise(model, f"sd:{tmp_path / 'text'}", seed=0)
    image_unet_like_stable_diffusion(num_class_embeds=10).save_pretrained(tmp_path / "classes")
    with pytest.raises(ValueError, match="the first is class_embedding"):
        initialise(model, f"sd:{tmp_path / 'classes'}", seed=0)


def test_image_models_with_parts_the_video_network_lacks_are_refused(tmp_path: Path) -> None:
    image_unet_like_stable_diffusion(transformer_layers_per_block=2).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="transformer_layers_per_block = 2"):
        inflate(tmp_path, "base")


def test_a_network_from_scratch_begins_by_adding_nothing_and_learns_from_the_first_step() -> None:
    model = VideoUNet(**unet_config("tiny", "base", latent_channels=4, text_channels=24))
    initialise(model, "scratch", seed=0)
    answer = model(torch.randn(1, 4, 2, 8, 8), 10, torch.randn(1, 3, 24))
    assert not answer.any()
    (answer - 1).square().mean().backward()
    assert model.conv_out.weight.grad.any() and model.conv_out.bias.grad.any()


def test_noise_levels_say_nothing_until_they_are_learned() -> None:
    model = VideoUNet(**unet_config("tiny", "vsr", latent_channels=4, text_channels=24))
    reset(model, seed=0)
    inputs = {"sample": torch.randn(1, 4, 2, 8, 8), "timestep": 10, "encoder_hidden_states": torch.randn(1, 3, 24), "low_res": torch.randn(1, 3, 2, 8, 8)}
    with torch.no_grad():
        low, high = (model(**inputs, class_labels=torch.tensor([level])) for level in (0, 300))
        assert torch.equal(low, high)
        model.class_embedding.weight[300] = 1.0
        assert not torch.equal(low, model(**inputs, class_labels=torch.tensor([300])))
