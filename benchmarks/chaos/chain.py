"""The chain under test, its footage, how it is started and judged.

A chain runs in a process forked from one that has imported everything, so that a kill meets work instead of imports; it reads with the rules of the
shot detector only, since loading a network would be most of its time.
"""

import faulthandler
import hashlib
import multiprocessing
import os
import signal
import tempfile
import time
import traceback
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import pyarrow as pa
import webdataset  # noqa: F401 - imported for the processes forked from here

from curate.caption import WriteCaptions
from curate.captioners.describe import Describe
from curate.corpus import Corpus, open_corpus
from curate.deduplicate import deduplicate
from curate.engine import choose_engine
from curate.pack import pack
from curate.read import ReadVideos, Splitter
from curate.select import select
from curate.sources import add_sources
from curate.verify import verify
from pipelines.curate import pending_sources
from schemas.recipe import read_recipe

RECIPE = 'name = "chaos"\n[duplicates]\nkeep = "all"\n[encoding]\nheight = 32\nshard_mb = 0.02\n'
SPLITTER = Splitter(detector="rules")


def run_chain(footage: str, corpus_url: str, recipe: str, on: str) -> None:
    """Add, read, describe in words, find duplicates, select and pack."""
    corpus, run = open_corpus(corpus_url, create=True), choose_engine(on, 0.0)  # type: ignore[arg-type]
    add_sources(corpus, [footage])
    waiting = pending_sources(corpus)
    if waiting.num_rows:
        list(run(waiting, [ReadVideos(corpus.url, SPLITTER)]))
    clips = corpus.table("clips")
    said = corpus.read("captions", ["clip_id"])["clip_id"].to_pylist()
    silent = [at for at, clip_id in enumerate(clips["clip_id"].to_pylist()) if clip_id not in said]
    for made in run(clips.take(pa.array(silent, pa.int64())), [WriteCaptions(corpus.url, Describe())]) if silent else ():
        corpus.append("captions", made, made["clip_id"][0].as_py())
    deduplicate(corpus)
    chosen = read_recipe(recipe)
    select(corpus, chosen)
    pack(corpus, chosen, run=run)


def make_footage(folder: Path, films: int = 3) -> Path:
    """Short films of moving patterns, each with a cut, and one file that is no film."""
    folder.mkdir(parents=True)
    for number in range(films):
        first = ffmpeg.input(f"testsrc2=size=96x54:rate=12:duration={2 + number % 2}", f="lavfi").filter("hue", h=40 * number)
        second = ffmpeg.input(f"mandelbrot=size=96x54:rate=12:start_x={-0.7 - number / 50}", f="lavfi", t=2)
        joined = ffmpeg.concat(first, second).output(str(folder / f"film{number}.mp4"), pix_fmt="yuv420p", vcodec="libx264")
        joined.run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True)
    (folder / "broken.mp4").write_bytes((folder / "film0.mp4").read_bytes()[:1500])
    return folder


@dataclass(frozen=True)
class Chain:
    """A chain that was started, in a process group of its own.

    Attributes:
        process: the one to wait for.
        told: where its errors go.
    """

    process: BaseProcess
    told: Path

    def kill(self) -> None:
        """Kill it and its children, as a power cut would."""
        assert self.process.pid is not None
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has not made its group yet, and has no children
            self.process.kill()
        self.process.join()

    def finish(self, patience_s: float | None = None) -> None:
        """Wait for it, when it is to end well; one that takes longer is killed, once it has told where it stands."""
        self.process.join(patience_s)
        if self.process.is_alive():
            assert self.process.pid is not None
            os.kill(self.process.pid, signal.SIGUSR1)
            self.process.join(2)
            self.kill()
            raise RuntimeError(f"the chain had not ended after {patience_s} s; it stood at: {self.told.read_text()[-4000:]}")
        if self.process.exitcode:
            raise RuntimeError(f"the chain ended with {self.process.exitcode}: {self.told.read_text()[-2000:]}")


def start(footage: Path, corpus_url: str, recipe: Path, on: str = "here", environment: dict[str, str] | None = None) -> Chain:
    """Start the chain."""
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload([__name__])
    _, told = tempfile.mkstemp(prefix="clipmill-chain-")
    process = forked.Process(target=_run, args=(told, environment or {}, str(footage), corpus_url, str(recipe), on))
    process.start()
    return Chain(process, Path(told))


def _run(told: str, environment: dict[str, str], *arguments: str) -> None:
    os.setsid()
    os.environ.update(environment)
    os.dup2(os.open(told, os.O_WRONLY), 2)
    faulthandler.register(signal.SIGUSR1, file=2)
    try:
        run_chain(*arguments)
    except BaseException:
        traceback.print_exc()
        raise SystemExit(1) from None


@dataclass(frozen=True)
class Undisturbed:
    """What a chain makes that nothing disturbs.

    Attributes:
        footage: the films.
        recipe: the recipe's file.
        digests: of all that must be the same again.
        seconds: how long it took.
    """

    footage: Path
    recipe: Path
    digests: dict[str, str]
    seconds: float


def undisturbed(folder: Path, on: str = "here", films: int = 3) -> Undisturbed:
    """Footage, a recipe, and what an undisturbed run makes of them."""
    footage, recipe = make_footage(folder / "footage", films), folder / "chaos.toml"
    recipe.write_text(RECIPE)
    start(footage, str(folder / "first"), recipe, on).finish()  # the process to fork from is started, and files are warm
    began = time.monotonic()
    start(footage, str(folder / "undisturbed"), recipe, on).finish()
    seconds = time.monotonic() - began
    return Undisturbed(footage, recipe, fingerprint(open_corpus(str(folder / "undisturbed"))), seconds)


def fingerprint(corpus: Corpus) -> dict[str, str]:
    """Digests of all that must be the same again: tables as they are exported, and every file of the packed sets but the head of the journal."""
    with tempfile.TemporaryDirectory() as folder:
        told = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in corpus.export(folder)}
    for path in corpus.filesystem.find(corpus.path("shards")):
        # The manifest and what is written from it name the journal's head, and a journal tells of every start.
        if path.endswith((".tar", "index.parquet", "ATTRIBUTION")):
            told[path.removeprefix(corpus.path())] = hashlib.sha256(corpus.filesystem.cat_file(path)).hexdigest()
    return told


def compare(wanted: dict[str, str], corpus: Corpus) -> list[str]:
    """What differs from an undisturbed run, and what verification finds."""
    found = fingerprint(corpus)
    different = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    return [f"{name} differs" for name in different] + [problem for problem in verify(corpus).problems]
