"""Parity with LaVie's reference network: recorded outputs, gradients, key layouts and the published file format."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from train.lavie import export_published, from_recording, load_published, read_published, stage_of
from train.lavie_config import translate_config
from train.presets import unet_config
from train.unet import VideoUNet

STAGES = ("base", "interpolation", "vsr")
TOLERANCE = 1e-4
Recordings = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def stage_model(request: pytest.FixtureRequest, recording_of: Recordings) -> tuple[dict[str, Any], VideoUNet]:
    recording = recording_of(request.param)
    return recording, from_recording(recording["config"], recording["state_dict"])


def off_by(model: VideoUNet, case: dict[str, Any], **inputs: Any) -> float:
    arguments = {key: value for key, value in case.items() if key not in ("out", "use_image_num")}
    with torch.no_grad():
        out = model(**arguments, **inputs)
    assert out.shape == case["out"].shape
    return (out - case["out"]).abs().max().item()


@pytest.mark.parametrize("stage_model", STAGES, indirect=True)
def test_every_recorded_output_is_reproduced(stage_model: tuple[dict[str, Any], VideoUNet]) -> None:
    recording, model = stage_model
    assert not model.training
    assert [off_by(model, case) < TOLERANCE for case in recording["cases"]] == [True] * len(recording["cases"])


@pytest.mark.parametrize("stage_model", STAGES, indirect=True)
def test_channels_last_memory_reproduces_them_too(stage_model: tuple[dict[str, Any], VideoUNet]) -> None:
    recording, _ = stage_model
    model = from_recording(recording["config"], recording["state_dict"]).use_channels_last()
    assert max(off_by(model, case) for case in recording["cases"]) < TOLERANCE


@pytest.mark.parametrize("stage_model", STAGES, indirect=True)
def test_the_key_map_is_the_identity(stage_model: tuple[dict[str, Any], VideoUNet]) -> None:
    recording, model = stage_model
    assert {key: value.shape for key, value in model.state_dict().items()} == {key: value.shape for key, value in recording["state_dict"].items()}
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, recording["state_dict"][key], atol=1e-6, rtol=1e-6, msg=key)


@pytest.mark.parametrize("stage_model", ["base"], indirect=True)
def test_images_beside_video_are_reproduced(stage_model: tuple[dict[str, Any], VideoUNet]) -> None:
    recording, model = stage_model
    assert off_by(model, recording["joint"], num_images=recording["joint"]["use_image_num"]) < TOLERANCE


@pytest.mark.parametrize("stage_model", ["base"], indirect=True)
@pytest.mark.parametrize(("name", "inputs"), [("attn_temp", ("x",)), ("transformer3d", ("x", "c"))])
def test_isolated_modules_of_base_are_reproduced(stage_model: tuple[dict[str, Any], VideoUNet], name: str, inputs: tuple[str, ...]) -> None:
    recording, model = stage_model
    isolated = recording[name]
    with torch.no_grad():
        out = model.get_submodule(isolated["key"])(*(isolated[key] for key in inputs))
    assert (out - isolated["y"]).abs().max() < TOLERANCE


@pytest.mark.parametrize("stage_model", ["vsr"], indirect=True)
def test_the_temporal_module_of_super_resolution_is_reproduced(stage_model: tuple[dict[str, Any], VideoUNet]) -> None:
    recording, model = stage_model
    isolated = recording["temporal_module"]
    assert (model.get_submodule(isolated["key"])(isolated["x"], isolated["temb"]) - isolated["y"]).abs().max() < TOLERANCE


@pytest.mark.parametrize("stage_model", ["base"], indirect=True)
def test_loss_and_gradient_norms_are_reproduced(stage_model: tuple[dict[str, Any], VideoUNet]) -> None:
    recording, model = stage_model
    case, recorded = recording["cases"][1], recording["grad"]
    model.zero_grad()
    loss = F.mse_loss(model(case["sample"], case["timestep"], case["encoder_hidden_states"]), recorded["noise"])
    loss.backward()
    assert abs(loss.item() - recorded["loss"].item()) < TOLERANCE
    parameters = dict(model.named_parameters())
    assert recorded["norms"]
    for name, norm in recorded["norms"].items():
        assert abs(parameters[name].grad.norm().item() - norm) < TOLERANCE, name


@pytest.mark.parametrize("stage_model", ["interpolation"], indirect=True)
def test_guidance_over_two_halves_of_a_batch_is_reproduced(stage_model: tuple[dict[str, Any], VideoUNet]) -> None:
    recording, model = stage_model
    case = recording["cfg"]
    twice = case["x"][:1].repeat(2, 1, 1, 1, 1)
    with torch.no_grad():
        conditional, unconditional = model(twice, case["t"], case["c"]).chunk(2)
    guided = unconditional + case["scale"] * (conditional - unconditional)
    assert (guided.repeat(2, 1, 1, 1, 1) - case["y"]).abs().max() < TOLERANCE


@pytest.mark.parametrize("stage_model", STAGES, indirect=True)
def test_weights_without_the_rotary_constants_are_whole(stage_model: tuple[dict[str, Any], VideoUNet]) -> None:
    recording, _ = stage_model
    without = {key: value for key, value in recording["state_dict"].items() if not key.endswith("rotary_emb.freqs")}
    assert off_by(from_recording(recording["config"], without), recording["cases"][-1]) < TOLERANCE


@pytest.mark.parametrize(("stage", "parameters"), [("base", 909_124_116), ("interpolation", 909_131_524), ("vsr", 691_036_436)])
def test_full_size_networks_have_the_published_keys_shapes_and_size(shared: Path, stage: str, parameters: int) -> None:
    with torch.device("meta"):
        model = VideoUNet(**unet_config("lavie", stage))
    published = dict(line.split("\t") for line in (shared / "lavie" / f"keys-{stage}.txt").read_text().splitlines())
    assert {key: str(tuple(value.shape)) for key, value in model.state_dict().items()} == published
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


PUBLISHED_CONFIG = {
    "block_out_channels": [32, 64],
    "layers_per_block": 1,
    "cross_attention_dim": 24,
    "attention_head_dim": 2,
    "down_block_types": ["DownBlock3D", "CrossAttnDownBlock3D"],
    "up_block_types": ["CrossAttnUpBlock3D", "UpBlock3D"],
}
OF_STAGE: dict[str, dict[str, Any]] = {
    "base": {},
    "interpolation": {"in_channels": 8, "use_first_frame": True},
    "vsr": {
        "in_channels": 7,
        "only_cross_attention": [True, False],
        "num_class_embeds": 50,
        "down_temporal_idx": [0],
        "mid_temporal": True,
        "up_temporal_idx": [1],
    },
}


def toy(stage: str) -> tuple[dict[str, Any], VideoUNet]:
    config = PUBLISHED_CONFIG | OF_STAGE[stage]
    return config, VideoUNet(**translate_config(config, stage)).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", STAGES)
def test_the_stage_is_told_by_the_weights(stage: str) -> None:
    config, model = toy(stage)
    assert stage_of(model.state_dict()) == stage
    again = from_recording(config, model.state_dict())
    assert {key: value for key, value in again.config.items() if not key.startswith("_")} == {k: v for k, v in model.config.items() if not k.startswith("_")}


@pytest.mark.parametrize("stage", STAGES)
def test_an_exported_network_is_imported_unchanged(stage: str, tmp_path: Path) -> None:
    _, model = toy(stage)
    export_published(model, tmp_path / "weights.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pt"]
    assert read_published(tmp_path / "weights.pt").keys() == model.state_dict().keys()
    again = load_published(tmp_path / "weights.pt", stage, dict(model.config))  # type: ignore[arg-type]
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in again.state_dict().items())
    assert not again.training


def test_a_file_is_read_with_or_without_its_ema_wrapper(tmp_path: Path) -> None:
    _, model = toy("base")
    torch.save(model.state_dict(), tmp_path / "plain.pt")
    torch.save({"ema": model.state_dict(), "opt": {"lr": 1.0}}, tmp_path / "wrapped.pt")
    for name in ("plain.pt", "wrapped.pt"):
        assert torch.equal(read_published(tmp_path / name)["conv_in.weight"], model.conv_in.weight)


class Surprise:
    """What a hostile checkpoint would hold: code to run while unpickling."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("touched").touch, ())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"not a checkpoint", "cannot|not a PyTorch file"),
        ({"conv_in.weight": "text"}, "expected a dictionary of tensors"),
        ({"ema": {}}, "expected a dictionary of tensors"),
        ({"surprise": Surprise()}, "not a PyTorch file that can be read safely"),
    ],
)
def test_files_that_are_not_checkpoints_are_refused_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        read_published(path)
    assert not (tmp_path / "touched").exists()


