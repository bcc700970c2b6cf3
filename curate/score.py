"""Score: clips in, measures out. The stage that lays proxies and features before the scorers, and `score_corpus`, which commits what they say.

The order of the chain: `measure` reads footage and runs every scorer that needs no caption; `caption` writes captions (`describe` speaks of labels,
text and motion, so it comes after) and then runs the scorers that need one. Run alone, `score_corpus` runs all that can run: a clip
without a caption stays pending for the scorers that need it, and is pending again when its chosen caption changes.
"""

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from curate.corpus import Corpus, open_corpus
from curate.embedding.compute import device_name
from curate.embedding.features import FEATURES, Feature
from curate.scorers import PROFILES, SCORERS
from curate.scorers.base import ClipBatch, Picture, Scorer, schema_of
from curate.stage import Resources, Stage
from schemas.clip import CLIPS

COMMIT_ROWS, COMMIT_S = 1024, 20.0
"""A commit holds so many clips, or what was done in so many seconds: few files, and little to do again after a crash."""

ON_CPU, ON_GPU = Resources(cpus=1.0, memory_gb=2.0), Resources(cpus=4.0, gpus=1.0, memory_gb=8.0)

OF_CAPTION = pa.field("of_caption", pa.string(), metadata={"doc": "Digest of the caption that was judged", "by": "score"})

Listener = Callable[[str, float, float], None]
Run = Callable[..., Iterator[pa.Table]]


def quiet(what: str, done: float, total: float) -> None:
    """Nobody listens."""


class ScoreError(ValueError):
    """There is no such profile or scorer; the message lists those there are."""


@dataclass
class ScoreReport:
    """What was scored: scorer identity to clips, and column to reason to clips left null."""

    scored: dict[str, int] = field(default_factory=dict)
    unmeasured: dict[str, dict[str, int]] = field(default_factory=dict)

    def summary(self) -> str:
        """One line per scorer, then one per column that stayed null."""
        lines = [f"{identity}: {clips} clips" for identity, clips in self.scored.items()]
        lines += [f"{column} is unknown for {clips} clips: {reason}" for column, reasons in self.unmeasured.items() for reason, clips in reasons.items()]
        return "\n".join(lines) or "nothing to score"


class Score(Stage):
    """Rows of clips in (clip_id and the columns the scorers need); clip_id, the scorers' columns and `unmeasured` out."""

    reads = frozenset({"clip_id"})
    writes = frozenset({"clip_id", "unmeasured"})

    def __init__(self, corpus_url: str, scorers: tuple[str, ...], profile: str, models_dir: str | None = None) -> None:
        self.corpus_url = corpus_url
        self.scorers = tuple(cls(models_dir) for cls in chosen(profile, scorers))
        wanted = {need for scorer in self.scorers for need in scorer.needs}
        self.features = tuple(cls(models_dir) for cls in FEATURES if cls.name in wanted)
        self.resources = ON_GPU if {"clip_l14"} & wanted and device_name() == "cuda" else ON_CPU
        self.batch_rows = 64 if self.resources.gpus else 16
        self.kinds = {kind for kind, need in (("frame", "proxies"), ("edges", "edges")) if need in with_features(wanted)}

    def setup(self) -> None:
        self._corpus = open_corpus(self.corpus_url)
        for feature in self.features:
            feature.setup()
        for scorer in self.scorers:
            scorer.setup()

    def process(self, rows: pa.Table) -> Iterator[pa.Table]:
        batch = batch_of(self._corpus, rows, self.kinds)
        batch = ClipBatch(batch.clips, batch.pictures, batch.edges, {feature.name: feature.compute(batch) for feature in self.features})
        yield merged([scorer.score(batch) for scorer in self.scorers])


