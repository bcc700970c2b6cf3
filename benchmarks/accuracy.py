"""How right the reading of footage is: shots, motion, borders, overlays, text, captions and copies against truth, beside off-the-shelf tools.

    python -m benchmarks.accuracy [--media ../shared/media] [--work FOLDER] [--split open] [--out docs/accuracy.md]

Reads every file that the truth speaks of with clipmill's own chain, into a corpus in the work folder, and goes on from there when run again. The
corpus is made anew when the code that reads has changed; what baselines answer is kept.
"""

import argparse
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import av

from benchmarks.accuracy_tables import TABLES
from benchmarks.baselines import Remembered
from curate.corpus import Corpus, open_corpus
from curate.deduplicate import deduplicate
from curate.engine import run_here
from curate.read import Reading, Splitter, nothing_found
from curate.score import score_corpus
from curate.video import MediaError

CODE = Path(__file__).resolve().parents[1] / "curate"
READS = ("read", "divide", "proxies", "video", "media/*", "observers/*", "shots/*")
TRUTHS = ("shots", "natural_cuts", "motion", "overlay", "dups", "alignment")
SCORERS = ("text", "watermark")


@dataclass(frozen=True)
class Measured:
    """What there is to compare: truth, clipmill's corpus, and baselines.

    Attributes:
        media: the folder with footage and truth.
        truth: the documents, by name; those absent are empty.
        corpus: every file read and scored.
        files: the files of each source; equal content is one source.
        sent: of each file, frames the network was shown and frames there are.
        baselines: what others answer.
    """

    media: Path
    truth: dict[str, dict[str, Any]]
    corpus: Corpus
    files: dict[str, list[str]]
    sent: dict[str, tuple[int, int]]
    baselines: Remembered

    def rows(self, relation: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Rows of a view, or of the relation `readings`, each with the file it comes from."""
        for row in (self.corpus.read(relation) if relation == "readings" else self.corpus.table(relation)).to_pylist():
            for file in self.files.get(row["source_id"], []):
                yield file, row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, default=Path("../shared/media"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "clipmill-accuracy")
    parser.add_argument("--split", help="only truth of this split; by default all of it")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    measured = measure(given.media.resolve(), given.work, given.split)
    page = "\n".join([*heading(measured, given.split), *(line for table in TABLES for line in table(measured))])
    print(page)
    if given.out:
        given.out.write_text(page + "\n")


def measure(media: Path, work: Path, split: str | None) -> Measured:
    """Read and score whatever the truth speaks of and has not been read before."""
    truth = {name: within(media / "truth" / f"{name}.json", media, split) for name in TRUTHS}
    files: dict[str, list[str]] = {}
    for file in files_of(truth):
        files.setdefault(f"s{hashlib.sha256((media / file).read_bytes()).hexdigest()[:20]}", []).append(file)
    folder = work / f"read-{code_digest()}"
    corpus = open_corpus(str(folder), create=True)
    for source_id, (file, *_) in files.items():
        read(corpus, source_id, media / file, folder / f"{source_id}.sent")
    score_corpus(corpus, "embedded", run_here, only=list(SCORERS))
    deduplicate(corpus)
    sent = {file: tuple(json.loads((folder / f"{source}.sent").read_text())) for source, of in files.items() for file in of}
    return Measured(media, truth, corpus, files, sent, Remembered(work / "baselines"))


def within(path: Path, media: Path, split: str | None) -> dict[str, Any]:
    """A truth document, of one split where one is asked for, and of files that are there."""
    document: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for name in ("videos", "natural"):
        found = [video for video in document.get(name, []) if (media / video["file"]).is_file()]
        document[name] = [video for video in found if split is None or video.get("split", split) == split]
    files = {video["file"] for video in document["videos"]}
    document["pairs"] = [pair for pair in document.get("pairs", []) if pair["a"] in files and pair["b"] in files]
    document["zero_cut_files"] = [file for file in document.get("zero_cut_files", []) if (media / file).is_file()]
    return document


def files_of(truth: dict[str, dict[str, Any]]) -> list[str]:
    """Every file that any truth speaks of."""
    videos = {video["file"] for document in truth.values() for name in ("videos", "natural") for video in document[name]}
    return sorted(videos | {file for document in truth.values() for file in document["zero_cut_files"]})


def read(corpus: Corpus, source_id: str, path: Path, sent: Path) -> None:
    """One source, as `ReadVideos` does; and how many frames its shot detector showed the network."""
    if source_id in corpus.committed("readings"):
        return
    with tempfile.TemporaryDirectory() as scratch:
        reading = Reading(source_id, "video", Splitter(), Path(scratch))
        try:
            reading.run(str(path))
            found = reading.found()
        except MediaError as error:
            print(f"{path.name}: {error}", flush=True)
            found = nothing_found(source_id, str(error), Path(scratch))
        frames = found.tables["readings"]["frames"][0].as_py() or 0
        sent.write_text(json.dumps([getattr(reading.detector, "sent_frames", 0), frames]))
        corpus.commit(source_id, {**found.tables, "proxies": found.proxies})


def code_digest() -> str:
    """Of the code that reads."""
    paths = sorted(path for name in READS for path in CODE.glob(f"{name}.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:12]


def heading(measured: Measured, split: str | None) -> list[str]:
    sources = measured.corpus.read("readings").to_pylist()
    footage_s = sum(row["duration_s"] or 0 for row in sources)
    return [
        "# How right reading is",
        "",
        f"Measured on {date.today()} by `python -m benchmarks.accuracy` on {len(sources)} files ({footage_s / 60:.0f} minutes, split `{split or 'all'}`) of "
        "real footage with truth labels, which is not part of this project: any folder with truth in the same form will do (`--media`). clipmill's figures "
        "come from a corpus that it made, profile `embedded`; baselines ran on the same files in the same run. "
        f"PyAV {av.__version__}, {os.cpu_count()} cores, no GPU.",
        "",
    ]


if __name__ == "__main__":
    main()
