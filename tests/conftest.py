"""What every test may ask for: the shared footage with truth labels (absent for most people), and quiet libraries."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROOT = Path(__file__).resolve().parents[1]


def shared_folder() -> Path | None:
    """The folder with truth-labelled footage, beside the checkout or named by CLIPMILL_SHARED."""
    candidates = [os.environ.get("CLIPMILL_SHARED"), str(ROOT.parent / "shared")]
    return next((Path(path) for path in candidates if path and (Path(path) / "media").is_dir()), None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared folder (media/, lavie/, weights/); skips with a reason where it is absent."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("the shared footage with truth labels is not on this machine (set CLIPMILL_SHARED to its folder)")
    return folder


@pytest.fixture(scope="session")
def shared_media(shared: Path) -> Path:
    """The truth-labelled footage."""
    return shared / "media"


@pytest.fixture(scope="session")
def made_footage(tmp_path_factory) -> Path:
    """A folder of small generated films: two shots with a cut, one moving shot, a still picture held, and a file that is no video."""
    import ffmpeg
    import imageio_ffmpeg

    folder = tmp_path_factory.mktemp("footage")
    size, rate = "320x180", 24

    def generated(name: str, seconds: float):
        return ffmpeg.input(f"{name}=size={size}:rate={rate}", f="lavfi", t=seconds)

    films = {
        "two shots.mp4": ffmpeg.concat(generated("testsrc2", 1.5), generated("mandelbrot", 1.5)),
        "moving.mp4": generated("mandelbrot", 2),
        "still.mp4": ffmpeg.input(f"color=c=gray:size={size}:rate={rate}", f="lavfi", t=1.5),
    }
    for name, stream in films.items():
        made = ffmpeg.output(stream, str(folder / name), vcodec="libx264", crf=20, preset="ultrafast", pix_fmt="yuv420p", threads=1, loglevel="error")
        made.run(cmd=imageio_ffmpeg.get_ffmpeg_exe())
    (folder / "broken.mp4").write_bytes(b"this is no video")
    return folder
