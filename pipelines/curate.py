"""From footage to shards: add, measure, caption, deduplicate, select, pack. Each step resumes from what is on disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from curate.caption import caption_corpus
from curate.captioners.base import Captioner
from curate.corpus import Corpus, open_corpus
from curate.deduplicate import deduplicate
from curate.engine import choose_engine
from curate.pack import PackReport, pack
from curate.read import ReadVideos, Splitter
from curate.resplit import settled
from curate.score import score_corpus
from curate.select import Selection, select
from curate.sources import add_sources
from pipelines.progress import Listener
from schemas.clip import OUTCOME_FAILED
from schemas.recipe import Recipe
from schemas.source import STATUS_FAILED, STATUS_OK

On = Literal["auto", "here", "ray"]
Profile = Literal["embedded", "laion"]


@dataclass(frozen=True)
class Curated:
    """What the whole chain made."""

    corpus: Corpus
    selection: Selection
    shards: PackReport
    failed: pa.Table


def curate(
    footage: Sequence[str],
    corpus_url: str,
    recipe: Recipe,
    *,
    rights: str | None,
    policy: str | None,
    profile: Profile,
    on: On,
    listener: Listener,
    models_dir: str | None = None,
    captioners: Sequence[Captioner] | None = None,
    warn: Callable[[str], None] = print,
) -> Curated:
    """The whole chain; running it again only does what is missing. What to look at again is heard by `warn` before the long work."""
    corpus = open_corpus(corpus_url, create=True)
    for warning in add_sources(corpus, footage, rights, policy, listener).warnings:
        warn(warning)
    measure(corpus, profile, on, listener=listener, models_dir=models_dir)
    caption(corpus, profile, on, listener, models_dir, captioners)
    run = choose_engine(on, footage_s(corpus))
    deduplicate(corpus, run=run, listener=listener)
    selection = select(corpus, recipe)
    shards = pack(corpus, recipe, run=run, listener=listener)
    return Curated(corpus, selection, shards, failed_sources(corpus))


def measure(
    corpus: Corpus,
    profile: Profile,
    on: On,
    *,
    only: str | None = None,
    splitter: Splitter | None = None,
    again: bool = False,
    listener: Listener,
    models_dir: str | None = None,
) -> None:
    """Read every source that was not read yet, once; then score the clips that a scorer has not seen.

    Raises:
        CorpusError: the corpus was split in another way, and is not to be read `again`.
    """
    run = choose_engine(on, footage_s(corpus))
    splitter = settled(corpus, splitter, again) if only is None else None
    pending = pending_sources(corpus) if only is None else None
    if pending is not None and pending.num_rows:
        done = 0
        listener("read", done, pending.num_rows)
        for made in run(pending, [ReadVideos(corpus.url, splitter, models_dir)]):
            done += len(set(made["source_id"].to_pylist()))
            listener("read", done, pending.num_rows)
    score_corpus(corpus, profile, run, only=only, listener=listener, models_dir=models_dir)


def caption(corpus: Corpus, profile: Profile, on: On, listener: Listener, models_dir: str | None = None, captioners: Sequence[Captioner] | None = None) -> None:
    """Write captions for the clips that have none, then the scores that need a caption; by metadata and description where no captioners are given."""
    caption_corpus(corpus, captioners, profile, choose_engine(on, footage_s(corpus)), listener, models_dir)


def pending_sources(corpus: Corpus) -> pa.Table:
    """Sources that may be decoded and were not yet: `source_id`, `uri`, `media_type`."""
    sources = corpus.table("sources")
    waiting = pc.and_(pc.equal(sources["status"], STATUS_OK), pc.is_null(sources["frames"]))
    return sources.filter(waiting).select(["source_id", "uri", "media_type"])


def failed_sources(corpus: Corpus) -> pa.Table:
    """Sources that could not be read, or not to their end, with the reason: `uri`, `rule`, `reason`."""
    sources, gaps = corpus.table("sources", columns=["source_id", "uri", "status", "rule", "reason"]), corpus.read("gaps")
    unread = sources.filter(pc.equal(sources["status"], STATUS_FAILED)).select(["uri", "rule", "reason"])
    uris = {row["source_id"]: row["uri"] for row in sources.to_pylist() if row["status"] == STATUS_OK}
    lost = gaps.filter(pc.equal(gaps["outcome"], OUTCOME_FAILED)).sort_by([("source_id", "ascending"), ("start_s", "ascending")]).to_pylist()
    told = [{"uri": uris[row["source_id"]], "rule": row["rule"], "reason": row["detail"]} for row in lost if row["source_id"] in uris]
    return pa.concat_tables([unread, pa.Table.from_pylist(told, schema=unread.schema)])


def footage_s(corpus: Corpus) -> float:
    """Seconds of footage in a corpus, for choosing where to run."""
    return float(pc.sum(corpus.table("sources")["duration_s"]).as_py() or 0.0)
