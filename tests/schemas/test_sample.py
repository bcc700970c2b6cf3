"""A sample comes back from its encoded form as it was."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.sample import Sample, decode, encode

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
text_without_surrogates = st.text(st.characters(exclude_categories=["Cs"]))


@settings(deadline=None)
@given(caption=text_without_surrogates, facts=st.dictionaries(st.text(), json_values, max_size=4), video=st.none() | st.binary(), latents=st.binary())
def test_a_sample_survives_encoding(caption, facts, video, latents):
    sample = Sample("s0-1-2", caption, facts, video=video, extras={"latents.npy": latents})
    assert decode(encode(sample)) == sample


def test_the_same_facts_in_any_order_are_the_same_bytes():
    one, other = Sample("k", "", {"a": 1, "b": 2}, image=b"x"), Sample("k", "", {"b": 2, "a": 1}, image=b"x")
    assert encode(one) == encode(other)


def test_a_number_that_json_does_not_know_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(Sample("k", "", {"motion": float("nan")}))


def test_an_image_has_no_video_file_and_a_video_no_image_file():
    assert "mp4" not in encode(Sample("k", "", {}, image=b"x")) and "jpg" not in encode(Sample("k", "", {}, video=b"x"))


def test_fields_of_the_reader_are_not_extras():
    encoded = encode(Sample("k", "hello", {}, video=b"x"))
    assert decode({**encoded, "__url__": "shard-000000.tar", "__local_path__": "x"}).extras == {}
    assert json.loads(encoded["json"]) == {}
