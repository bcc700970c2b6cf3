"""Documents: an error names the file, the line and what is allowed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.document import Document, DocumentError, parse_document, read_document, read_toml


class Wheel(Document):
    size: int


class Cart(Document):
    name: str
    size: int = 1
    wheels: tuple[Wheel, ...] = ()
    spare: Wheel | None = None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('name = "a"\nsize = "big"\n', 2),
        ('name = "a"\n[spare]\nsize = "big"\n', 3),
        ('name = "a"\nspare = { size = "big" }\n', 2),
        ('name = "a"\nspare.size = "big"\n', 2),
        ('name = "a"\n[[wheels]]\nsize = 1\n[[wheels]]\nsize = "big"\n', 5),
        ('"name" = 3\n', 1),
        ('name = "a"\n[spare]\nsizes = 4\nsize = 1\n', 3),
    ],
)
def test_the_line_is_that_of_the_wrong_key_and_not_of_a_namesake(tmp_path, text, line):
    path = tmp_path / "cart.toml"
    path.write_text(text)
    with pytest.raises(DocumentError, match=rf"cart\.toml, line {line}: "):
        read_document(path, Cart)


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"\xff\xfe", "is not UTF-8 text"), (b"name = ", "is not valid TOML"), (b"", "`name` is missing"), (b'name = "a"\nsiez = 1', "did you mean `size`")],
)
def test_what_cannot_be_read_is_said_plainly(tmp_path, content, told):
    path = tmp_path / "cart.toml"
    path.write_bytes(content)
    with pytest.raises(DocumentError, match=told):
        read_document(path, Cart)


def test_a_missing_file_and_a_folder_are_said_plainly(tmp_path):
    with pytest.raises(DocumentError, match="No such file"):
        read_document(tmp_path / "none.toml", Cart)
    with pytest.raises(DocumentError, match="cannot be read"):
        read_toml(tmp_path)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(DocumentError) as caught:
        parse_document({"size": "big", "wings": 2}, Cart, "cart")
    assert len(str(caught.value).splitlines()) == 3


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_text_breaks_the_search_for_a_line(text):
    with pytest.raises(DocumentError):
        parse_document({"size": "big"}, Cart, "cart", text)
