"""What reading costs: CPU seconds per second of video, the whole process, beside PyAV's plain decode and beside a naive way of many passes.

    python -m benchmarks.read [--media ../shared/media] [--work FOLDER] [--heights 720,1080] [--seconds 120] [--lengths 10,120,3600,10800]
                              [--arms floor,rules,cascade,everywhere,naive] [--parts heights,lengths] [--out FILE]

Each arm runs in a process of its own, so that it is charged with all it starts; what it spends before the film (imports, weights, a first small
film) is told apart as start-up. Films are made once, out of the shared footage.
"""

import argparse
import cProfile
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import av
import psutil

from benchmarks.films import film, megabits_a_second

WARMING = 360, 5
"""Height and seconds of the film with which an arm warms up."""
MEMORY = "MB, own + media process: most resident (private at the end)"
LOW = 90
"""Height of the films of several lengths: what a second of film costs is to be the same however many there are, so it may be little."""


def floor(path: str) -> dict[str, Any]:
    """Every frame decoded by PyAV, one thread, nothing done with it."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return {"frames": sum(1 for _ in container.decode(stream))}


def reading(detector: str) -> Callable[[str], dict[str, Any]]:
    """One pass of clipmill, as `ReadVideos` does it: shots, clips, every dense measure, proxies, committed."""

    def arm(path: str) -> dict[str, Any]:
        from curate.corpus import open_corpus
        from curate.read import Reading, Splitter

        with tempfile.TemporaryDirectory() as folder:
            corpus = open_corpus(f"{folder}/corpus", create=True)
            read = Reading("s", "video", Splitter(detector=detector), Path(folder))
            read.run(path)
            found = read.found()
            corpus.commit("s", {**found.tables, "proxies": found.proxies})
            return {
                "frames": found.tables["readings"]["frames"][0].as_py(),
                "shots": found.tables["shots"].num_rows,
                "proxy_bytes": found.proxies.stat().st_size,
                "sent": getattr(read.detector, "sent_frames", 0),
            }

    return arm


def naive(path: str) -> dict[str, Any]:
    """A pass for the shots (PySceneDetect Adaptive), then one for each measure, and one for pictures: the same code, each on its own."""
    import scenedetect

    from curate.observers import OBSERVERS
    from curate.observers.base import Span
    from curate.observers.pictures import Pictures
    from curate.video import Sampling, decode

    scenes = scenedetect.detect(path, scenedetect.AdaptiveDetector())
    for make in (*OBSERVERS, Pictures):
        observer, end, end_s = make(), 0, 0.0
        for frames in decode(path, 256, sampling=Sampling() if observer.sampled else None):
            seen = frames.samples if observer.sampled else frames
            if seen is not None and len(seen):
                observer.observe(seen.at(observer.size))
            if frames.end - end >= 125:
                observer.close(Span(end, frames.end, end_s, float(frames.ends_s[-1])))
                end, end_s = frames.end, float(frames.ends_s[-1])
    return {"shots": len(scenes)}


ARMS: dict[str, Callable[[str], dict[str, Any]]] = {
    "PyAV decode": floor,
    "clipmill, no network": reading("rules"),
    "clipmill, cascade": reading("cascade"),
    "clipmill, TransNetV2 on every frame": reading("transnetv2"),
    "naive passes": naive,
}
SHORT = dict(zip(("floor", "rules", "cascade", "everywhere", "naive"), ARMS, strict=True))


def spent(name: str, warming: str, path: str, profile: bool) -> dict[str, Any]:
    """In this process: CPU seconds of start-up and of the arm, its children's included, and the most memory held."""
    work = ARMS[name]
    work(warming)
    before = cpu_s()
    profiler, began = cProfile.Profile(time.process_time), time.perf_counter()
    told = profiler.runcall(work, path) if profile else work(path)
    after, wall_s = cpu_s(), time.perf_counter() - began
    held_mb = [memory_mb(pid) for pid in (os.getpid(), *(child.pid for child in psutil.Process().children()))]
    parts = parts_of(profiler) if profile else {}
    return {**told, "start_s": before, "cpu_s": after - before, "wall_s": wall_s, "held_mb": held_mb, "parts": parts}