def test_weights_of_another_stage_or_size_are_refused_by_name(tmp_path: Path) -> None:
    _, base = toy("base")
    export_published(base, tmp_path / "base.pt")
    with pytest.raises(ValueError, match="weights of the base stage, not of vsr"):
        load_published(tmp_path / "base.pt", "vsr")
    with pytest.raises(ValueError, match=r"base\.pt: \d+ keys or shapes differ"):
        load_published(tmp_path / "base.pt", "base")
    with pytest.raises(ValueError, match="no temporal attention"):
        stage_of({"conv_in.weight": torch.zeros(1)})


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_configuration_leaves_out_has_the_published_default(stage: str) -> None:
    """As the published classes state them; super-resolution's differ from the other two's."""
    ours = translate_config({}, stage)  # type: ignore[arg-type]
    assert ours["cross_attention_dim"] == (1024 if stage == "vsr" else 1280)
    assert ours["num_attention_heads"] == 8
    assert ours["down_attention"] == ((False, True, True, True) if stage == "vsr" else (True, True, True, False))
    assert ours["up_attention"] == ((True, True, True, False) if stage == "vsr" else (False, True, True, True))
    assert ours["spatial_attention"] == "full"
    if stage == "vsr":
        assert (ours["temporal_down"], ours["temporal_middle"], ours["temporal_up"]) == ((0, 1, 2), False, (0, 1, 2))
        assert (ours["in_channels"], ours["num_class_embeds"], ours["use_linear_projection"]) == (7, 1000, True)


