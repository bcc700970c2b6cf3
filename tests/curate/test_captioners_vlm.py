"""The `vlm` captioner with small real architectures in the hub's own layout, compared word for word with transformers itself."""

import json

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curate.captioners import CaptionError, captioner_named
from curate.captioners.describe import Describe
from curate.captioners.endpoint import Endpoint
from curate.captioners.vlm import VisionLanguage
from curate.models import ModelError, weights
from curate.scorers.base import ClipBatch, Picture
from schemas.document import DocumentError

TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}"
)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (36, 64, 3), np.uint8)


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels[:, :, ::-1])[1].tobytes()


def clip(*pictures: bytes, seconds: float = 4.0) -> ClipBatch:
    shown = tuple(Picture(image, seconds * (at + 0.5) / len(pictures)) for at, image in enumerate(pictures))
    return ClipBatch(pa.table({"clip_id": ["c"], "start_s": [0.0], "end_s": [seconds]}), [shown])


def words(*special: str):
    """A real tokenizer, MiniLM's word pieces, with more special tokens."""
    from transformers import PreTrainedTokenizerFast

    named = {"unk_token": "[UNK]", "pad_token": "[PAD]", "bos_token": "[CLS]", "eos_token": "[SEP]"}
    made = PreTrainedTokenizerFast(tokenizer_file=str(weights("all-minilm-l6-v2")[2]), **named)
    made.add_special_tokens({"additional_special_tokens": list(special)})
    return made


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    """BLIP-2 of two layers."""
    import torch
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor, BlipImageProcessor, OPTConfig

    folder = tmp_path_factory.mktemp("blip")
    tokenizer = words("<image>")
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = OPTConfig(vocab_size=len(tokenizer), hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=2, word_embed_proj_dim=32, pad_token_id=0)
    config = Blip2Config(
        vision_config={**small, "image_size": 28, "patch_size": 14},
        qformer_config={**small, "encoder_hidden_size": 32, "vocab_size": len(tokenizer)},
        text_config=text.to_dict(),
        num_query_tokens=4,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(0)
    Blip2ForConditionalGeneration(config).save_pretrained(folder)
    Blip2Processor(BlipImageProcessor(size={"height": 28, "width": 28}), tokenizer, num_query_tokens=4).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    """Qwen2-VL of two layers."""
    import torch
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    folder = tmp_path_factory.mktemp("qwen")
    tokenizer = words("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("vision_start", "vision_end", "image_pad", "video_pad")}
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0},
            "bos_token_id": 101,
            "eos_token_id": 102,
        },
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "patch_size": 14},
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
    )
    torch.manual_seed(0)
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    sizes = {"min_pixels": 28 * 28, "max_pixels": 28 * 56}
    processor = Qwen2VLProcessor(Qwen2VLImageProcessor(**sizes), tokenizer, Qwen2VLVideoProcessor(**sizes), chat_template=TEMPLATE)
    processor.save_pretrained(folder)
    return folder


def ready(folder, prompt: str, **settings) -> VisionLanguage:
    made = VisionLanguage(str(folder), prompt, answer_tokens=8, **settings)
    made.setup()
    return made


def generated(folder, images: list[np.ndarray], text: str) -> str:
    """What transformers says by itself."""
    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor, network = AutoProcessor.from_pretrained(folder), AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    asked = processor(images=[Image.fromarray(image) for image in images], text=text, return_tensors="pt")
    with torch.inference_mode():
        made = network.generate(**asked, max_new_tokens=8, do_sample=False)
    return processor.decode(made[0, asked["input_ids"].shape[1] :], skip_special_tokens=True).strip()


def test_blip_goes_on_from_the_prompt_as_in_transformers(blip):
    ((caption,),) = ready(blip, "a video of").write(clip(png(picture(1)), png(picture(2)), png(picture(3))))
    assert caption.text == generated(blip, [picture(2)], "a video of") and caption.text
    assert (caption.prompt, caption.problem, caption.start_s, caption.end_s) == ("a video of", None, 0.0, 4.0)


