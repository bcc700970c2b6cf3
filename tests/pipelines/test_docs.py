"""Generated pages and the machine's examination."""

import pytest

from pipelines.docs import DOCS, commands_page, documents_page, tables_page
from pipelines.doctor import examine
from schemas.clip import CAPTIONS, CLIPS, GAPS, LEDGER, PROXIES, SHOTS
from schemas.source import SOURCES


@pytest.mark.parametrize(("name", "make"), [("tables.md", tables_page), ("documents.md", documents_page), ("commands.md", commands_page)])
def test_a_generated_page_is_up_to_date(name, make):
    assert (DOCS / name).read_text("utf-8") == make(), "run `make docs`"


@pytest.mark.parametrize("schema", [SOURCES, SHOTS, CLIPS, CAPTIONS, LEDGER, GAPS, PROXIES])
def test_every_column_says_what_it_holds_and_who_writes_it(schema):
    assert all(field.metadata and field.metadata.get(b"doc") and field.metadata.get(b"by") for field in schema)


def test_the_doctor_finds_nothing_missing_where_the_tests_run():
    findings = {finding.what: finding for finding in examine()}
    assert findings["ffmpeg"].found.startswith("ffmpeg version")
    assert not [finding for finding in findings.values() if finding.needed and finding.advice]
