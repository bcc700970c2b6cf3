"""How well copies are found, and look-alikes kept apart: clipmill's clusters beside an off-the-shelf perceptual hash, on footage with truth.

    python -m benchmarks.duplicates [--media ../shared/media] [--work FOLDER] [--also raw] [--results benchmarks/results/duplicates-cpu.md]

Reads every file that `truth/dups.json` speaks of (and, for more pairs that are different, those of a folder beside it) into a corpus in the work
folder, goes on from there when run again, and asks for copies without and with mirrored ones.
"""

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from curate.corpus import Corpus, open_corpus
from curate.deduplicate import DeduplicationReport, deduplicate
from curate.engine import run_here
from curate.read import ReadVideos
from curate.sources import add_sources
from schemas.source import STATUS_OK

MIRRORED = "mirror"
FALSE_SHARE = 0.01
"""Share of different pairs that a hash's threshold lets through, as in the figures it is known by."""


@dataclass(frozen=True)
class Truth:
    """What is known of the files.

    Attributes:
        copies: pairs that show the same footage, with how the second was made and whether it is mirrored.
        look_alikes: pairs that look alike and are not copies.
        different: every further pair of two families.
    """

    copies: Sequence[tuple[str, str, str, bool]]
    look_alikes: Sequence[tuple[str, str, str]]
    different: Sequence[tuple[str, str]]


def read_truth(path: Path) -> Truth:
    """Truth as `dups.json` has it."""
    told = json.loads(path.read_text())
    variant = {video["file"]: video["variant"] for video in told["videos"]}
    copies = [(p["a"], p["b"], p["what"], MIRRORED in variant.get(p["b"], "")) for p in told["pairs"] if p["label"] == "duplicate"]
    look_alikes = [(p["a"], p["b"], p["what"]) for p in told["pairs"] if p["label"] != "duplicate" and p.get("what")]
    across = [(a["file"], b["file"]) for a, b in itertools.combinations(told["videos"], 2) if a["family"] != b["family"]]
    return Truth(copies, look_alikes, across)


def corpus_of(media: Path, files: Sequence[str], work: Path) -> tuple[Corpus, dict[str, str]]:
    """A corpus of the files, read; and the source of each file."""
    corpus = open_corpus(str(work / "corpus"), create=True)
    add_sources(corpus, [str(media / file) for file in files])
    sources = corpus.table("sources").to_pylist()
    done = corpus.committed("readings")
    waiting = [
        {name: row[name] for name in ("source_id", "uri", "media_type")} for row in sources if row["status"] == STATUS_OK and row["source_id"] not in done
    ]
    for made in run_here(pa.Table.from_pylist(waiting), [ReadVideos(corpus.url)]) if waiting else ():
        print(f"read {made['source_id'][0]}", flush=True)
    of = {location: row["source_id"] for row in sources for location in row["locations"]}
    return corpus, {file: of[str(media / file)] for file in files}


def clusters_of(corpus: Corpus) -> dict[str, frozenset[str]]:
    """The clusters that a source's clips are in."""
    found: dict[str, set[str]] = {}
    for row in corpus.table("clips", columns=["source_id", "duplicate_cluster"]).to_pylist():
        found.setdefault(row["source_id"], set()).add(row["duplicate_cluster"])
    return {source: frozenset(names) for source, names in found.items()}


def hashes_of(corpus: Corpus) -> dict[str, list[np.ndarray]]:
    """Difference hashes (64 bits, by `imagehash`) of the kept pictures of each source."""
    import imagehash
    from PIL import Image

    found: dict[str, list[np.ndarray]] = {}
    for row in corpus.read("proxies", ["source_id", "kind", "image"]).to_pylist():
        picture = cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_COLOR_RGB) if row["kind"] == "frame" else None
        if picture is not None:
            found.setdefault(row["source_id"], []).append(imagehash.dhash(Image.fromarray(picture)).hash.ravel())
    return found