CONDITIONED = PUBLISHED_CONFIG | OF_STAGE["vsr"] | {"block_out_channels": [128, 128]}


def test_whether_temporal_modules_see_the_low_resolution_frames_is_read_from_the_weights_where_the_configuration_is_silent() -> None:
    """It is on by default in the published class, off in the published sampling script."""
    weights = VideoUNet(**translate_config(CONDITIONED | {"video_condition": True}, "vsr")).state_dict()
    assert from_recording(CONDITIONED, weights).config["temporal_condition"]
    assert not toy("vsr")[1].config["temporal_condition"]
    with pytest.raises(ValueError, match="keys or shapes differ"):
        from_recording(CONDITIONED | {"video_condition": False}, weights)


def test_a_network_whose_temporal_modules_see_the_low_resolution_frames_asks_for_them_by_name() -> None:
    model = VideoUNet(**translate_config(CONDITIONED | {"video_condition": True}, "vsr"))
    joined, text, levels = torch.zeros(1, 7, 2, 8, 8), torch.zeros(1, 3, 24), torch.zeros(1, dtype=torch.long)
    with pytest.raises(ValueError, match="needs low_res by itself"):
        model(joined, 1, text, class_labels=levels)


def test_names_that_the_published_classes_do_not_have_are_said_and_ignored() -> None:
    config, model = toy("base")
    with pytest.warns(UserWarning, match="config: colour, flavour is no argument of the published networks, and is ignored"):
        again = from_recording(config | {"flavour": 1, "colour": "red", "_diffusers_version": "0.16"}, model.state_dict())
    assert again.config["block_out_channels"] == model.config["block_out_channels"]


def test_relative_positions_in_interpolation_change_nothing_with_one_head_and_cannot_run_with_more() -> None:
    """The published class then makes rotary constants, reads none, and joins the heads wrongly unless there is one."""
    config, model = toy("interpolation")
    with pytest.raises(ValueError, match="no positions over time"):
        from_recording(config | {"use_relative_position": True}, model.state_dict())
    one_head = from_recording(config | {"use_relative_position": True, "attention_head_dim": [1, 1]}, model.state_dict())
    assert one_head.config["temporal_encoding"] == "none"


def module(**told: Any) -> dict[str, Any]:
    return {"temporal_module_config": told}


@pytest.mark.parametrize(
    ("stage", "change", "message"),
    [
        ("base", {"dual_cross_attention": True}, "config dual_cross_attention = True"),
        ("base", {"act_fn": "gelu"}, "config act_fn = 'gelu'"),
        ("base", {"down_block_types": ["DownBlock3D", "AttnDownBlock3D"]}, "'AttnDownBlock3D' is not one of DownBlock3D, CrossAttnDownBlock3D"),
        ("interpolation", {"use_relative_position": True}, "no positions over time"),
        ("vsr", {"downsample_padding": 0}, "cannot halve a size without padding"),
        ("vsr", module(attention_block_types=["self", "Temporal"]), "attention_block_types = .'self', 'Temporal'.: the second must be one of 'Spatial'"),
        ("vsr", module(attention_block_types=["Spatial", ""]), "attention_block_types"),
        ("vsr", module(attention_block_types=["CrossFrame", "Temporal"], cross_frame_attention_mode="i"), "only runs 0_i-1, i-1_i"),
        ("vsr", module(attention_block_types=["", "SpatialTemporalShift"], temporal_shift_direction="left"), "only runs 'right'"),
        ("vsr", module(attention_block_types=["", "Temporal"], use_dcn_warpping=True), "cannot run it without use_deformable_conv"),
    ],
)
def test_switches_the_published_code_cannot_run_are_refused(stage: str, change: dict[str, Any], message: str) -> None:
    config, model = toy(stage)
    with pytest.raises(ValueError, match=message):
        from_recording(config | change, model.state_dict())
