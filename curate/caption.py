"""Caption: clips in, captions out. The stage that runs captioners, and `caption_corpus`, which commits what they write and then has it judged."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from curate.captioners import DEFAULT
from curate.captioners.base import Captioner
from curate.corpus import Corpus, open_corpus
from curate.score import COMMIT_ROWS, Listener, Run, batch_of, chosen, quiet, score_corpus
from curate.stage import Resources, Stage
from schemas.clip import CAPTIONS, CLIPS
from schemas.source import SOURCES
from schemas.table import table_of

SAME_WORDS_IN = 10
"""Clips of different sources from which one caption is reported as said of everything."""


@dataclass
class CaptionReport:
    """What was written: captioner to captions, problem to captions, and captions said of many sources with how many clips they have."""

    written: dict[str, int] = field(default_factory=dict)
    problems: dict[str, int] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)

    def summary(self) -> str:
        """One line per captioner, problem and repeated caption."""
        lines = [f"{identity}: {captions} captions" for identity, captions in self.written.items()]
        lines += [f"not to be used: {captions} captions, {problem}" for problem, captions in self.problems.items()]
        lines += [f"nearly the same caption on {clips} clips: {text}" for text, clips in self.repeated.items()]
        return "\n".join(lines) or "nothing to caption"


class WriteCaptions(Stage):
    """Rows of clips in (clip_id, their span and the columns the captioner needs); rows of CAPTIONS out, and one without text where nothing was said."""

    reads = frozenset({"clip_id", "start_s", "end_s"})
    writes = frozenset(CAPTIONS.names)
    resources = Resources(cpus=1.0, memory_gb=1.0)
    batch_rows = 16

    def __init__(self, corpus_url: str, captioner: Captioner) -> None:
        self.corpus_url = corpus_url
        self.captioner = captioner

    def setup(self) -> None:
        self._corpus = open_corpus(self.corpus_url)
        self.captioner.setup()

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        batch = batch_of(self._corpus, rows, {"frame"} if "proxies" in self.captioner.needs else ())
        signed = self.captioner.identity()
        made = []
        for clip, captions in zip(batch.rows, self.captioner.write(batch), strict=True):
            span = {"clip_id": clip["clip_id"], "captioner": signed, "start_s": clip["start_s"], "end_s": clip["end_s"]}
            for caption in captions:
                window = {name: value for name, value in (("start_s", caption.start_s), ("end_s", caption.end_s)) if value is not None}
                made.append({**span, **window, "prompt": caption.prompt, "text": caption.text, "problem": caption.problem})
            if not captions:
                made.append({**span, "problem": "nothing to say"})
        yield table_of(made, CAPTIONS)


def caption_corpus(
    corpus: Corpus, captioners: Sequence[Captioner] | None, profile: str, run: Run, listener: Listener = quiet, models_dir: str | None = None
) -> CaptionReport:
    """Have every clip captioned by each captioner that has not seen it, commit as captions arrive, then run the profile's scorers that need a caption.

    Args:
        captioners: DEFAULT when None. Which caption `clips` shows is by preference, whatever the order here.
        run: curate.engine.run_here or run_on_ray.
    """
    report = CaptionReport()
    for captioner in captioners if captioners is not None else DEFAULT:
        rows = pending(corpus, captioner)
        if rows.num_rows:
            _caption_all(corpus, WriteCaptions(corpus.url, captioner), rows, run, listener, report)
    judges = [cls.name for cls in chosen(profile) if "caption" in cls.needs]
    score_corpus(corpus, profile, run, only=judges, listener=listener, models_dir=models_dir)
    report.repeated = repeated(corpus)
    return report


def pending(corpus: Corpus, captioner: Captioner) -> pa.Table:
    """The clips a captioner has not captioned, sorted by clip_id, with what it needs of them and of their sources."""
    of_clip = sorted(captioner.needs & set(CLIPS.names) - {"clip_id", "source_id", "start_s", "end_s"})
    of_source = sorted(captioner.needs & set(SOURCES.names) - set(CLIPS.names))
    clips = corpus.table("clips", columns=["clip_id", "source_id", "start_s", "end_s", *of_clip])
    seen = corpus.read("captions", columns=["clip_id", "captioner"])
    seen = seen.filter(pc.equal(seen["captioner"], captioner.identity()))
    clips = clips.filter(pc.invert(pc.is_in(clips["clip_id"], value_set=seen["clip_id"].combine_chunks())))
    if of_source:
        sources = corpus.table("sources", columns=["source_id", *of_source])
        place = pc.index_in(clips["source_id"].combine_chunks(), value_set=sources["source_id"].combine_chunks())
        for name in of_source:  # a join in pyarrow cannot carry lists such as tags
            clips = clips.append_column(name, sources[name].combine_chunks().take(place))
    return clips.sort_by("clip_id")


def repeated(corpus: Corpus) -> dict[str, int]:
    """Captions that, numbers and case aside, are shown for clips of SAME_WORDS_IN sources or more, with how many clips each has."""
    clips = corpus.table("clips", columns=["clip_id", "source_id", "caption"]).to_pylist()
    sources: dict[str, set[str]] = {}
    count: Counter[str] = Counter()
    for row in clips:
        if row["caption"]:
            words = " ".join(re.findall(r"[^\W\d_]+", row["caption"].lower()))
            sources.setdefault(words, set()).add(row["source_id"])
            count[words] += 1
    return {words: count[words] for words, of in sorted(sources.items(), key=lambda item: (-len(item[1]), item[0])) if len(of) >= SAME_WORDS_IN}


def _caption_all(corpus: Corpus, stage: WriteCaptions, rows: pa.Table, run: Run, listener: Listener, report: CaptionReport) -> None:
    waiting: list[pa.Table] = []
    done = 0
    listener("caption", done, rows.num_rows)
    for made in run(rows, [stage]):
        waiting.append(made)
        done += pc.count_distinct(made["clip_id"]).as_py()
        listener("caption", done, rows.num_rows)
        if sum(table.num_rows for table in waiting) >= COMMIT_ROWS:
            _commit(corpus, pa.concat_tables(waiting), report)
            waiting = []
    if waiting:
        _commit(corpus, pa.concat_tables(waiting), report)


def _commit(corpus: Corpus, made: pa.Table, report: CaptionReport) -> None:
    (signed,) = set(made["captioner"].to_pylist())
    key = hashlib.sha256("\n".join([signed, *sorted(set(made["clip_id"].to_pylist()))]).encode()).hexdigest()[:32]
    corpus.append("captions", made, key)
    report.written[signed] = report.written.get(signed, 0) + pc.count(made["text"]).as_py()
    for problem in made["problem"].drop_null().to_pylist():
        kind = problem.split(":")[0]
        report.problems[kind] = report.problems.get(kind, 0) + 1