def apart(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> float:
    """Bits by which two videos differ: of each picture from the nearest of the other's, the median, both ways; as generous as a hash can be used."""
    bits = np.array([[np.count_nonzero(one != other) for other in second] for one in first])
    return float(min(np.median(bits.min(axis=1)), np.median(bits.min(axis=0))))


@dataclass(frozen=True)
class Asked:
    """What asking for copies gave: the report, CPU and wall seconds, and the clusters of each source."""

    report: DeduplicationReport
    cpu_s: float
    wall_s: float
    clusters: Mapping[str, frozenset[str]]


def ask(corpus: Corpus, mirror: bool) -> Asked:
    """Find copies, timed."""
    wall, cpu = time.perf_counter(), time.process_time()
    report = deduplicate(corpus, mirror=mirror)
    return Asked(report, time.process_time() - cpu, time.perf_counter() - wall, clusters_of(corpus))


def recall_rows(truth: Truth, source: Mapping[str, str], plain: Asked, mirrored: Asked, hashed: Mapping[tuple[str, str], bool]) -> Iterator[str]:
    """How each kind of copy was found."""
    yield "| copy | pairs | clipmill | clipmill `--mirror` | dHash |"
    yield "|---|---|---|---|---|"
    kinds = dict.fromkeys(what for _, _, what, _ in truth.copies)
    for what in kinds:
        pairs = [(a, b) for a, b, kind, _ in truth.copies if kind == what]
        hits = [sum(bool(asked.clusters[source[a]] & asked.clusters[source[b]]) for a, b in pairs) for asked in (plain, mirrored)]
        yield f"| {what} | {len(pairs)} | {hits[0]} | {hits[1]} | {sum(hashed[pair] for pair in pairs)} |"


def summary(truth: Truth, source: Mapping[str, str], plain: Asked, mirrored: Asked, hashed: Mapping[tuple[str, str], bool], limit: float) -> Iterator[str]:
    """Recall, and what was merged that ought not to be."""
    upright = [(a, b) for a, b, _, turned in truth.copies if not turned]
    every = [(a, b) for a, b, _, _ in truth.copies]
    alike = [(a, b) for a, b, _ in truth.look_alikes]

    def met(asked: Asked, pairs: Sequence[tuple[str, str]]) -> str:
        hits = sum(bool(asked.clusters[source[a]] & asked.clusters[source[b]]) for a, b in pairs)
        return f"{hits} of {len(pairs)} ({hits / max(len(pairs), 1):.3f})"

    def hash_met(pairs: Sequence[tuple[str, str]]) -> str:
        hits = sum(hashed[pair] for pair in pairs)
        return f"{hits} of {len(pairs)} ({hits / max(len(pairs), 1):.3f})"

    yield f"| | clipmill | clipmill `--mirror` | dHash, {limit:.0f} bits ({FALSE_SHARE:.0%} of different pairs pass) |"
    yield "|---|---|---|---|"
    yield f"| copies found, mirrored ones aside | {met(plain, upright)} | {met(mirrored, upright)} | {hash_met(upright)} |"
    yield f"| copies found, mirrored ones counted | {met(plain, every)} | {met(mirrored, every)} | {hash_met(every)} |"
    yield f"| look-alikes merged | {met(plain, alike)} | {met(mirrored, alike)} | {hash_met(alike)} |"
    yield f"| different footage merged | {met(plain, truth.different)} | {met(mirrored, truth.different)} | {hash_met(truth.different)} |"
    yield f"| clips, of which compared pairs | {told(plain)} | {told(mirrored)} | |"
    yield f"| CPU seconds (wall) | {plain.cpu_s:.1f} ({plain.wall_s:.1f}), descriptors made | {mirrored.cpu_s:.1f} ({mirrored.wall_s:.1f}) | |"


def told(asked: Asked) -> str:
    """Clips, and pairs whose pictures were laid over one another."""
    return f"{asked.report.clips}, {asked.report.compared}"


def joined_besides(corpus: Corpus, truth_sources: frozenset[str], asked: Asked) -> tuple[int, list[str]]:
    """Pairs of sources of which truth says nothing: how many there are, and the files of those that were put together, for people to look at."""
    names = {row["source_id"]: os.path.basename(row["uri"]) for row in corpus.table("sources").to_pylist()}
    pairs = [(a, b) for a, b in itertools.combinations(sorted(asked.clusters), 2) if not {a, b} <= truth_sources]
    return len(pairs), [f"{names[a]} and {names[b]}" for a, b in pairs if asked.clusters[a] & asked.clusters[b]]


def page(corpus: Corpus, truth: Truth, source: Mapping[str, str], plain: Asked, mirrored: Asked) -> str:
    """Everything measured, as Markdown."""
    hashes = hashes_of(corpus)
    pairs: list[tuple[str, str]] = [(a, b) for a, b, *_ in (*truth.copies, *truth.look_alikes)]
    bits = {(a, b): apart(hashes[source[a]], hashes[source[b]]) for a, b in (*pairs, *truth.different)}
    limit = max(0.0, float(np.quantile([bits[pair] for pair in truth.different], FALSE_SHARE, method="lower")) - 1)
    hashed = {pair: value <= limit for pair, value in bits.items()}
    besides, joined = joined_besides(corpus, frozenset(source[a] for pair in (*pairs, *truth.different) for a in pair), mirrored)
    clips = corpus.table("clips", columns=["clip_id", "source_id"])
    lines = [
        "# Copies found, look-alikes kept apart",
        "",
        f"`python -m benchmarks.duplicates` on {date.today()}: {os.cpu_count()} cores, no GPU, a machine busy with other work (read CPU seconds). "
        f"{len(corpus.table('sources'))} files, {clips.num_rows} clips; every pair of two families is different footage.",
        "",
        *summary(truth, source, plain, mirrored, hashed, limit),
        "",
        *recall_rows(truth, source, plain, mirrored, hashed),
        "",
        f"Of {besides} further pairs of files about which truth says nothing, {len(joined)} were put together (with `--mirror`), for people to judge"
        + (": " + "; ".join(joined) if joined else "")
        + ".",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read, ask, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, default=Path("../shared/media"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "clipmill-duplicates")
    parser.add_argument("--also", help="a folder of the media, whose smaller films are added as different footage")
    parser.add_argument("--megabytes", type=float, default=1.0, help="largest of those films")
    parser.add_argument("--results", type=Path)
    given = parser.parse_args()
    media = given.media.resolve()
    truth = read_truth(media / "truth" / "dups.json")
    files = {file for pair in (*truth.copies, *truth.look_alikes, *truth.different) for file in pair[:2]}
    more = sorted((media / given.also).iterdir()) if given.also else []
    files |= {str(path.relative_to(media)) for path in more if path.stat().st_size < given.megabytes * 1e6}
    corpus, source = corpus_of(media, sorted(files), given.work)
    plain, mirrored = ask(corpus, mirror=False), ask(corpus, mirror=True)
    told_ = page(corpus, truth, source, plain, mirrored)
    print(told_)
    if given.results:
        given.results.write_text(told_)


if __name__ == "__main__":
    main()
