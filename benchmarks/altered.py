"""Altered copies of any footage, with the truth about them as `benchmarks.duplicates` reads it: do its figures carry over to other films?

    python -m benchmarks.altered FOLDER FILM... [--seconds 4]
    python -m benchmarks.duplicates --media FOLDER --work FOLDER/read

Of each film a stretch from its middle is the base; every kind of copy below is made of it. Films must show different footage.
"""

import argparse
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import ffmpeg
import imageio_ffmpeg

LONGER_SIDE = 480
Filter = Callable[[Any], Any]
ALTERED: Mapping[str, tuple[str, Filter]] = {
    "remux": ("byte-level remux", lambda film: film),
    "crf38": ("re-encode low quality", lambda film: film),
    "two_thirds": ("scaled to two thirds", lambda film: film.filter("scale", "trunc(iw/3)*2", "trunc(ih/3)*2")),
    "vp9": ("codec VP9", lambda film: film),
    "crop5": ("crop 5%", lambda film: film.filter("crop", "trunc(iw*.475)*2", "trunc(ih*.475)*2")),
    "crop15": ("crop 15%", lambda film: film.filter("crop", "trunc(iw*.425)*2", "trunc(ih*.425)*2")),
    "faster": ("speed 1.25x", lambda film: film.filter("setpts", "PTS/1.25")),
    "fps12": ("frame rate 12", lambda film: film.filter("fps", 12)),
    "mirror": ("mirrored", lambda film: film.filter("hflip")),
    "letterbox": ("letterboxed", lambda film: film.filter("pad", "iw", "trunc(ih*.65)*2", 0, "(oh-ih)/2")),
    "pillarbox": ("pillarboxed", lambda film: film.filter("pad", "trunc(iw*.65)*2", "ih", "(ow-iw)/2", 0)),
    "marked": ("a mark in a corner", lambda film: film.filter("drawbox", "iw*.72", "ih*.06", "iw*.22", "ih*.12", color="white@0.7", t="fill")),
    "banner": ("a banner below", lambda film: film.filter("drawbox", 0, "ih*.86", "iw", "ih*.14", color="navy", t="fill")),
    "graded": ("colour graded", lambda film: film.filter("eq", brightness=0.06, contrast=1.2, saturation=1.3, gamma=0.9)),
    "dark": ("darker", lambda film: film.filter("eq", brightness=-0.15, gamma=0.7)),
    "noisy": ("film grain", lambda film: film.filter("noise", alls=18, allf="t")),
    "soft": ("softened", lambda film: film.filter("gblur", sigma=1.5)),
    "squeezed": ("squeezed to 4:3", lambda film: film.filter("scale", "trunc(iw*.375)*2", "ih").filter("setsar", 1)),
    "part": ("sub-clip (contained)", lambda film: film.filter("trim", start=1, end=3).filter("setpts", "PTS-STARTPTS")),
    "grey": ("grey", lambda film: film.filter("hue", s=0)),
}
OUTPUT: Mapping[str, Mapping[str, Any]] = {"remux": {"c": "copy"}, "crf38": {"crf": 38}, "vp9": {"vcodec": "libvpx-vp9", "crf": 40, "cpu-used": 8, "b:v": 0}}


def base_of(film: Path, target: Path, seconds: float) -> None:
    """A stretch from the middle of a film, small, without sound."""
    with av.open(str(film)) as container:
        lasts_s = float(container.duration or 0) / av.time_base
    start_s = max(0.0, (lasts_s - seconds) / 2)
    size = f"if(gt(iw,ih),min({LONGER_SIDE},iw),-2)", f"if(gt(iw,ih),-2,min({LONGER_SIDE},ih))"
    made = ffmpeg.input(str(film)).video.filter("trim", start=start_s, end=start_s + seconds).filter("setpts", "PTS-STARTPTS").filter("scale", *size)
    _write(made.filter("crop", "trunc(iw/2)*2", "trunc(ih/2)*2"), target, {"crf": 20})


def altered(base: Path) -> Iterator[tuple[str, Path]]:
    """Every kind of copy of a base, made beside it."""
    for kind, (_, change) in ALTERED.items():
        target = base.with_name(f"{base.stem.removesuffix('__base')}__{kind}.{'webm' if kind == 'vp9' else 'mp4'}")
        _write(change(ffmpeg.input(str(base)).video), target, OUTPUT.get(kind, {}))
        yield kind, target


def _write(film: Any, target: Path, how: Mapping[str, Any]) -> None:
    plain = {} if how.get("c") else {"vcodec": "libx264", "preset": "veryfast", "pix_fmt": "yuv420p"}
    film.output(str(target), **{**plain, **how}).run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True, overwrite_output=True)


def truth_of(films: Sequence[Path], folder: Path, seconds: float) -> dict[str, list[dict[str, str]]]:
    """Make all files; the truth in the layout of `dups.json`, every base different from every other."""
    videos: list[dict[str, str]] = []
    pairs: list[dict[str, str]] = []
    for film in films:
        base = folder / f"{film.stem}__base.mp4"
        base_of(film, base, seconds)
        name = f"dups/{base.name}"
        videos.append({"file": name, "family": film.stem, "variant": "base"})
        for kind, path in altered(base):
            videos.append({"file": f"dups/{path.name}", "family": film.stem, "variant": kind})
            pairs.append({"a": name, "b": f"dups/{path.name}", "label": "duplicate", "what": ALTERED[kind][0]})
        print(f"{film.name}: {len(ALTERED)} copies", flush=True)
    bases = [video["file"] for video in videos if video["variant"] == "base"]
    pairs += [{"a": a, "b": b, "label": "different"} for a, b in itertools.combinations(bases, 2)]
    return {"videos": videos, "pairs": pairs}


def main() -> None:
    """Make the copies and write the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("films", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=4.0)
    given = parser.parse_args()
    (given.folder / "dups").mkdir(parents=True, exist_ok=True)
    (given.folder / "truth").mkdir(exist_ok=True)
    (given.folder / "truth" / "dups.json").write_text(json.dumps(truth_of(given.films, given.folder / "dups", given.seconds), indent=1))


if __name__ == "__main__":
    main()
