"""The same films through clipmill and its peers, on the same machine: CPU seconds, wall, memory, clips out, and what a truncated file does.

    python -m benchmarks.peers FOLDER [--v2d VENV] [--ffmpeg FOLDER] [--results benchmarks/results/peers-cpu.md]

FOLDER has films (`*.mp4`). clipmill runs twice: `split` finds shots and cuts them, which is what the peers do; `curate` also measures and captions.
PySceneDetect is a dependency of clipmill. For video2dataset give a virtual environment that has it (`peers.md` says how to make one).
"""

import argparse
import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECIPE = 'name = "split"\n[duplicates]\nkeep = "all"\n[encoding]\ncrf = 23\nmode = "{mode}"\n'
SPLIT = """
import sys
from curate.corpus import open_corpus
from curate.engine import run_here
from curate.pack import pack
from curate.read import ReadVideos
from curate.select import select
from curate.sources import add_sources
from pipelines.curate import failed_sources, pending_sources
from schemas.recipe import read_recipe
corpus, recipe = open_corpus(sys.argv[2], create=True), read_recipe(sys.argv[3])
add_sources(corpus, [sys.argv[1]])
list(run_here(pending_sources(corpus), [ReadVideos(corpus.url)]))
select(corpus, recipe)
pack(corpus, recipe)
for row in failed_sources(corpus).to_pylist():
    print(row["uri"], row["reason"])
"""
SETTINGS = """
subsampling:
  CutDetectionSubsampler:
    cuts_are_clips: True
    args: {{cut_detection_mode: "all", framerates: null, threshold: 27, min_scene_len: 15}}
  ClippingSubsampler:
    args: {{min_length: 0.6, max_length: 60.0, max_length_strategy: "all", precision: "{precision}"}}
reading:
  yt_args: {{download_size: 360, download_audio_rate: 44100, yt_metadata_args: null}}
  timeout: 60
  sampler: null
storage: {{number_sample_per_shard: 4, oom_shard_count: 5, captions_are_subtitles: False}}
distribution: {{processes_count: 1, thread_count: 2, subjob_size: 1000, distributor: "multiprocessing"}}
"""


@dataclass(frozen=True)
class Outcome:
    """What an arm took, and what it left behind."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    clips: int
    code: int
    said: str


@dataclass(frozen=True)
class Arm:
    """One way to get clips out of films: a name, the commands for a folder of films and one to write to, and how many clips lie there afterwards."""

    name: str
    commands: Callable[[Path, Path], Sequence[Sequence[str]]]
    count: Callable[[Path], int]


def measured(arm: Arm, films: Path, out: Path, environment: dict[str, str]) -> Outcome:
    """Run an arm's commands one after the other; seconds and memory are those of the processes and all they waited for."""
    out.mkdir(parents=True)
    cpu_s, peak_kb, code, said = 0.0, 0, 0, ""
    began = time.monotonic()
    for command in arm.commands(films, out):
        with tempfile.TemporaryFile() as told:
            process = subprocess.Popen(command, cwd=ROOT, stdout=told, stderr=told, env={**os.environ, **environment})
            _, status, usage = os.wait4(process.pid, 0)
            told.seek(0)
            said += told.read().decode(errors="replace")
        cpu_s, peak_kb = cpu_s + usage.ru_utime + usage.ru_stime, max(peak_kb, usage.ru_maxrss)
        code = max(code, os.waitstatus_to_exitcode(status))
    return Outcome(cpu_s, time.monotonic() - began, peak_kb / 1e3, arm.count(out), code, said)


def in_tars(folder: Path) -> int:
    """MP4 files in all tars below a folder."""
    found = 0
    for path in folder.rglob("*.tar"):
        with contextlib.suppress(tarfile.TarError), tarfile.open(path) as tar:
            found += sum(name.endswith(".mp4") for name in tar.getnames())
    return found


def ours(mode: str) -> Arm:
    """Shots found and cut, as the peers do it."""

    def commands(films: Path, out: Path) -> list[list[str]]:
        recipe = out / "split.toml"
        recipe.write_text(RECIPE.format(mode=mode))
        return [[sys.executable, "-c", SPLIT, str(films), str(out / "corpus"), str(recipe)]]

    return Arm(f"clipmill: shots, measures of motion and borders, {mode}", commands, in_tars)


def curate() -> Arm:
    """The whole chain, with models and captions."""

    def commands(films: Path, out: Path) -> list[list[str]]:
        recipe = out / "split.toml"
        recipe.write_text(RECIPE.format(mode="encode"))
        return [[sys.executable, "-m", "pipelines.cli", "curate", str(films), "--corpus", str(out / "corpus"), "--recipe", str(recipe), "--on", "here"]]

    return Arm("clipmill curate: all scores and captions too", commands, in_tars)


