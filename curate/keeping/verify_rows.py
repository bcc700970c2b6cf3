"""Verifying rows: each clip and source once, clips inside their shot and source, measures of clips that there are; on disk, so of any number."""

from collections.abc import Iterator

from curate.corpus import Corpus
from curate.keeping.problems import listed
from curate.storage.on_disk import copy, on_disk
from curate.storage.views import CLIP_ID

TOLERANCE_S = 1e-3
READ = {
    "spans": ("clip_id", "source_id", "shot_index", "start_frame", "end_frame", "end_s"),
    "shots": ("source_id", "shot_index", "start_frame", "end_frame"),
    "readings": ("source_id", "duration_s"),
    "added": ("source_id",),
}
QUESTIONS = {
    "clips that come twice": "SELECT clip_id FROM spans GROUP BY clip_id HAVING count(*) > 1",
    "clips whose source is not in the table of sources": "SELECT clip_id FROM spans ANTI JOIN added USING (source_id)",
    "clips whose id does not say their span": f"SELECT clip_id FROM spans WHERE clip_id <> {CLIP_ID}",
    "clips that reach outside their shot": "SELECT s.clip_id FROM spans s JOIN shots t USING (source_id, shot_index) "
    "WHERE s.start_frame < t.start_frame OR s.end_frame > t.end_frame",
    "clips that end after their source": f"SELECT clip_id FROM spans s JOIN readings r USING (source_id) WHERE s.end_s > r.duration_s + {TOLERANCE_S}",
    "sources read twice": "SELECT source_id FROM readings GROUP BY source_id HAVING count(*) > 1",
    "sources added twice": "SELECT source_id FROM added GROUP BY source_id HAVING count(*) > 1",
}
TWICE = "SELECT clip_id FROM measures GROUP BY clip_id HAVING count(*) > 1"
STRANGE = "SELECT clip_id FROM measures ANTI JOIN spans USING (clip_id)"


def row_problems(corpus: Corpus) -> Iterator[str]:
    """Rows that come twice, clips outside their shot or source, measures of no clip."""
    with on_disk() as connection:

        def asked(question: str) -> list[str]:
            return [row[0] for row in connection.sql(f"{question} ORDER BY 1").fetchall()]

        for relation, columns in READ.items():
            copy(corpus, connection, relation, columns, relation)
        for what, question in QUESTIONS.items():
            yield from listed(what, asked(question))
        for name in (*corpus.names("measures/"), *corpus.names("duplicates"), *corpus.names("semantic")):
            copy(corpus, connection, name, ("clip_id",), "measures")
            yield from listed(f"clips measured twice in {name}", asked(TWICE))
            yield from listed(f"clips in {name} that are not in the table of clips", asked(STRANGE))
