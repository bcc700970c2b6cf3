"""Profile `laion` end to end with small real architectures in the hub's own layout, compared number for number with the reference libraries."""

import json
import shutil

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curate.caption import caption_corpus
from curate.corpus import open_corpus
from curate.embedding.clip_tower import clip_tower
from curate.embedding.features import ClipPictures
from curate.engine import run_here
from curate.models import ModelError
from curate.score import score_corpus
from curate.scorers.base import ClipBatch, Picture
from curate.scorers.laion import judged, read_head
from curate.scorers.published import PUBLISHED
from curate.scorers.zero_shot import CATEGORIES
from curate.storage.views import SPANS
from schemas.clip import PROXIES, clip_id
from schemas.table import table_of
from tests.conftest import improved_head

torch = pytest.importorskip("torch")


def picture(seed: int, height: int = 84, width: int = 144) -> np.ndarray:
    random = np.random.default_rng(seed)
    return cv2.resize(random.integers(0, 255, (6, 9, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def jpeg(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", pixels[:, :, ::-1])[1].tobytes()


@pytest.fixture(scope="module")
def reference(small_models):
    """The same checkpoint in transformers, and its own image processor."""
    from transformers import CLIPImageProcessor, CLIPModel

    processor = CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    return CLIPModel.from_pretrained(small_models / "clip-vit-l-14", local_files_only=True).eval(), processor


def embedded(model, **inputs) -> np.ndarray:
    """Transformers' projected embeddings, of length one."""
    with torch.inference_mode():
        made = model.get_image_features(**inputs) if "pixel_values" in inputs else model.get_text_features(**inputs)
    projected = getattr(made, "pooler_output", made)
    return torch.nn.functional.normalize(projected, dim=-1).numpy()


def test_pictures_embed_as_in_transformers(small_models, reference):
    model, processor = reference
    tower = clip_tower(str(small_models))
    pictures = [picture(1), picture(2, 180, 120), picture(3, 56, 56)]
    prepared = np.stack([tower.prepare(each) for each in pictures])
    theirs = processor(images=pictures, return_tensors="np")["pixel_values"]
    assert np.abs(prepared - theirs).max() < 0.02
    ours = tower.embed_prepared(prepared)
    assert np.abs(ours - embedded(model, pixel_values=torch.from_numpy(prepared))).max() < 1e-5
    assert np.abs(ours - embedded(model, pixel_values=torch.from_numpy(np.asarray(theirs)))).max() < 2e-3


def test_texts_embed_as_in_transformers(small_models, reference):
    import open_clip

    texts = ["a photo of a castle", "", "boats " * 100]
    tokens = open_clip.SimpleTokenizer(context_length=77)(texts)
    theirs = embedded(reference[0], input_ids=tokens)
    assert np.abs(clip_tower(str(small_models)).embed_texts(texts) - theirs).max() < 1e-5


@pytest.mark.parametrize("name", ["laion-aesthetic-v2", "laion-aesthetic-v2-ava", "laion-aesthetic-v2-ava-relu"])
def test_the_improved_predictors_score_as_their_authors_publish_them(small_models, name):
    torch.manual_seed(3)
    embeddings = torch.nn.functional.normalize(torch.randn(5, 768), dim=-1)
    (path,) = (small_models / name).iterdir()
    assert np.abs(judged(read_head(path), embeddings.numpy()) - published(path)(embeddings).numpy()).max() < 1e-4


def test_the_real_improved_predictor_scores_as_laion_publishes_it(shared):
    path = shared / "weights" / "sac+logos+ava1-l14-linearMSE.pth"
    torch.manual_seed(4)
    embeddings = torch.nn.functional.normalize(torch.randn(64, 768), dim=-1)
    ours = judged(read_head(path), embeddings.numpy())
    assert np.abs(ours - published(path)(embeddings).numpy()).max() < 1e-4 and 0 < ours.mean() < 10


def published(path):
    """The improved predictor as its authors define it, with a checkpoint's weights."""
    network = torch.nn.ModuleDict({"layers": improved_head(768, relu="relu" in path.name)}).eval()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    def run(embeddings):
        with torch.inference_mode():
            return network["layers"](embeddings.float())[:, 0]

    return run


def test_a_stack_of_layers_that_is_neither_arrangement_is_refused(tmp_path):
    from safetensors.torch import save_file

    layers = torch.nn.ModuleDict({"layers": torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.GELU(), torch.nn.Linear(4, 1))})
    save_file(layers.state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="no aesthetic head that is known"):
        read_head(tmp_path / "other.safetensors")


@pytest.mark.parametrize("cls", PUBLISHED, ids=lambda cls: cls.name)
def test_published_checkpoints_score_as_clips_picture_half_and_head_do_in_transformers(small_models, cls):
    from safetensors.torch import load_file
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    folder = small_models / cls.models[0]
    stored = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    tower = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            **{key: config[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers")},
            **{key: config[key] for key in ("num_attention_heads", "image_size", "patch_size", "projection_dim")},
        )
    ).eval()
    wide = config["projection_dim"]
    head = torch.nn.ModuleDict(
        {"predictor": torch.nn.Linear(wide, 1)} if "-v1-" in folder.name else {"layers": improved_head(wide, relu="relu" in folder.name)}
    ).eval()
    for part in (tower, head):
        part.load_state_dict({name: stored[name] for name in part.state_dict()})
    pictures = [picture(1), picture(2, 180, 120)]
    shown = CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})(
        images=[cv2.imdecode(np.frombuffer(jpeg(each), np.uint8), cv2.IMREAD_COLOR_RGB) for each in pictures], return_tensors="pt"
    )["pixel_values"]
    with torch.inference_mode():
        embeds = tower(pixel_values=shown).image_embeds
        theirs = next(iter(head.values()))(embeds / embeds.norm(dim=-1, keepdim=True))[:, 0].numpy()
    scorer = cls(str(small_models))
    scorer.setup()
    batch = ClipBatch(pa.table({"clip_id": ["a", "b"]}), [[Picture(jpeg(each))] for each in pictures])
    assert scorer.score(batch)["aesthetic"].to_pylist() == pytest.approx(theirs.tolist(), abs=2e-3)


def test_the_checkpoints_of_simple_aesthetics_predictor_hold_heads_alone_too(small_models, tmp_path):
    from safetensors.torch import load_file, save_file

    clip = {name: tensor for name, tensor in load_file(small_models / "clip-vit-l-14" / "model.safetensors").items() if name.startswith("vi")}
    save_file(clip, tmp_path / "headless.safetensors")
    with pytest.raises(ModelError, match="no aesthetic head"):
        read_head(tmp_path / "headless.safetensors")


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    import pickle

    class Opens:
        def __reduce__(self):
            return open, (str(tmp_path / "was_run"), "w")

    (tmp_path / "head.pth").write_bytes(pickle.dumps({"weight": Opens()}))
    with pytest.raises(pickle.UnpicklingError):
        read_head(tmp_path / "head.pth")
    assert not (tmp_path / "was_run").exists()


@pytest.fixture
def corpus(tmp_path):
    """Three clips of one source, with a proxy each, except the last, which has none."""
    made = open_corpus(str(tmp_path / "corpus"), create=True)
    clips = [{"clip_id": clip_id("s0", start, start + 10), "source_id": "s0"} for start in (0, 10, 20)]
    spans = [{**clip, "media_type": "video", "start_s": 0.0, "end_s": 1.0, "overlay_evidence": 0.0, "motion": 0.0, "brightness": 0.5} for clip in clips]
    proxies = [{**clip, "kind": "frame", "proxy_index": 0, "image": jpeg(picture(number))} for number, clip in enumerate(clips[:2])]
    made.commit("s0", {"spans": table_of(spans, SPANS), "proxies": table_of(proxies, PROXIES)})
    return made


def test_the_profile_runs_whole_and_its_numbers_are_the_references(corpus, small_models, reference):
    caption_corpus(corpus, None, "laion", run_here, models_dir=str(small_models))
    score_corpus(corpus, "laion", run_here, models_dir=str(small_models))
    clips = corpus.table("clips").to_pylist()
    model, processor = reference
    head = published(small_models / "laion-aesthetic-v2" / "sac+logos+ava1-l14-linearMSE.pth")
    for number, clip in enumerate(clips[:2]):
        shown = cv2.imdecode(np.frombuffer(jpeg(picture(number)), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1].copy()
        theirs = embedded(model, pixel_values=torch.from_numpy(np.asarray(processor(images=[shown], return_tensors="np")["pixel_values"])))
        assert clip["aesthetic"] == pytest.approx(float(head(torch.from_numpy(theirs))[0]), abs=2e-3)
        assert clip["category"] in CATEGORIES and 0 <= clip["nsfw"] <= 1 and clip["alignment"] is not None
    assert clips[2]["aesthetic"] is None and dict(clips[2]["unmeasured"])["nsfw"] == "the clip has no proxies"
    assert corpus.makers()["aesthetic"].startswith("laion_v2@") and corpus.makers()["alignment"].startswith("clip@")


def test_both_profiles_stand_side_by_side(corpus, small_models):
    score_corpus(corpus, "embedded", run_here, only="handcrafted")
    mine = corpus.table("clips")["aesthetic"].to_pylist()
    score_corpus(corpus, "laion", run_here, only="laion_v2", models_dir=str(small_models))
    theirs = corpus.table("clips")["aesthetic"].to_pylist()
    assert mine != theirs and {"measures/handcrafted@1"} < set(corpus.names("measures/"))
    corpus.choose({"aesthetic": "handcrafted@1"})
    assert corpus.table("clips")["aesthetic"].to_pylist() == mine


def test_without_weights_the_profile_says_what_to_put_where(corpus, tmp_path):
    with pytest.raises(ModelError, match=r"clip-vit-l-14.*clipmill models fetch|laion-aesthetic-v2.*clipmill models fetch"):
        score_corpus(corpus, "laion", run_here, models_dir=str(tmp_path))
    assert not corpus.names("measures/laion")


def test_a_profile_that_could_not_run_hides_no_scores_of_another(corpus, tmp_path):
    score_corpus(corpus, "embedded", run_here, only="handcrafted")
    before = corpus.table("clips")["aesthetic"].to_pylist()
    with pytest.raises(ModelError):
        score_corpus(corpus, "laion", run_here, models_dir=str(tmp_path))
    assert corpus.table("clips")["aesthetic"].to_pylist() == before and any(before)


def test_one_tower_serves_all_and_a_picture_is_embedded_once(corpus, small_models, monkeypatch):
    tower = clip_tower(str(small_models))
    embedded_rows = []
    forward = tower._network.encode_image
    monkeypatch.setattr(tower._network, "encode_image", lambda tensor: (embedded_rows.append(len(tensor)), forward(tensor))[1])
    score_corpus(corpus, "laion", run_here, only=["laion_v2", "tags", "nsfw"], models_dir=str(small_models))
    assert len(embedded_rows) == 1


def test_batches_have_one_shape(small_models):
    feature = ClipPictures(str(small_models))
    feature.setup()
    pictures = [tuple(Picture(jpeg(picture(seed))) for seed in range(count)) for count in (5, 9, 1)]
    made = feature.compute(ClipBatch(pa.table({"clip_id": ["a", "b", "c"]}), pictures))
    alone = feature.compute(ClipBatch(pa.table({"clip_id": ["b"]}), pictures[1:2]))
    assert [len(each) for each in made] == [5, 9, 1] and np.array_equal(made[1], alone[0])


def test_another_checkpoint_under_the_same_name_is_refused(small_models, tmp_path):
    shutil.copytree(small_models / "clip-vit-l-14", tmp_path / "clip-vit-l-14")
    (tmp_path / "clip-vit-l-14" / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ModelError, match="is not the file it should be"):
        clip_tower(str(tmp_path))