def score_corpus(
    corpus: Corpus, profile: str, run: Run, only: str | Collection[str] | None = None, listener: Listener = quiet, models_dir: str | None = None
) -> ScoreReport:
    """Score the clips that a profile's scorers have not seen, commit as results arrive, and let `clips` show the profile's scorers.

    Args:
        only: the names of scorers to run; all of the profile's when None.
        run: curate.engine.run_here or run_on_ray.

    Raises:
        ScoreError: no such profile or scorer.
        ModelError: a scorer's weights are missing or wrong; nothing was scored by it.
    """
    classes = chosen(profile, (only,) if isinstance(only, str) else tuple(only) if only is not None else None)
    report = ScoreReport()
    _note_preprocessing(corpus, classes)
    for group, rows in pending(corpus, classes):
        stage = Score(corpus.url, tuple(cls.name for cls in group), profile, models_dir)
        _score_group(corpus, stage, rows, run, listener, report)
    # Only now: a profile whose weights are missing would else hide what another has measured.
    corpus.choose({column.name: cls.identity() for cls in classes if cls.family == "measures" for column in cls.columns})
    return report


def _note_preprocessing(corpus: Corpus, classes: Iterable[type[Scorer]]) -> None:
    """What each scorer does to a proxy, beside its identity in `corpus.toml`: the numbers mean nothing without it."""
    told = {cls.identity(): cls.preprocessing for cls in classes}
    if told.items() - corpus.settings().get("scorers", {}).items():
        corpus.note("scorers", told)


def chosen(profile: str, names: Collection[str] | None = None) -> tuple[type[Scorer], ...]:
    """A profile's scorers; or, where names are given, those of them, whichever profile they belong to.

    Raises:
        ScoreError: there is no such profile or scorer.
    """
    if profile not in PROFILES:
        raise ScoreError(f"no profile is called `{profile}`; there are {', '.join(PROFILES)}")
    if names is None:
        return PROFILES[profile]
    there = {cls.name: cls for cls in SCORERS}
    if unknown := sorted(set(names) - there.keys()):
        raise ScoreError(f"no scorer is called `{unknown[0]}`; there are {', '.join(there)}")
    return tuple(cls for name, cls in there.items() if name in names)


def pending(corpus: Corpus, classes: Iterable[type[Scorer]]) -> Iterator[tuple[list[type[Scorer]], pa.Table]]:
    """Scorers grouped by which clips they have yet to see, with those clips' rows, sorted by clip_id; computed before anything is scored."""
    classes = list(classes)
    clips = corpus.table("clips", columns=["clip_id", *sorted(columns_needed(classes))])
    groups: dict[tuple[str, bool], tuple[list[type[Scorer]], pa.Table]] = {}
    for cls in classes:
        rows = _unseen(corpus, cls, clips)
        if rows.num_rows:
            groups.setdefault((_digest(rows["clip_id"].to_pylist()), "caption" in cls.needs), ([], rows))[0].append(cls)
    yield from groups.values()


def columns_needed(classes: Iterable[type[Scorer]]) -> set[str]:
    """The columns of clips that scorers and their features read."""
    return with_features({need for cls in classes for need in cls.needs}) & set(CLIPS.names) - {"clip_id"}


def with_features(needs: Collection[str]) -> set[str]:
    """Needs, and what the features among them need."""
    there: dict[str, type[Feature]] = {cls.name: cls for cls in FEATURES}
    return set(needs).union(*(there[need].needs for need in needs if need in there))


def batch_of(corpus: Corpus, rows: pa.Table, kinds: Collection[str]) -> ClipBatch:
    """The clips of some rows with their proxies of the kinds asked for, and no features."""
    clip_ids = rows["clip_id"].to_pylist()
    frames, edges = (_pictures(corpus, clip_ids, kind) if kind in kinds else [()] * len(clip_ids) for kind in ("frame", "edges"))
    return ClipBatch(rows, frames, edges)


def merged(tables: Sequence[pa.Table]) -> pa.Table:
    """One table from the scorers' tables over the same clips, their reasons put together."""
    made: dict[str, pa.Array] = {"clip_id": tables[0]["clip_id"]}
    for table in tables:
        made |= {name: table[name] for name in table.column_names if name not in ("clip_id", "unmeasured")}
    reasons = [sorted(entry for part in parts for entry in part) for parts in zip(*(table["unmeasured"].to_pylist() for table in tables), strict=True)]
    return pa.table({**made, "unmeasured": pa.array(reasons, CLIPS.field("unmeasured").type)})