def memory_mb(pid: int) -> tuple[float, float]:
    """Of a process the most memory that was resident since it began, and what it shares with no other now (Linux)."""
    most = Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]
    private = sum(int(line.split()[1]) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Private_"))
    return int(most) / 1024, private / 1024


def told_mb(held_mb: list[tuple[float, float]]) -> str:
    """Memory as a cell of a table."""
    return " + ".join(f"{most:.0f} ({private:.0f})" for most, private in held_mb)


def cpu_s() -> float:
    """CPU seconds of this process, of children that have ended, and of those alive."""
    times = [psutil.Process().cpu_times(), *(child.cpu_times() for child in psutil.Process().children(recursive=True))]
    own = times[0]
    return float(own.children_user + own.children_system + sum(each.user + each.system for each in times))


def parts_of(profiler: cProfile.Profile) -> dict[str, float]:
    """Seconds in the parts of a reading."""
    found: dict[str, float] = {}
    for (file, _, function), (_, _, own_s, total_s, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]  # not in typeshed
        part = Path(file).stem
        if "/observers/" in file and function in ("observe", "close") and part != "base":
            found[f"observer {part}"] = found.get(f"observer {part}", 0.0) + total_s
        elif "/shots/" in file and function in ("observe", "finish"):
            found["shots"] = found.get("shots", 0.0) + total_s
        elif "/shots/" in file and function in ("window", "front"):
            found[f"of shots: {'TransNetV2' if function == 'window' else 'fronts'}"] = total_s
        elif part == "frames" and function in ("at", "luma"):
            found["shrinking and luma"] = found.get("shrinking and luma", 0.0) + total_s
        elif part == "sandbox" and function == "_read":
            found["receiving frames"] = own_s
        elif part == "proxies" and function in ("add_pictures", "add_maps"):
            found["storing proxies"] = found.get("storing proxies", 0.0) + total_s
    return dict(sorted(found.items(), key=lambda entry: -entry[1]))


def ask(name: str, warming: Path, path: Path, profile: bool = False) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.read", "--arm", name, "--films", str(warming), str(path), *(["--profile"] if profile else [])]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    answer: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return answer


def compared(media: Path, work: Path, heights: list[int], seconds: int, arms: list[str]) -> list[str]:
    """Arms at every height, the first of them the floor."""
    warming, lines = film(media, work, *WARMING), list[str]()
    for height in heights:
        path = film(media, work, height, seconds)
        lines += [f"## {height}p, {seconds} s, {megabits_a_second(path, seconds):.1f} Mbit/s, a cut every five seconds", ""]
        rows, base, proxies = [], 0.0, ""
        for name in arms:
            told = ask(name, warming, path)
            per_s = told["cpu_s"] / seconds
            base = base or per_s
            noted = f"{told['sent'] / told['frames']:.3f} of frames to the network" if told.get("sent") else ""
            rows.append([name, f"{per_s:.4f}", f"{per_s / base:.2f}", f"{told['start_s']:.1f}", told_mb(told["held_mb"]), noted])
            print(rows[-1], flush=True)
            if "proxy_bytes" in told:
                proxies = f"Proxies are {told['proxy_bytes'] / path.stat().st_size:.1%} of the source's bytes."
        lines += [*markdown(["arm", "CPU s per video s", "over plain decode", "start-up CPU s", MEMORY, ""], rows), "", proxies, ""]
        told = ask("clipmill, cascade", warming, path, profile=True)
        lines += ["Where the time of our own process goes (profiled, CPU s per video s):", ""]
        lines += [*markdown(["part", "CPU s per video s"], [[part, f"{part_s / seconds:.4f}"] for part, part_s in told["parts"].items()]), ""]
    return lines


def at_lengths(media: Path, work: Path, all_s: list[int]) -> list[str]:
    """The cascade over films of several lengths."""
    warming, rows = film(media, work, *WARMING), []
    for seconds in all_s:
        told = ask("clipmill, cascade", warming, film(media, work, LOW, seconds))
        rows.append([f"{seconds}", f"{told['cpu_s'] / seconds:.4f}", told_mb(told["held_mb"]), f"{told['proxy_bytes'] / 1e6:.0f}"])
        print(rows[-1], flush=True)
    head = ["seconds", "CPU s per video s", MEMORY, "MB of proxies committed"]
    return [f"## Length of film ({LOW}p, cascade)", "", *markdown(head, rows), ""]


def markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, default=Path("../shared/media"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "clipmill-films")
    parser.add_argument("--heights", default="720,1080")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--lengths", default="10,120,3600,10800")
    parser.add_argument("--parts", default="heights,lengths")
    parser.add_argument("--arms", default=",".join(SHORT), help="of " + ", ".join(SHORT))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--arm", choices=list(ARMS), help=argparse.SUPPRESS)
    parser.add_argument("--films", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--profile", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.arm:
        print(json.dumps(spent(given.arm, *given.films, given.profile)))
        return
    heights, lengths = ([int(each) for each in text.split(",") if each] for text in (given.heights, given.lengths))
    arms = [SHORT[each] for each in given.arms.split(",")]
    lines = ["# What reading costs", "", f"{date.today()}, {os.cpu_count()} cores (AMD EPYC, shared with other work), no GPU, PyAV {av.__version__}.", ""]
    parts: dict[str, Callable[[], list[str]]] = {
        "heights": lambda: compared(given.media, given.work, heights, given.seconds, arms),
        "lengths": lambda: at_lengths(given.media, given.work, lengths),
    }
    for part in given.parts.split(","):
        lines += parts[part]()
    print("\n".join(lines))
    if given.out:
        given.out.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
