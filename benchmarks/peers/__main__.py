"""The same films through clipmill and its peers, on the same machine: CPU seconds, wall, memory, clips out, and what a truncated file does.

    python -m benchmarks.peers FOLDER [--v2d VENV] [--nemo VENV] [--data-juicer VENV] [--ffmpeg FOLDER] [--results FILE]

FOLDER has films (`*.mp4`). clipmill runs twice: `split` finds shots and cuts them, which is what the peers do; `--whole` also measures and captions.
PySceneDetect is a dependency of clipmill. For the others give virtual environments that have them (`peers.md` says how to make them).
"""

import argparse
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from benchmarks.peers.arms import Arm, curate, data_juicer, nemo_curator, ours, scenedetect, video2dataset
from benchmarks.peers.running import run

ROOT = Path(__file__).resolve().parents[2]


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


def table(arms: Sequence[Arm], films: Path, work: Path, environment: Mapping[str, str], about: str) -> list[str]:
    """Every arm on the films, as Markdown; what an arm said last where it failed."""
    lines = [f"| {about} | CPU s | wall s | peak MB | clips | exit code |", "|---|---|---|---|---|---|"]
    notes = []
    for number, arm in enumerate(arms):
        out = work / f"{films.name}-{number}"
        out.mkdir(parents=True)
        taken = run(arm.commands(films, out), ROOT, environment)
        told = [f"{taken.cpu_s:.1f}", f"{taken.wall_s:.1f}", f"{taken.peak_mb:.0f}", str(arm.count(out)), str(taken.code)]
        lines.append(f"| {arm.name} | {' | '.join(told)} |")
        print(lines[-1], flush=True)
        last = [line.strip() for line in taken.said.splitlines() if line.strip()][-1:]
        notes += [f"- {arm.name}: `{last[0][:200]}`"] if last and (taken.code or "truncated" in taken.said) else []
    return [*lines, "", *notes, ""]


def main() -> None:
    """Run every arm that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path)
    parser.add_argument("--v2d", type=Path, help="virtual environment with video2dataset")
    parser.add_argument("--nemo", type=Path, help="virtual environment with NeMo Curator")
    parser.add_argument("--data-juicer", type=Path, help="virtual environment with Data-Juicer")
    parser.add_argument("--ffmpeg", help="folder with ffmpeg and ffprobe, put on the PATH of the peers that need them there")
    parser.add_argument("--whole", action="store_true", help="also the whole of `clipmill curate`")
    parser.add_argument("--results", type=Path)
    given = parser.parse_args()
    arms = [ours("encode"), ours("copy"), *([curate()] if given.whole else []), scenedetect()]
    arms += [video2dataset(given.v2d.absolute(), precision) for precision in ("low", "exact")] if given.v2d else []
    arms += [nemo_curator(given.nemo.absolute())] if given.nemo else []
    arms += [data_juicer(given.data_juicer.absolute())] if given.data_juicer else []
    homes = [str(home.absolute() / "bin") for home in (given.v2d, given.data_juicer) if home]
    path = os.pathsep.join(filter(None, [given.ffmpeg, *homes, os.environ["PATH"]]))
    environment = {"PATH": path, "WANDB_MODE": "disabled", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
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
