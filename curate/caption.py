"""Caption: clips in, captions out. The stage that runs captioners, and `caption_corpus`, which commits what they write and then has it judged."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from curate.captioners import DEFAULT
from curate.captioners.base import Caption, Captioner, cleaned
from curate.captioners.check import problem_of
from curate.corpus import Corpus, open_corpus
from curate.score import Listener, Run, batch_of, chosen, gathered, quiet, score_corpus
from curate.stage import Stage
from schemas.clip import CAPTIONS, CLIPS
from schemas.source import SOURCES
from schemas.table import column, table_of

SAME_WORDS_IN = 10
"""Sources from which one caption is reported as said of everything."""

TOKENS = pa.schema(
    [
        column("prompt_tokens", pa.int64(), "Tokens that a service counted in the question", by="caption"),
        column("completion_tokens", pa.int64(), "Tokens that a service counted in the answer", by="caption"),
    ]
)
WRITTEN = pa.schema([*CAPTIONS, *TOKENS])


@dataclass
class CaptionReport:
    """What was written.

    Attributes:
        written: captioner to captions.
        problems: problem to captions that are not to be used for it.
        unanswered: captioner to clips that got no answer; they stay pending.
        tokens: captioner to tokens sent and received; `cost` the money they come to.
        repeated: captions said of many sources, and how many clips have each.
    """

    written: dict[str, int] = field(default_factory=dict)
    problems: dict[str, int] = field(default_factory=dict)
    unanswered: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, tuple[int, int]] = field(default_factory=dict)
    cost: float = 0.0
    repeated: dict[str, int] = field(default_factory=dict)

    def summary(self) -> str:
        """One line per captioner, problem and repeated caption."""
        lines = [f"{identity}: {captions} captions" for identity, captions in self.written.items()]
        lines += [f"not to be used: {captions} captions, {problem}" for problem, captions in self.problems.items()]
        lines += [f"{identity}: no answer for {clips} clips, which stay to be captioned" for identity, clips in self.unanswered.items()]
        lines += [f"{identity}: {sent} tokens sent, {received} received" for identity, (sent, received) in self.tokens.items()]
        lines += [f"cost {self.cost:.2f}"] if self.cost else []
        lines += [f"nearly the same caption on {clips} clips: {text}" for text, clips in self.repeated.items()]
        return "\n".join(lines) or "nothing to caption"


class WriteCaptions(Stage):
    """Rows of clips in (clip_id, their span and the columns the captioner needs); rows of CAPTIONS out, and one without text where nothing was said."""

    reads = frozenset({"clip_id", "start_s", "end_s"})
    writes = frozenset(WRITTEN.names)

    def __init__(self, corpus_url: str, captioner: Captioner) -> None:
        self.corpus_url = corpus_url
        self.captioner = captioner
        self.resources = captioner.resources
        self.batch_rows = captioner.batch_clips

    def setup(self) -> None:
        self._corpus = open_corpus(self.corpus_url)
        self.captioner.setup()

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        batch = batch_of(self._corpus, rows, {"frame"} if "proxies" in self.captioner.needs else ())
        made: list[dict[str, object]] = []
        for clip, captions in zip(batch.rows, self.captioner.write(batch), strict=True):
            span = {"clip_id": clip["clip_id"], "captioner": self.captioner.identity(), "start_s": clip["start_s"], "end_s": clip["end_s"]}
            nothing = [{**span, "problem": "nothing to say"}] if captions == [] else []
            made += nothing + [{**span, **_stored(caption)} for caption in captions or []]
        yield table_of(made, WRITTEN)


def _stored(caption: Caption) -> dict[str, object]:
    """A caption's columns: whatever a captioner says is cleaned and checked here, so that none can forget to."""
    text = cleaned(caption.text)
    window = {name: value for name, value in (("start_s", caption.start_s), ("end_s", caption.end_s)) if value is not None}
    problem = cleaned(caption.problem) or problem_of(text)
    counted = {"prompt_tokens": caption.prompt_tokens, "completion_tokens": caption.completion_tokens}
    return {**window, **counted, "prompt": caption.prompt, "text": text or None, "problem": problem}


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
            report.cost += captioner.cost(*report.tokens.get(captioner.identity(), (0, 0)))
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
    signed, done = stage.captioner.identity(), 0
    listener("caption", done, rows.num_rows)
    for made in gathered(run(rows, [stage])):
        _commit(corpus, signed, made, report)
        done += pc.count_distinct(made["clip_id"]).as_py()
        listener("caption", done, rows.num_rows)
    if done < rows.num_rows:
        report.unanswered[signed] = rows.num_rows - done


def _commit(corpus: Corpus, signed: str, made: pa.Table, report: CaptionReport) -> None:
    key = hashlib.sha256("\n".join([signed, *sorted(set(made["clip_id"].to_pylist()))]).encode()).hexdigest()[:32]
    corpus.append("captions", made.select(CAPTIONS.names), key)
    report.written[signed] = report.written.get(signed, 0) + pc.count(made["text"]).as_py()
    for problem in made["problem"].drop_null().to_pylist():
        kind = problem.split(":")[0]
        report.problems[kind] = report.problems.get(kind, 0) + 1
    if tokens := [pc.sum(made[name]).as_py() or 0 for name in TOKENS.names if pc.sum(made[name]).as_py()]:
        corpus.append("tokens", made.select(["clip_id", "captioner", *TOKENS.names]), key)
        before = report.tokens.get(signed, (0, 0))
        report.tokens[signed] = (before[0] + tokens[0], before[1] + sum(tokens[1:]))
