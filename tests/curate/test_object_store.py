"""A corpus on an object store: a real S3 server on loopback, also one that fails a tenth of its calls, before or after doing what it was asked."""

import random
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from curate.corpus import open_corpus
from curate.storage import journal
from curate.storage.atomic import create_if_absent, filesystem_of
from curate.storage.relations import RELATIONS
from schemas.clip import clip_id
from schemas.table import table_of

s3fs = pytest.importorskip("s3fs", reason="the extra `s3` is not installed")
moto = pytest.importorskip("moto.moto_server.werkzeug_app", reason="moto's server is not installed")

ROOT = Path(__file__).resolve().parents[2]


class Flaky:
    """A WSGI application in front of another that fails some calls: half of these after the other has done its work."""

    def __init__(self, inner: Callable, share: float, seed: int = 0) -> None:
        self.inner, self.share, self.random, self.lock, self.failed = inner, share, random.Random(seed), threading.Lock(), 0
        self.url, self.calls = "", Counter[str]()

    def __call__(self, environ: dict, start_response: Callable) -> Iterator[bytes]:
        self.calls[environ["REQUEST_METHOD"]] += 1
        with self.lock:
            drawn, late = self.random.random(), self.random.random() < 0.5
            failing = drawn < self.share
            self.failed += failing
        if not failing:
            return self.inner(environ, start_response)
        if late:
            list(self.inner(environ, lambda *_: None))
        start_response("500 Internal Server Error", [("Content-Type", "application/xml")])
        return iter([b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>try again</Message></Error>"])


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Flaky]:
    """A fresh S3 server with a bucket; parametrised by the share of calls that fail."""
    from moto.moto_server.threaded_moto_server import MotoRequestHandler
    from werkzeug.serving import make_server

    app = Flaky(moto.DomainDispatcherApplication(moto.create_backend_app), 0.0)
    server = make_server("127.0.0.1", 0, app, True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    environment = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}", "AWS_MAX_ATTEMPTS": "8"}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    app.url = f"s3://bucket-{uuid.uuid4().hex}"
    s3fs.S3FileSystem().mkdir(app.url)
    app.share = getattr(request, "param", 0.0)
    yield app
    s3fs.S3FileSystem.clear_instance_cache()
    server.shutdown()
    thread.join()


def spans(number: int) -> pa.Table:
    return table_of([{"clip_id": clip_id("s0", number, number + 1), "source_id": "s0", "start_frame": number}], RELATIONS["spans"])


def test_of_many_who_create_one_object_one_wins(s3: Flaky) -> None:
    filesystem, path = filesystem_of(f"{s3.url}/one")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: create_if_absent(filesystem, path, str(number).encode()), range(16)))
    assert won.count(True) == 1
    assert filesystem.cat_file(path) == str(won.index(True)).encode()


@pytest.mark.parametrize("s3", [0.0, 0.1], indirect=True)
def test_a_corpus_on_an_object_store_is_the_same_corpus(s3: Flaky) -> None:
    corpus = open_corpus(f"{s3.url}/corpus", create=True)
    for number in range(8):
        corpus.commit(str(number), {"spans": spans(number), "shots": table_of([{"source_id": "s0", "shot_index": number}], RELATIONS["shots"])})
        if number % 4 == 3:
            corpus.gather()
    corpus.append("spans", spans(3), key="3")
    corpus.replace("duplicates", table_of([{"clip_id": "x"}], RELATIONS["duplicates"]))
    corpus.replace("duplicates", table_of([{"clip_id": "y"}], RELATIONS["duplicates"]))
    again = open_corpus(f"{s3.url}/corpus")
    assert again.table("clips")["start_frame"].to_pylist() == list(range(8))
    assert again.table("shots")["shot_index"].to_pylist() == list(range(8))
    assert again.committed("shots") == {str(number) for number in range(8)}
    assert again.read("duplicates")["clip_id"].to_pylist() == ["y"]
    again.line_up()
    assert again.table("clips", columns=["start_frame"])["start_frame"].to_pylist() == list(range(8))
    assert s3.share == 0 or s3.failed > 3


def test_gathering_reads_each_relation_of_a_small_commit_in_one_piece(s3: Flaky) -> None:
    corpus = open_corpus(f"{s3.url}/corpus", create=True)
    for number in range(20):
        corpus.commit(str(number), {"spans": spans(number), "shots": table_of([{"source_id": "s0", "shot_index": number}], RELATIONS["shots"])})
    before = s3.calls["GET"]
    assert corpus.gather() == 20
    assert s3.calls["GET"] - before < 20 * 2 + 30  # one a relation of a commit, and looking around
    assert corpus.table("clips")["start_frame"].to_pylist() == list(range(20))


@pytest.mark.parametrize("s3", [0.1], indirect=True)
def test_a_journal_on_a_store_that_fails_has_no_hole_and_no_fork(s3: Flaky) -> None:
    corpus = open_corpus(f"{s3.url}/corpus", create=True)
    for number in range(8):
        journal.record(corpus, "add", {"number": number})
    told = [entry.facts["number"] for entry in journal.entries(corpus)]
    assert journal.problems(corpus) == []
    assert set(told) == set(range(8)) and told == sorted(told)
    assert s3.failed


WRITER = """
import sys
import pyarrow as pa
from curate.corpus import open_corpus
corpus = open_corpus(sys.argv[1])
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 5):
    corpus.append("spans", pa.table({"clip_id": [f"s0-{number:08d}-{number + 1:08d}"], "source_id": ["s0"], "start_frame": [number]}), key=str(number))
corpus.gather()
"""


def test_processes_write_to_one_corpus_on_an_object_store_without_a_lock(s3: Flaky) -> None:
    corpus = open_corpus(f"{s3.url}/corpus", create=True)
    workers = [subprocess.Popen([sys.executable, "-c", WRITER, corpus.url, str(first)], cwd=ROOT) for first in (0, 3)]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    assert corpus.table("clips")["start_frame"].to_pylist() == list(range(8))
