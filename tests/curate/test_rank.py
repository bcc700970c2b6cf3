"""Numbers of clips by their ids: every known id in any order, none for others, and alike however the ids are cut into chunks."""

import numpy as np
import pyarrow as pa
import pytest

from curate.copies.rank import Numbers


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_every_id_finds_its_number_and_a_strange_one_finds_none(size: int) -> None:
    rng = np.random.default_rng(size)
    names = [f"s{number:020x}-{number % 3:08d}-{'9' * (8 + number % 2)}" for number in rng.permutation(size)]
    numbers = Numbers(pa.chunked_array([names[: size // 2], names[size // 2 :]], pa.string()))
    strange = [f"{names[0]}0", names[0][:-1], "", "a", "t"]
    asked = [(names + strange)[place] for place in rng.permutation(size + len(strange))]
    expected = [names.index(name) if name in names else -1 for name in asked]
    assert numbers.of(pa.chunked_array([asked[:3], asked[3:]], pa.string())).tolist() == expected


def test_where_nothing_is_known_or_asked_nothing_is_found() -> None:
    none = pa.chunked_array([], pa.string())
    assert Numbers(none).of(pa.chunked_array([["s1"]])).tolist() == [-1]
    assert Numbers(pa.chunked_array([["s1"]])).of(none).tolist() == []
