"""Verifying splits: no packed clip lies in the other part of its recipe's split by now, as one may when copies are looked for again."""

from collections.abc import Iterator

import pyarrow.compute as pc

from curate.corpus import Corpus
from curate.deciding.decide import SET_ASIDE, with_sides
from curate.deciding.split import READS
from curate.keeping.problems import listed
from curate.packing.describing import clips_of
from curate.trace import manifests
from schemas.recipe import Recipe


def split_problems(corpus: Corpus) -> Iterator[str]:
    """Clips in packed sets that belong to the other part."""
    for name, manifest in manifests(corpus):
        recipe = Recipe.model_validate(manifest["recipe"])
        if recipe.split is None:
            continue
        clips = with_sides(corpus.table("clips", columns=READS), recipe)
        others = clips.filter(pc.equal(clips[SET_ASIDE], recipe.split.part == "training"))["clip_id"]
        packed = clips_of(manifest)
        strange = packed.filter(pc.is_in(packed, others.combine_chunks())).to_pylist()
        why = "copies were looked for again since, or footage was added that joins them"
        yield from listed(f"clips of shards/{name} that belong to the other part of its split ({why}; select and pack again)", strange)
