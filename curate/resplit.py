"""Resplit: a corpus is split in one way; another way is refused, told what it would redo, until it is asked for."""

from dataclasses import asdict

from curate.corpus import Corpus, CorpusError
from curate.divide import Lengths
from curate.read import Splitter

SECTION = "splitter"
READ = ("shots", "spans", "gaps", "proxies", "readings")
"""What reading commits, together."""
DERIVED = ("captions", "duplicates", "semantic")
FAMILIES = ("measures/", "embeddings/")


def settled(corpus: Corpus, asked: Splitter | None, again: bool = False) -> Splitter:
    """How the corpus is split, noted when it is read for the first time.

    Args:
        asked: how to split it; as before when None.
        again: forget what was read in another way, with all that was made of it.

    Raises:
        CorpusError: it was split in another way, and that is not to be redone.
    """
    before = noted(corpus)
    splitter = asked or before or Splitter()
    read = len(corpus.committed("readings"))
    if before not in (None, splitter) and read and not again:
        told = ", ".join(f"{name} {_facts(before)[name]} (asked: {value})" for name, value in _facts(splitter).items() if _facts(before)[name] != value)
        raise CorpusError(
            f"{corpus.url}: its clips were made with {told}. Another way makes other clips: {read} sources would be decoded again, and their scores, captions "
            "and duplicates be made anew. Ask as before, or add `--again` to do so"
        )
    if before != splitter:
        if read and before is not None:
            _forget(corpus)
        corpus.note(SECTION, {name: str(value) for name, value in _facts(splitter).items()})
    return splitter


def noted(corpus: Corpus) -> Splitter | None:
    """How the corpus was split, by its own word."""
    told = corpus.settings().get(SECTION)
    if told is None:
        return None
    lengths = Lengths(int(told["minimum_frames"]), float(told["target_s"]), float(told["maximum_s"]), int(told["margin_frames"]))
    return Splitter(told["detector"], lengths, int(told["pictures"]), int(told["picture_side"]), int(told["picture_quality"]))


def _facts(splitter: Splitter) -> dict[str, str | float]:
    facts = asdict(splitter)
    return {**facts.pop("lengths"), **facts}


def _forget(corpus: Corpus) -> None:
    """Drop what was read and all that was made of it; selections and shards stay, until they are made anew."""
    made = corpus.names()
    of_clips = [name for name in made if name in DERIVED or name.startswith(FAMILIES)]
    corpus.forget(*(name for name in (*READ, *of_clips) if name in made))
