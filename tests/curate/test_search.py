"""Searching for likely copies: everything is laid once, where it belongs, and a search that was interrupted goes on with what is missing."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.copies import cells
from curate.copies.cells import LAID, lay
from curate.copies.fingerprint import SIDE, descriptors, distinct
from curate.copies.rank import Kinship
from curate.copies.search import kept_folder, likely_pairs, whole
from curate.corpus import SEARCHING, CorpusError, open_corpus
from curate.engine import quiet, run_here, run_on_ray
from curate.keeping.erase import erase_files


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Miniatures that are smooth, as pictures are, of which the second half are the first, a little noisier."""
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=(count // 2, 6, 6)) / (1 + np.add.outer(np.arange(6), np.arange(6)))
    cosines = np.cos(np.pi * np.outer(np.arange(SIDE) + 0.5, np.arange(6)) / SIDE)
    smooth = cosines @ waves @ cosines.T
    smooth = 128 + 50 * smooth / smooth.std(axis=(1, 2), keepdims=True)
    both = np.concatenate([smooth, smooth + rng.normal(0, 2, smooth.shape)])
    return np.clip(both, 0, 255).astype(np.uint8)


def in_batches(miniatures: np.ndarray, size: int = 70):
    owners = np.arange(len(miniatures))
    return lambda: ((miniatures[at : at + size], owners[at : at + size]) for at in range(0, len(miniatures), size))


def strangers(count: int) -> Kinship:
    told = np.zeros(count, [("source", np.int32), ("kind", np.int32), ("shot", np.int32)])
    told["source"] = np.arange(count)
    return Kinship(told)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells so small that a few hundred pictures are divided into regions."""
    for name, value in {"ONE_CELL_UP_TO": 100, "PER_CELL": 8, "LEARNT_OF": 2}.items():
        monkeypatch.setattr(cells, name, value)


@pytest.mark.parametrize("count", [0, 1, 2, 400])
@pytest.mark.usefixtures("small")
def test_every_record_lies_once_in_the_order_of_its_cell_beside_what_is_looked_for_and_whose_it_is(tmp_path: Path, count: int) -> None:
    miniatures = pictures(2 * count)[:count]
    laid = lay(in_batches(miniatures), whole, tmp_path)
    assert sorted(laid.owners.tolist()) == list(range(count)) and laid.starts[-1] == count
    assert np.array_equal(laid.records.reshape(count, SIDE, SIDE), miniatures[laid.owners])
    assert {path.name for path in tmp_path.iterdir()} == {LAID, "records.npy", "wholes.npy", "owners.npy"}
    for region in range(laid.regions):
        first, last = laid.places(region)
        vectors = whole(laid.records[first:last])
        assert np.allclose(laid.wholes[first:last], vectors, atol=1e-3)
        assert (laid.division.regions_of(vectors) == region).all()
        own = laid.division.cells_of(region, vectors)
        assert (np.diff(own) >= 0).all() and all(laid.starts[cell] <= place < laid.starts[cell + 1] for place, cell in enumerate(own, first))


@pytest.mark.usefixtures("small")
def test_an_interrupted_search_goes_on_with_the_regions_that_are_missing(tmp_path: Path) -> None:
    source, kinship, searched = in_batches(pictures(400)), strangers(400), []

    def failing_after(most: int):
        def run(rows, stages):
            for number, made in enumerate(run_here(rows, stages)):
                searched.append(made["region"][0].as_py())
                yield made
                if number + 1 == most:
                    raise KeyboardInterrupt

        return run

    def found(run, below: Path) -> np.ndarray:
        with kept_folder(below, b"these clips") as folder:
            return likely_pairs(source, kinship, False, folder, run, quiet)

    with pytest.raises(KeyboardInterrupt):
        found(failing_after(3), tmp_path)
    assert len(searched) == 3 and (tmp_path / SEARCHING).exists()
    pairs = found(failing_after(1000), tmp_path)
    assert len(searched) == len(set(searched)) and not (tmp_path / SEARCHING).exists()
    (other := tmp_path / "other").mkdir()
    assert np.array_equal(pairs, found(run_here, other))
    assert {(number, number + 200) for number in range(200)} - {tuple(pair) for pair in pairs.tolist()} == set()


@pytest.mark.usefixtures("small")
def test_ray_finds_the_same_pairs(tmp_path: Path) -> None:
    source, kinship = in_batches(pictures(400)), strangers(400)
    here, there = (tmp_path / name for name in ("here", "there"))
    for folder in (here, there):
        folder.mkdir()
    assert np.array_equal(likely_pairs(source, kinship, True, here, run_here, quiet), likely_pairs(source, kinship, True, there, run_on_ray, quiet))


def test_what_another_search_left_behind_is_removed_and_what_this_one_left_is_kept(tmp_path: Path) -> None:
    def interrupted(told: bytes) -> Path:
        try:
            with kept_folder(tmp_path, told) as folder:
                (folder / LAID).touch()
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            return folder

    one = interrupted(b"one")
    assert interrupted(b"one") == one and (one / LAID).exists()
    other = interrupted(b"other")
    assert other.exists() and not one.exists()


def test_two_searches_of_one_corpus_do_not_get_into_each_others_way(tmp_path: Path) -> None:
    message = "another process is looking for copies in .*; wait until it is done"
    with kept_folder(tmp_path, b"one"), pytest.raises(CorpusError, match=message), kept_folder(tmp_path, b"one"):
        pass


def test_a_takedown_takes_the_pictures_of_an_interrupted_search_too(tmp_path: Path) -> None:
    corpus = open_corpus(str(tmp_path), create=True)
    (tmp_path / SEARCHING / "abc").mkdir(parents=True)
    (tmp_path / SEARCHING / "abc" / "records.npy").write_bytes(b"pictures")
    assert erase_files(corpus, "sa") == [SEARCHING] and not (tmp_path / SEARCHING).exists()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
@settings(deadline=None)
def test_of_pictures_that_look_alike_the_first_is_looked_for(shown: list[int]) -> None:
    scenes = pictures(8, seed=1)[:4]
    kept = distinct(scenes[shown])
    assert np.array_equal(kept, scenes[list(dict.fromkeys(shown))])
    likeness = descriptors(scenes)[:, 0] @ descriptors(scenes)[:, 0].T
    assert likeness[~np.eye(4, dtype=bool)].max() < 0.99
