"""What every stage promises: plain data that travels, the columns it declares, and rows that do not depend on where batches are cut."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import numpy as np
import pyarrow as pa
import pytest

from curate.caption import WriteCaptions
from curate.captioners.describe import Describe as DescribeInWords
from curate.copies import cells
from curate.copies.fingerprint import SIDE
from curate.copies.rank import Kinship
from curate.copies.search import FindNear, whole
from curate.corpus import Corpus, open_corpus
from curate.deduplicate import Describe
from curate.engine import run_here
from curate.packing.cutting import CutClips, jobs_of
from curate.packing.shards import WriteShards
from curate.read import ReadVideos
from curate.score import Score
from curate.sources import add_sources
from curate.stage import Resources, Stage, Worker
from pipelines.ablation.trials import RunTrials
from schemas.recipe import Encoding

EVERY = (ReadVideos, Score, WriteCaptions, Describe, FindNear, CutClips, WriteShards, RunTrials)


@dataclass(frozen=True)
class Example:
    """A stage and rows to run it on."""

    stage: Stage
    rows: pa.Table


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Two short films, added and read."""
    folder = tmp_path_factory.mktemp("stages")
    for name, source in (("a", "testsrc=size=96x64:rate=12"), ("b", "mandelbrot=size=96x64:rate=12")):
        command = ffmpeg.input(source, f="lavfi").output(str(folder / f"{name}.mp4"), t=3, pix_fmt="yuv420p", vcodec="libx264")
        command.run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True)
    corpus = open_corpus(str(folder / "corpus"), create=True)
    add_sources(corpus, [str(folder / "a.mp4"), str(folder / "b.mp4")])
    list(run_here(corpus.table("sources", columns=["source_id", "uri", "media_type"]), [ReadVideos(corpus.url)]))
    return corpus


def laid_out(folder: Path) -> str:
    """A folder in which the miniatures of two hundred clips lie in three regions or more."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"ONE_CELL_UP_TO": 1, "PER_CELL": 8, "LEARNT_OF": 1}.items():
            patch.setattr(cells, name, value)
        pictures = np.random.default_rng(0).integers(0, 255, (200, SIDE, SIDE)).astype(np.uint8)
        assert cells.lay(lambda: iter([(pictures, np.arange(200))]), whole, folder).regions >= 3
    Kinship(np.zeros(200, [("source", np.int32), ("kind", np.int32), ("shot", np.int32)])).save(folder / "kinship.npy")
    return str(folder)


@pytest.fixture(scope="module")
def example(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Callable[[type[Stage]], Example]:
    """Each stage with rows that it reads."""
    clips, sources = corpus.table("clips"), corpus.table("sources", columns=["source_id", "uri", "media_type"])
    uris = dict(zip(sources["source_id"].to_pylist(), sources["uri"].to_pylist()))
    cuts = jobs_of(pa.Table.from_pylist([{**row, "uri": uris[row["source_id"]], "keyframe": 0} for row in clips.to_pylist()]))
    pieces, shards = (str(tmp_path_factory.mktemp(name)) for name in ("pieces", "shards"))
    names = clips["clip_id"].to_pylist()
    planned = [{"shard": f"shard-{n:06d}.tar", "clip_ids": [name], "captions": ["words"], "facts": ["{}"]} for n, name in enumerate(names)]
    made = {
        ReadVideos: lambda: Example(ReadVideos(corpus.url), sources),
        Score: lambda: Example(Score(corpus.url, ("technical",), "embedded"), clips),
        WriteCaptions: lambda: Example(WriteCaptions(corpus.url, DescribeInWords()), clips),
        Describe: lambda: Example(Describe(corpus.url), clips),
        FindNear: lambda: Example(FindNear(laid_out(tmp_path_factory.mktemp("searched")), False), pa.table({"region": [0, 1, 2]})),
        CutClips: lambda: Example(CutClips(corpus.url, pieces, Encoding(height=32)), cuts),
        WriteShards: lambda: Example(WriteShards(pieces, shards), pa.Table.from_pylist(planned)),
    }
    list(run_here(cuts, [CutClips(corpus.url, pieces, Encoding(height=32))]))
    return lambda kind: made[kind]()


@pytest.mark.parametrize("kind", EVERY)
def test_a_stage_says_what_it_reads_writes_and_needs(kind: type[Stage]) -> None:
    assert kind.__doc__
    assert isinstance(kind.reads, frozenset) and isinstance(kind.writes, frozenset) and kind.writes
    assert isinstance(kind.resources, Resources) and kind.resources.cpus > 0
    assert kind.batch_rows >= 1
    assert kind.resources.isolated <= (kind.batch_rows == 1), "an isolated stage takes one row at a time"


RUN_HERE = tuple(kind for kind in EVERY if kind is not RunTrials)  # trials train networks: tests/pipelines runs them


@pytest.mark.parametrize("kind", RUN_HERE)
def test_a_stage_travels_and_stays_as_it_was(kind: type[Stage], example: Callable[[type[Stage]], Example]) -> None:
    stage = example(kind).stage
    before = pickle.dumps(stage)
    Worker(pickle.loads(before))
    Worker(stage)
    assert pickle.dumps(stage) == before, "setting a worker up changed the stage itself"


@pytest.mark.parametrize("kind", RUN_HERE)
def test_rows_do_not_depend_on_where_batches_are_cut(kind: type[Stage], example: Callable[[type[Stage]], Example]) -> None:
    given = example(kind)
    worker = Worker(pickle.loads(pickle.dumps(given.stage)))
    one_by_one = [row for at in range(given.rows.num_rows) for made in worker(given.rows.slice(at, 1)) for row in made.to_pylist()]
    at_once = [row for made in worker(given.rows) for row in made.to_pylist()]
    assert at_once and at_once == one_by_one
    assert [row for made in run_here(given.rows, [given.stage]) for row in made.to_pylist()] == at_once


@pytest.mark.parametrize("kind", RUN_HERE)
def test_a_stage_writes_what_it_promised(kind: type[Stage], example: Callable[[type[Stage]], Example]) -> None:
    given = example(kind)
    assert all(kind.writes <= set(made.column_names) for made in Worker(given.stage)(given.rows))


@pytest.mark.parametrize("kind", RUN_HERE)
def test_a_column_that_is_not_there_is_named(kind: type[Stage], example: Callable[[type[Stage]], Example]) -> None:
    given = example(kind)
    missing = sorted(kind.reads)[0]
    with pytest.raises(KeyError, match=f"{kind.__name__} reads .*{missing}"):
        list(Worker(given.stage)(given.rows.drop_columns([missing])))


def test_every_stage_of_ours_is_in_this_list() -> None:
    ours = {kind for kind in Stage.__subclasses__() if kind.__module__.split(".")[0] in ("curate", "train", "pipelines")}
    assert ours <= set(EVERY)
