"""What was made once is found again; what was interrupted is made again; what was made from something else is another piece."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.ablation.pieces import Pieces, digest_of


def writes(text: str, calls: list[str]) -> Any:
    def build(folder: Path) -> dict[str, Any]:
        calls.append(text)
        (folder / "content.txt").write_text(text)
        return {"length": len(text)}

    return build


def test_a_piece_is_made_once(tmp_path: Path):
    calls: list[str] = []
    first = Pieces(tmp_path).make("words", {"text": "a"}, writes("a", calls))
    again = Pieces(tmp_path).make("words", {"text": "a"}, writes("a", calls))
    assert calls == ["a"]
    assert (first.fresh, again.fresh) == (True, False)
    assert again.facts["length"] == 1 and again.folder == first.folder


def test_another_origin_is_another_piece(tmp_path: Path):
    pieces, calls = Pieces(tmp_path), list[str]()
    assert pieces.make("words", {"text": "a"}, writes("a", calls)).digest != pieces.make("words", {"text": "b"}, writes("b", calls)).digest
    assert [piece.facts["length"] for piece in pieces.all("words")] == [1, 1]


@pytest.mark.parametrize(("resumable", "left"), [(False, False), (True, True)])
def test_an_interrupted_piece_is_not_taken_for_whole(tmp_path: Path, resumable: bool, left: bool):
    pieces = Pieces(tmp_path)

    def stops(folder: Path) -> dict[str, Any]:
        (folder / "half.txt").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pieces.make("words", {"text": "a"}, stops, resumable=resumable)
    assert pieces.find("words", {"text": "a"}) is None and pieces.all("words") == []

    made = pieces.make("words", {"text": "a"}, writes("a", []), resumable=resumable)
    assert (made.folder / "half.txt").exists() is left


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1}) != digest_of({"a": 1, "b": [3]})