def _score_group(corpus: Corpus, stage: Score, rows: pa.Table, run: Run, listener: Listener, report: ScoreReport) -> None:
    """Run one stage over the rows and commit each scorer's columns, COMMIT_ROWS clips at a time."""
    captions = dict(zip(rows["clip_id"].to_pylist(), rows["caption"].to_pylist())) if "caption" in rows.column_names else {}
    done = 0
    listener("score", done, rows.num_rows)
    for made in gathered(run(rows, [stage])):
        _commit(corpus, stage, made, captions, report)
        done += made.num_rows
        listener("score", done, rows.num_rows)


def gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Tables put together into few worth a commit: COMMIT_ROWS rows, or what came in COMMIT_S seconds, and the rest."""
    waiting: list[pa.Table] = []
    since = time.monotonic()
    for table in tables:
        waiting.append(table)
        if sum(each.num_rows for each in waiting) >= COMMIT_ROWS or time.monotonic() - since > COMMIT_S:
            yield pa.concat_tables(waiting)
            waiting, since = [], time.monotonic()
    if waiting:
        yield pa.concat_tables(waiting)


def _commit(corpus: Corpus, stage: Score, made: pa.Table, captions: dict[str, str], report: ScoreReport) -> None:
    clip_ids = made["clip_id"].to_pylist()
    for scorer in stage.scorers:
        schema, names = schema_of(scorer.columns), {column.name for column in scorer.columns}
        reasons = [[entry for entry in clip if entry[0] in names] for clip in made["unmeasured"].to_pylist()]
        rows = pa.table([*(made[name] for name in schema.names[:-1]), pa.array(reasons, schema.field("unmeasured").type)], schema=schema)
        relation = scorer.relation()
        key = _digest(clip_ids)
        if "caption" in scorer.needs:
            judged = [caption_digest(captions.get(clip_id)) for clip_id in clip_ids]
            rows = rows.append_column(OF_CAPTION, pa.array(judged, pa.string()))
            # A caption can change and change back: what was committed before under the same words is gone, so its key must not be met again.
            key = _digest([key, *judged, str(len(corpus.committed(relation)))])
        corpus.append(relation, rows, key)
        report.scored[scorer.identity()] = report.scored.get(scorer.identity(), 0) + rows.num_rows
        for name, reason in (entry for clip in reasons for entry in clip):
            tally = report.unmeasured.setdefault(name, {})
            tally[reason] = tally.get(reason, 0) + 1


def _unseen(corpus: Corpus, cls: type[Scorer], clips: pa.Table) -> pa.Table:
    """The clips a scorer has yet to measure; measures of captions that were replaced are dropped first."""
    relation = cls.relation()
    there = relation in corpus.names(f"{cls.family}/")
    if "caption" not in cls.needs:
        seen = corpus.read(relation, ["clip_id"])["clip_id"].combine_chunks() if there else pa.array([], pa.string())
        return clips.filter(pc.invert(pc.is_in(clips["clip_id"], value_set=seen)))
    stored = corpus.read(relation) if there else schema_of(cls.columns).empty_table()
    now = {row["clip_id"]: caption_digest(row["caption"]) for row in clips.select(["clip_id", "caption"]).to_pylist() if row["caption"]}
    before = dict(zip(stored["clip_id"].to_pylist(), stored[OF_CAPTION.name].to_pylist())) if stored.num_rows else {}
    good = [clip_id for clip_id, digest in before.items() if now.get(clip_id) == digest]
    if len(good) < len(before):
        corpus.replace(relation, stored.filter(pc.is_in(stored["clip_id"], value_set=pa.array(good, pa.string()))))
    wanted = pa.array(sorted(now.keys() - set(good)), pa.string())
    return clips.filter(pc.is_in(clips["clip_id"], value_set=wanted))


def caption_digest(caption: str | None) -> str:
    """What identifies the words that were judged."""
    return hashlib.sha256((caption or "").encode()).hexdigest()[:16]


def _pictures(corpus: Corpus, clip_ids: Sequence[str], kind: str) -> list[tuple[Picture, ...]]:
    found: dict[str, list[Picture]] = {clip_id: [] for clip_id in clip_ids}
    for row in corpus.proxies(clip_ids, kind).select(["clip_id", "image", "time_s", "frame"]).to_pylist():
        found[row["clip_id"]].append(Picture(row["image"], row["time_s"], row["frame"]))
    return [tuple(found[clip_id]) for clip_id in clip_ids]


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