def test_qwen_is_shown_several_frames_and_asked_as_in_transformers(qwen):
    ((caption,),) = ready(qwen, "say what is seen", frames=2).write(clip(png(picture(1)), png(picture(2))))
    shown = "<|vision_start|><|image_pad|><|vision_end|>" * 2
    assert caption.text == generated(qwen, [picture(1), picture(2)], f"{shown}say what is seen") and caption.text


def test_a_picture_that_does_not_decode_is_a_problem_of_its_clip_only(blip):
    made = ready(blip, "a video of")
    ((broken,),) = made.write(clip(b"not a picture"))
    assert broken.problem == "a proxy is not a readable picture"
    assert made.write(clip()) == [[]]
    assert [round(each.end_s, 1) for each in made.write(clip(png(picture(1)), png(picture(2)), seconds=30.0))[0]] == [15.0, 30.0]


def test_an_identity_follows_weights_and_prompt(blip, qwen):
    names = {VisionLanguage(str(folder), prompt).identity() for folder in (blip, qwen) for prompt in ("Say.", "Tell.")}
    assert len(names) == 4 and all(name.startswith("vlm@1-") for name in names)


def test_a_model_that_is_not_here_says_how_to_get_it():
    with pytest.raises(ModelError, match="hf download someone/some-model"):
        VisionLanguage("someone/some-model").identity()


def test_code_and_pickles_of_a_repository_are_not_run(blip, tmp_path):
    ran = tmp_path / "ran"
    for path in blip.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ModelError, match="no \\*.safetensors"):
        ready(tmp_path, "a video of")
    (tmp_path / "model.safetensors").write_bytes((blip / "model.safetensors").read_bytes())
    config = json.loads((blip / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForImageTextToText": "evil.Evil"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text(f"open({str(ran)!r}, 'w')")
    with pytest.raises(ValueError, match="trust_remote_code|does not recognize"):
        ready(tmp_path, "a video of")
    assert not ran.exists()


def test_captioners_are_asked_for_by_name(blip):
    assert isinstance(captioner_named("describe"), Describe)
    assert captioner_named(f"vlm:{blip}").model == str(blip)
    asking = captioner_named("openai:http://localhost:8000/v1#Qwen/Qwen2.5-VL-7B-Instruct")
    assert isinstance(asking, Endpoint) and (asking.service.url, asking.service.model) == ("http://localhost:8000/v1", "Qwen/Qwen2.5-VL-7B-Instruct")
    for wrong in ("blip", "vlm", "openai:http://localhost:8000/v1", "describe:me", ""):
        with pytest.raises(CaptionError, match="vlm:MODEL"):
            captioner_named(wrong)


def test_captioners_are_told_more_in_a_file_and_the_command_stands_over_it(tmp_path):
    file = tmp_path / "service.toml"
    file.write_text('url = "http://localhost:8000/v1"\nmodel = "m"\nprompt = "Say it."\nframes = 3\nwindow_s = 5\nprice_in = 0.5\nkey_variable = "MY_KEY"\n')
    asking = captioner_named(str(file), {"price_out": 2.0, "prompt": "Say it shortly."})
    told = (asking.service.frames, asking.service.window_s, asking.service.key_variable, asking.service.timeout_s)
    assert told == (3, 5.0, "MY_KEY", 60.0) and asking.prompt == "Say it shortly."
    assert asking.cost(1_000_000, 500_000) == pytest.approx(1.5)
    assert asking.identity() != captioner_named(str(file)).identity() and captioner_named("describe", {"prompt": "x"}) is captioner_named("describe")
    here = captioner_named("vlm:someone/small", {"prompt": "a film of"})
    assert (here.model, here.prompt, here.frames) == ("someone/small", "a film of", 4)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ('model = "m"', "needs `url`"),
        ('kind = "vlm"\nmodel = "m"\nprice_in = 1', "`price_in` is of a service"),
        ('url = "ftp://x"\nmodel = "m"', "url"),
        ('url = "http://x"\nmodel = "m"\nframe = 3', "frames"),
        ('url = "http://x"\nmodel = "m"\nprice_in = -1', "line 3"),
    ],
)
def test_a_wrong_file_is_refused_with_advice(tmp_path, text, advice):
    (tmp_path / "service.toml").write_text(text)
    with pytest.raises(DocumentError, match=advice):
        captioner_named(str(tmp_path / "service.toml"))
