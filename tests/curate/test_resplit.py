"""Splitting in another way: told before anything is redone, and then redone whole."""

import pyarrow as pa
import pytest

from curate.corpus import CorpusError, open_corpus
from curate.divide import Lengths
from curate.read import Splitter
from curate.resplit import noted, settled
from curate.storage.relations import RELATIONS
from schemas.clip import clip_id
from schemas.table import table_of

SHORT = Splitter("rules", Lengths(target_s=2.0, maximum_s=4.0))


@pytest.fixture
def corpus(tmp_path):
    """A corpus split in short clips, one source read, scored and captioned."""
    made = open_corpus(str(tmp_path / "corpus"), create=True)
    settled(made, SHORT)
    name = clip_id("s", 0, 50)
    tables = {relation: table_of([{"source_id": "s"}], RELATIONS[relation]) for relation in ("shots", "gaps", "proxies", "readings")}
    made.commit("s", {**tables, "spans": table_of([{"clip_id": name, "source_id": "s"}], RELATIONS["spans"])})
    made.append("measures/looks@1", pa.table({"clip_id": [name], "aesthetic": [5.0]}), "s")
    made.append("captions", table_of([{"clip_id": name, "captioner": "describe@1", "text": "a dog"}], RELATIONS["captions"]), "s")
    made.replace("duplicates", table_of([{"clip_id": name, "duplicate_cluster": name}], RELATIONS["duplicates"]))
    return made


def test_a_corpus_is_split_as_before_unless_told_otherwise(corpus):
    assert settled(corpus, None) == settled(corpus, SHORT) == noted(corpus) == SHORT


def test_another_way_is_told_before_anything_is_redone(corpus):
    with pytest.raises(CorpusError, match=r"target_s 2.0 \(asked: 5.0\).*1 sources would be decoded again.*--again"):
        settled(corpus, Splitter("rules"))
    assert corpus.committed("readings") == {"s"} and noted(corpus) == SHORT


def test_asked_to_do_it_again_nothing_of_the_clips_is_left(corpus):
    assert settled(corpus, Splitter("rules"), again=True) == noted(corpus) == Splitter("rules")
    assert not corpus.committed("readings") and not corpus.committed("captions") and not corpus.committed("measures/looks@1")
    assert all(not corpus.read(name).num_rows for name in ("spans", "shots", "proxies", "measures/looks@1", "captions", "duplicates"))


def test_a_corpus_of_which_nothing_was_read_may_be_split_in_any_way(tmp_path):
    made = open_corpus(str(tmp_path), create=True)
    assert settled(made, SHORT) == SHORT and settled(made, Splitter()) == Splitter()
