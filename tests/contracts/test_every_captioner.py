"""What every captioner promises: captions per clip in order, plain text, nothing raised for one odd clip."""

import pickle
import re

import pyarrow as pa
import pytest

from curate.captioners import DEFAULT
from curate.captioners.base import ClipBatch, cleaned
from curate.scorers.base import Picture
from schemas.clip import CLIPS
from schemas.source import SOURCES

HOSTILE = 'Boats </title><script>alert("x")</script> \x1b[31m ../../up \u202egpj.exe'


def rows(captioner, count: int) -> pa.Table:
    """Clips with hostile words in every text column the captioner needs, and null in the others."""
    fields = {field.name: field for field in (*SOURCES, *CLIPS) if field.name in captioner.needs}
    values = {str(pa.string()): HOSTILE, str(pa.list_(pa.string())): [HOSTILE]}
    made = {name: pa.array([values.get(str(field.type))] * count, field.type) for name, field in fields.items()}
    return pa.table({"clip_id": [f"clip{number}" for number in range(count)], **made})


@pytest.mark.parametrize("captioner", DEFAULT, ids=lambda captioner: captioner.name)
class TestEveryCaptioner:
    def test_it_says_who_it_is_and_what_it_needs(self, captioner):
        assert re.fullmatch(r"[a-z][a-z_]*@\d+(-[0-9a-f]{8})?", captioner.identity())
        assert captioner.needs <= {"proxies"} | set(CLIPS.names) | set(SOURCES.names)

    def test_it_travels_to_a_worker_before_it_is_set_up(self, captioner):
        assert pickle.loads(pickle.dumps(captioner)).identity() == captioner.identity()

    def test_hostile_words_come_out_plain_and_odd_clips_raise_nothing(self, captioner):
        written = captioner.write(ClipBatch(rows(captioner, 3), [(), (Picture(b"not a picture"),), ()]))
        assert len(written) == 3
        for caption in (each for clip in written for each in clip):
            assert caption.text == cleaned(caption.text) and "<" not in caption.text
