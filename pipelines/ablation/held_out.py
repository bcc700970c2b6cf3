"""The held-out set: which footage no arm trains on, which of it is evaluated, and what each recipe would keep of it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from curate.corpus import Corpus
from curate.deciding.decide import Decision, columns_read, decide
from curate.deciding.split import READS, held_out_clusters, with_alike
from curate.footage.quarantine import policy_of
from curate.footage.standing import in_force
from pipelines.ablation.arms import Entrant
from pipelines.ablation.contaminate import rank
from schemas.document import DocumentError
from schemas.experiment import HeldOut
from schemas.recipe import Caps, Duplicates, Recipe, Sampling, read_recipe
from schemas.rights import Policy

NEEDED = frozenset({"media_type", "num_frames", "fps", "start_s", "end_s", "width", "height", "unmeasured", *READS})
"""Columns of clips that planning reads, whatever the recipes."""


@dataclass(frozen=True)
class Holdings:
    """What planning reads of a corpus.

    Attributes:
        clips, sources, gaps: tables of schemas CLIPS, SOURCES and GAPS.
        on: the day on which rights must hold.
        captioned: captioner, without version, to the clips it wrote a usable caption for.
        makers: column of clips to the scorer whose values it shows.
        policy: what the corpus accepts, if that was stated.
    """

    clips: pa.Table
    sources: pa.Table
    gaps: pa.Table
    on: date
    captioned: Mapping[str, frozenset[str]] = field(default_factory=dict)
    makers: Mapping[str, str] = field(default_factory=dict)
    policy: Policy | None = None

    @classmethod
    def of(cls, corpus: Corpus, recipes: Iterable[Recipe], on: date) -> "Holdings":
        """What a corpus holds on a day, as far as some recipes ask."""
        captioned: dict[str, set[str]] = {}
        for row in corpus.table("captions", columns=["clip_id", "captioner", "problem"]).to_pylist():
            if row["problem"] is None:
                captioned.setdefault(row["captioner"].split("@")[0], set()).add(row["clip_id"])
        columns = NEEDED.union(*(columns_read(recipe) for recipe in recipes))
        tables = corpus.table("clips", columns=sorted(columns)), corpus.table("sources"), corpus.read("gaps")
        return cls(*tables, on, {captioner: frozenset(clips) for captioner, clips in captioned.items()}, corpus.makers(), policy_of(corpus))

    def long_enough(self, frames: int, fps: float | None) -> frozenset[str]:
        """The videos that have so many frames once they are encoded at a rate (None keeps theirs)."""
        rows = self.clips.select(["clip_id", "media_type", "num_frames", "fps"]).to_pylist()
        kept = (row for row in rows if row["media_type"] == "video" and row["num_frames"])
        return frozenset(row["clip_id"] for row in kept if int(row["num_frames"] * ((fps / row["fps"]) if fps and row["fps"] else 1)) >= frames)

    def decide(self, recipe: Recipe, without: frozenset[str] = frozenset()) -> Decision:
        recipe = recipe.model_copy(update={"rights": in_force(recipe.rights, self.policy)})
        return decide(recipe, self.clips, self.sources, self.gaps, on=self.on, without=without)

    def kept(self, recipe: Recipe, without: frozenset[str] = frozenset()) -> tuple[str, ...]:
        """The clips a recipe keeps, in its order."""
        return tuple(self.decide(recipe, without).selection["clip_id"].to_pylist())

    def only(self, mask: pa.ChunkedArray) -> "Holdings":
        return replace(self, clips=self.clips.filter(mask))

    @property
    def videos(self) -> "Holdings":
        return self.only(pc.equal(self.clips["media_type"], "video"))

    @property
    def cluster_of(self) -> dict[str, str]:
        """Each clip's cluster of duplicates; a clip never compared is its own."""
        return {clip: cluster or clip for clip, cluster in zip(self.clips["clip_id"].to_pylist(), self.clips["duplicate_cluster"].to_pylist())}


@dataclass(frozen=True)
class HeldOutSet:
    """What no arm trains on.

    Attributes:
        clusters: clusters of duplicates set aside, with all that semantic clusters join to them.
        clips: the clips evaluated, one of each cluster asked for, at most as many as asked for.
        views: for each arm, those of them that its recipe would keep.
        composition: how many of them come from each source, largest first.
    """

    clusters: frozenset[str]
    clips: tuple[str, ...]
    views: dict[str, frozenset[str]]
    composition: tuple[tuple[str, int], ...]


def hold_out(wanted: HeldOut, holdings: Holdings, arms: Sequence[Entrant], usable: frozenset[str]) -> HeldOutSet:
    """Set whole clusters aside, and choose one clip of each to evaluate, whatever its quality, among those that are `usable`.

    Raises:
        DocumentError: nothing can be held out, or an arm asks for what a recipe holds out.
    """
    clusters = _by_share(wanted, holdings) if wanted.recipe is None else _by_recipe(read_recipe(wanted.recipe), holdings, arms)
    others = frozenset(holdings.cluster_of.values()) - clusters
    allowed = holdings.videos.kept(Recipe(name="held-out"), others)
    clips = tuple(sorted(sorted(usable.intersection(allowed), key=lambda clip: rank(clip, wanted.seed))[: wanted.clips]))
    if not clips:
        raise DocumentError("held_out: none of the clips set aside is long enough and may be used today; hold out another share, or check their rights")
    evaluated = holdings.only(pc.is_in(holdings.clips["clip_id"], pa.array(clips)))
    views = {arm.name: frozenset(evaluated.kept(_rules_only(arm.recipe))) for arm in arms if not arm.control}
    names = dict(zip(holdings.sources["source_id"].to_pylist(), holdings.sources["uri"].to_pylist()))
    composition = Counter((names[source] or source).rsplit("/", 1)[-1] for source in evaluated.clips["source_id"].to_pylist())
    return HeldOutSet(with_alike(holdings.clips, clusters), clips, views, tuple(composition.most_common()))


def _by_share(wanted: HeldOut, holdings: Holdings) -> frozenset[str]:
    videos = holdings.videos.clips
    clusters = held_out_clusters(videos, wanted.share, wanted.seed)
    if not clusters:
        raise DocumentError(f"held_out: the corpus has {videos.num_rows} video clips, too few to set any aside; add footage, or measure what was added")
    return clusters


def _by_recipe(recipe: Recipe, holdings: Holdings, arms: Sequence[Entrant]) -> frozenset[str]:
    """The clusters of what a recipe keeps. An arm that asks for any of them is refused: its author may believe that it trains on them."""
    cluster_of = holdings.cluster_of
    clusters = frozenset(cluster_of[clip] for clip in holdings.videos.kept(recipe))
    if not clusters:
        raise DocumentError(f"held_out: recipe `{recipe.name}` keeps no clip of this corpus; loosen it, or use share instead")
    for arm in arms:
        shared = {cluster_of[clip] for clip in holdings.kept(arm.recipe)} & clusters
        if shared:
            raise DocumentError(
                f"arm `{arm.name}`: its recipe `{arm.recipe.name}` keeps clips of {len(shared)} clusters that `{recipe.name}` holds out, such as "
                f"{min(shared)}; change one of the two recipes so that they share none, or hold out a share instead"
            )
    return clusters


def _rules_only(recipe: Recipe) -> Recipe:
    """The recipe's judgement of single clips, without what it draws from a whole corpus."""
    return recipe.model_copy(update={"duplicates": Duplicates(keep="all"), "caps": Caps(), "quotas": None, "sample": Sampling(), "split": None})