def scenedetect() -> Arm:
    """PySceneDetect's own command, a run for each film."""
    program = str(Path(sys.executable).with_name("scenedetect"))

    def commands(films: Path, out: Path) -> list[list[str]]:
        return [[program, "-q", "-i", str(film), "-o", str(out), "detect-content", "split-video", "-q"] for film in sorted(films.glob("*.mp4"))]

    return Arm("PySceneDetect: detect-content split-video", commands, lambda out: len(list(out.glob("*.mp4"))))


def video2dataset(environment: Path, precision: str) -> Arm:
    """video2dataset with cut detection and clipping, on local files."""

    def commands(films: Path, out: Path) -> list[list[str]]:
        (out / "in.csv").write_text("url,caption\n" + "".join(f"{film},a video\n" for film in sorted(films.glob("*.mp4"))))
        (out / "settings.yaml").write_text(SETTINGS.format(precision=precision))
        asked = {"url_list": out / "in.csv", "url_col": "url", "caption_col": "caption", "output_folder": out / "ds", "output_format": "webdataset"}
        return [[str(environment / "bin" / "video2dataset"), *(f"--{name}={value}" for name, value in asked.items()), f"--config={out / 'settings.yaml'}"]]

    return Arm(f"video2dataset: cuts, clips, {precision} precision", commands, in_tars)


def with_a_truncated_film(films: Path, folder: Path) -> Path:
    """One whole film, and half of one whose index lies in front."""
    import ffmpeg
    import imageio_ffmpeg

    folder.mkdir()
    whole, *_ = sorted(films.glob("*.mp4"), key=lambda path: path.stat().st_size)
    shutil.copy(whole, folder / "whole.mp4")
    front = folder / "front.mov"
    ffmpeg.input(str(whole)).output(str(front), c="copy", movflags="faststart", loglevel="error").run(cmd=imageio_ffmpeg.get_ffmpeg_exe())
    data = front.read_bytes()
    front.unlink()
    (folder / "truncated.mp4").write_bytes(data[: len(data) // 2])
    return folder


def row(arm: Arm, outcome: Outcome) -> str:
    """A line of the table."""
    told = [f"{outcome.cpu_s:.1f}", f"{outcome.wall_s:.1f}", f"{outcome.peak_mb:.0f}", str(outcome.clips), str(outcome.code)]
    return f"| {arm.name} | {' | '.join(told)} |"


def table(arms: Sequence[Arm], films: Path, work: Path, environment: dict[str, str], about: str) -> list[str]:
    """Every arm on the films, as Markdown; what an arm said last where it failed."""
    lines = [f"| {about} | CPU s | wall s | peak MB | clips | exit code |", "|---|---|---|---|---|---|"]
    notes = []
    for number, arm in enumerate(arms):
        outcome = measured(arm, films, work / f"{films.name}-{number}", environment)
        lines.append(row(arm, outcome))
        print(lines[-1], flush=True)
        last = [line.strip() for line in outcome.said.splitlines() if line.strip()][-1:]
        notes += [f"- {arm.name}: `{last[0][:200]}`"] if last and (outcome.code or "truncated" in outcome.said) else []
    return [*lines, "", *notes, ""]


def main() -> None:
    """Run every arm that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path)
    parser.add_argument("--v2d", type=Path, help="virtual environment with video2dataset")
    parser.add_argument("--ffmpeg", help="folder with ffmpeg and ffprobe, put on the PATH of the peers that need them there")
    parser.add_argument("--whole", action="store_true", help="also the whole of `clipmill curate`")
    parser.add_argument("--results", type=Path)
    given = parser.parse_args()
    arms = [ours("encode"), ours("copy"), *([curate()] if given.whole else []), scenedetect()]
    arms += [video2dataset(given.v2d.resolve(), precision) for precision in ("low", "exact")] if given.v2d else []
    path = os.pathsep.join(filter(None, [given.ffmpeg, str(given.v2d.resolve() / "bin") if given.v2d else None, os.environ["PATH"]]))
    environment = {"PATH": path, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    films = given.films.resolve()
    with tempfile.TemporaryDirectory(prefix="clipmill-peers-") as folder:
        broken = with_a_truncated_film(films, Path(folder) / "truncated")
        told = table(arms, films, Path(folder), environment, f"{len(list(films.glob('*.mp4')))} films")
        told += table(arms, broken, Path(folder), environment, "one film whole, one truncated")
    about = (
        f"`python -m benchmarks.peers` on {date.today()}: {os.cpu_count()} cores, Python {platform.python_version()}, no GPU, a machine busy with other work."
    )
    page = "\n".join(["# Peers", "", about, "", *told])
    print(page)
    if given.results:
        given.results.write_text(page)


if __name__ == "__main__":
    main()
