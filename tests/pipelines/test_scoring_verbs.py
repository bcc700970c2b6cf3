"""The verbs that caption by a named captioner and that carry thresholds, used as people use them."""

import http.server
import json
import threading

import cv2
import numpy as np
import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from curate.corpus import open_corpus
from curate.storage.views import SPANS
from pipelines.verbs import curating
from pipelines.verbs.mistakes import MISTAKES
from schemas.clip import CLIPS, PROXIES, UNMEASURED, clip_id
from schemas.table import table_of

SAID = "A red disc rests on a grey ground."


def run(verb, *arguments):
    app = typer.Typer()
    app.command()(verb)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def corpus(tmp_path):
    """Two clips with one proxy each, and aesthetics of forty others by two scorers."""
    made = open_corpus(str(tmp_path / "corpus"), create=True)
    picture = cv2.circle(np.full((72, 128, 3), 120, np.uint8), (64, 36), 20, (30, 30, 220), -1)
    clips = [{"clip_id": clip_id("s0", at * 25, at * 25 + 25), "source_id": "s0"} for at in range(2)]
    spans = [{**clip, "media_type": "video", "start_s": float(at), "end_s": at + 1.0} for at, clip in enumerate(clips)]
    image = cv2.imencode(".jpg", picture)[1].tobytes()
    proxies = [{**clip, "kind": "frame", "proxy_index": 0, "time_s": at + 0.5, "frame": at * 25 + 12, "image": image} for at, clip in enumerate(clips)]
    made.commit("s0", {"spans": table_of(spans, SPANS), "proxies": table_of(proxies, PROXIES)})
    schema = pa.schema([CLIPS.field("clip_id"), CLIPS.field("aesthetic"), *UNMEASURED])
    for maker, scale in (("handcrafted@1", 1.0), ("laion_v2@1-0123abcd", 10.0)):
        rows = [{"clip_id": f"clip{at:02d}", "aesthetic": scale * at / 40, "unmeasured": []} for at in range(40)]
        made.append(f"measures/{maker}", pa.Table.from_pylist(rows, schema=schema), maker)
    return made


@pytest.fixture
def endpoint():
    """A chat endpoint that always says SAID; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            choice = {"message": {"role": "assistant", "content": SAID}, "finish_reason": "stop"}
            body = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 9}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *told) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


def test_a_captioner_is_asked_by_name_and_its_tokens_are_told(corpus, endpoint):
    result = run(curating.caption, "--corpus", corpus.url, "--on", "here", "--by", f"openai:{endpoint}#tiny/model")
    assert result.exit_code == 0, result.output
    assert [row["caption"] for row in corpus.table("clips").to_pylist() if row["source_id"]] == [SAID, SAID]
    told = " ".join(result.output.split())
    assert "openai@1-tiny-model-" in told and "200 tokens sent, 18 received" in told


def test_a_captioner_that_is_not_there_is_a_mistake_that_lists_those_there_are(corpus):
    result = run(curating.caption, "--corpus", corpus.url, "--by", "poet")
    assert isinstance(result.exception, MISTAKES) and "openai:URL#MODEL" in str(result.exception)


def test_a_threshold_is_carried_and_says_how_sure_it_is(corpus):
    result = run(curating.calibrate, "--corpus", corpus.url, "--from", "laion_v2", "--to", "handcrafted", "--threshold", "5")
    assert result.exit_code == 0, result.output
    told = " ".join(result.output.split())
    assert "aesthetic 5 by laion_v2@1-0123abcd is 0.5 by handcrafted@1" in told and "40 clips" in told and "both keep 50%" in told


def test_carrying_to_a_scorer_that_never_ran_is_a_mistake(corpus):
    result = run(curating.calibrate, "--corpus", corpus.url, "--from", "laion_v2", "--to", "labels", "--threshold", "5")
    assert isinstance(result.exception, MISTAKES) and "labels" in str(result.exception)


@pytest.mark.parametrize("verb", [curating.measure, curating.caption], ids=lambda verb: verb.__name__)
def test_weights_are_looked_for_in_the_folder_that_is_named(corpus, tmp_path, verb):
    pytest.importorskip("torch")
    if verb is curating.caption:
        run(verb, "--corpus", corpus.url, "--on", "here")  # describes the clips, so that there is something for CLIP to judge
    only = ["--only", "laion_v2"] if verb is curating.measure else []
    result = run(verb, "--corpus", corpus.url, "--on", "here", "--profile", "laion", "--models-dir", tmp_path / "weights", *only)
    assert isinstance(result.exception, MISTAKES) and str(tmp_path / "weights") in str(result.exception)
