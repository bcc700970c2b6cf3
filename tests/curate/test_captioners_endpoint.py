"""The `openai` captioner against a real HTTP server that speaks the protocol: well, slowly, brokenly and with ill intent."""

import base64
import http.server
import json
import threading
import time

import cv2
import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from curate.caption import caption_corpus
from curate.captioners.base import windows_of
from curate.captioners.endpoint import GIVEN_UP_AFTER, Endpoint, Service
from curate.captioners.protocol import LARGEST_ANSWER, CaptionError, Unreachable, ask, understood
from curate.corpus import open_corpus
from curate.engine import run_here
from curate.scorers.base import ClipBatch, Picture
from curate.storage.views import SPANS
from pipelines.cli import app
from schemas.clip import PROXIES, clip_id
from schemas.table import table_of


def answer(text, finish: str = "stop", **usage: int) -> bytes:
    """A chat completion as the protocol has it."""
    counted = {"prompt_tokens": 100, "completion_tokens": 10, **usage}
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}], "usage": counted}).encode()


class Server(http.server.ThreadingHTTPServer):
    """Answers with the next of its replies (status, headers, body, or a function of the handler), the last one for ever."""

    daemon_threads = True

    def __init__(self, *replies) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies, self.asked, self.lock = list(replies), [], threading.Lock()
        self.at_once = self.most_at_once = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.asked.append((self.path, dict(self.headers), json.loads(body)))
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
            reply = self.server.replies.pop(0) if len(self.server.replies) > 1 else self.server.replies[0]
        try:
            if callable(reply):
                reply(self)
            else:
                self.reply(*reply)
        except OSError:
            self.close_connection = True
        finally:
            with self.server.lock:
                self.server.at_once -= 1

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *told) -> None:
        """Says nothing."""


@pytest.fixture
def serve():
    """Starts servers with replies, and stops them."""
    started: list[Server] = []

    def start(*replies) -> Server:
        started.append(Server(*replies))
        return started[-1]

    yield start
    for server in started:
        server.shutdown()


def picture(value: int = 100) -> bytes:
    return cv2.imencode(".jpg", np.full((24, 32, 3), value, np.uint8))[1].tobytes()


def clips(count: int, pictures: int = 2, seconds: float = 4.0) -> ClipBatch:
    """Clips of some seconds with evenly spread pictures."""
    rows = pa.table({"clip_id": [f"clip{number}" for number in range(count)], "start_s": [10.0] * count, "end_s": [10.0 + seconds] * count})
    shown = tuple(Picture(picture(40 * at), 10.0 + seconds * (at + 0.5) / pictures) for at in range(pictures))
    return ClipBatch(rows, [shown] * count)


def captioner(server: Server, **settings) -> Endpoint:
    return Endpoint(Service(**{"url": server.url, "model": "org/a model", "timeout_s": 5.0, "attempts": 3, **settings}), "Say what is seen.")


WELL = (200, {}, answer("A boat leaves the harbour."))


def test_frames_go_out_as_images_and_words_come_back(serve, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    server = serve(WELL)
    asking = captioner(server)
    ((caption,),) = asking.write(clips(1))
    assert (caption.text, caption.problem, caption.prompt, caption.start_s, caption.end_s) == (
        "A boat leaves the harbour.",
        None,
        "Say what is seen.",
        10.0,
        14.0,
    )
    assert (caption.prompt_tokens, caption.completion_tokens) == (100, 10)
    path, headers, body = server.asked[0]
    assert path == "/v1/chat/completions" and headers["Authorization"] == "Bearer secret"
    assert (body["model"], body["temperature"], body["seed"]) == ("org/a model", 0, 0)
    *images, words = body["messages"][0]["content"]
    assert words == {"type": "text", "text": "Say what is seen."}
    assert [base64.b64decode(image["image_url"]["url"].removeprefix("data:image/jpeg;base64,")) for image in images] == [picture(0), picture(40)]
    assert "secret" not in repr(asking.__dict__) and asking.identity().startswith("openai@1-org-a-model-")


def test_an_identity_follows_model_and_prompt():
    names = {Endpoint(Service("http://x", model), prompt).identity() for model in ("a", "b") for prompt in ("Say.", "Tell.")}
    assert len(names) == 4
    assert Endpoint(Service("http://x", "a"), "Say.").identity() == Endpoint(Service("http://elsewhere", "a", at_once=2), "Say.").identity()


def test_requests_run_at_once_but_not_more_than_asked(serve):
    def slowly(handler) -> None:
        time.sleep(0.2)
        handler.reply(*WELL)

    server = serve(slowly)
    assert len(captioner(server, at_once=3).write(clips(7))) == 7
    assert server.most_at_once == 3 and len(server.asked) == 7


def test_a_busy_server_is_asked_again_after_the_time_it_names(serve):
    server = serve((429, {"Retry-After": "0.3"}, b""), (503, {"Retry-After": "0"}, b"starting"), WELL)
    began = time.monotonic()
    ((caption,),) = captioner(server).write(clips(1))
    assert caption.text == "A boat leaves the harbour." and len(server.asked) == 3 and time.monotonic() - began >= 0.3


@pytest.mark.parametrize(
    "reply",
    [
        (500, {}, b"<html>oops</html>"),
        (200, {}, b"not json"),
        (200, {}, b'{"choices": []}'),
        (200, {}, b'{"choices": 3}'),
        (200, {}, b"[" * 100_000),
        (200, {}, b"\xff\xfe\x00"),
        (200, {"Content-Length": "100000"}, answer("cut off")),
        (302, {"Location": "http://127.0.0.1:1/steal"}, b""),
        (200, {}, b"x" * (LARGEST_ANSWER + 10)),
        lambda handler: handler.connection.close(),
    ],
    ids=["error page", "not json", "no choices", "wrong type", "nesting", "bytes", "cut short", "redirect", "flood", "hang up"],
)
def test_a_broken_answer_leaves_the_clip_for_another_run(serve, reply):
    server = serve(reply)
    assert captioner(server, attempts=2, timeout_s=2.0).write(clips(1)) == [None]
    assert len(server.asked) == 2


def test_a_server_that_drips_is_cut_off(serve):
    def drip(handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(40):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.1)

    began = time.monotonic()
    assert captioner(serve(drip), attempts=1, timeout_s=0.6).write(clips(1)) == [None]
    assert time.monotonic() - began < 3


def test_a_server_whose_headers_never_end_is_cut_off(serve):
    def headers(handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(60):
            handler.wfile.write(f"X-{number}: y\r\n".encode())
            handler.wfile.flush()
            time.sleep(0.1)

    began = time.monotonic()
    assert captioner(serve(headers), attempts=1, timeout_s=0.6).write(clips(1)) == [None]
    assert time.monotonic() - began < 3


def test_a_server_that_is_not_there_is_given_up_with_advice():
    asking = Endpoint(Service("http://127.0.0.1:9/v1", "model", attempts=1, timeout_s=1.0))
    with pytest.raises(CaptionError, match="did not answer"):
        asking.write(clips(GIVEN_UP_AFTER))


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_address_or_model_stops_the_run(serve, status):
    with pytest.raises(CaptionError, match=f"{status}.*API key"):
        captioner(serve((status, {}, b'{"error": "no such model"}'))).write(clips(1))


def test_a_question_that_is_rejected_is_not_asked_again(serve):
    server = serve((400, {}, b"content <b>policy</b>"))
    ((caption,),) = captioner(server).write(clips(1))
    assert caption.problem is not None and caption.problem.startswith("refused by the service: 400 content") and len(server.asked) == 1


@pytest.mark.parametrize(
    ("body", "text", "problem"),
    [
        (answer([{"type": "text", "text": "A boat "}, {"type": "text", "text": "leaves."}]), "A boat leaves.", None),
        (answer(None), "", "no words in the answer (stop)"),
        (answer("A boat leaves the", finish="length"), "A boat leaves the", "cut off at the most tokens of an answer"),
        (answer("Fine.", prompt_tokens=None), "Fine.", None),
    ],
)
def test_the_protocols_variants_are_understood(body, text, problem):
    understood_as = understood(body)
    assert (understood_as.text, understood_as.problem) == (text, problem)


def test_only_the_web_is_asked():
    with pytest.raises(CaptionError, match="begins with http"):
        ask("file:///etc/passwd", {}, None, 1.0)
    with pytest.raises(Unreachable):
        ask("http://127.0.0.1:9", {}, None, 1.0)


def test_long_clips_are_described_in_windows(serve):
    server = serve(WELL)
    ((*captions,),) = captioner(server, window_s=10.0).write(clips(1, pictures=6, seconds=25.0))
    assert [(round(each.start_s, 2), round(each.end_s, 2)) for each in captions] == [(10.0, 18.33), (18.33, 26.67), (26.67, 35.0)]
    assert [len(body["messages"][0]["content"]) - 1 for _, _, body in server.asked] == [2, 2, 2]
    assert [len(window.pictures) for window in windows_of({"start_s": 0.0, "end_s": 60.0}, [Picture(b"", 1.0), Picture(b"", 59.0)], 20.0)] == [1, 1]


@pytest.fixture
def corpus(tmp_path):
    """Four clips of one source."""
    made = open_corpus(str(tmp_path / "corpus"), create=True)
    ids = [{"clip_id": clip_id("s0", start, start + 10), "source_id": "s0"} for start in range(0, 40, 10)]
    spans = [{**clip, "media_type": "video", "start_s": 0.0, "end_s": 2.0, "brightness": 0.5, "motion": 0.3} for clip in ids]
    proxies = [{**clip, "kind": "frame", "proxy_index": 0, "time_s": 1.0, "image": picture()} for clip in ids]
    made.commit("s0", {"spans": table_of(spans, SPANS), "proxies": table_of(proxies, PROXIES)})
    return made


def test_a_corpus_is_captioned_resumed_and_accounted(serve, corpus):
    hostile = "A boat <script>alert(1)</script>\x1b[2J leaves \u202ethe harbour ../../etc"
    server = serve((500, {}, b""), (200, {}, answer(hostile)), (200, {}, answer("I'm sorry, I cannot help with that.")), WELL)
    asking = captioner(server, attempts=1, at_once=1, price_in=1000.0, price_out=10000.0)
    report = caption_corpus(corpus, [asking], "embedded", run_here)
    assert report.unanswered == {asking.identity(): 1} and report.problems == {"a refusal": 1}
    assert report.tokens == {asking.identity(): (300, 30)} and report.cost == pytest.approx(0.6)
    shown = [caption for caption in corpus.table("clips")["caption"].to_pylist() if caption]
    assert shown == ["A boat alert(1) [2J leaves the harbour ../../etc", "A boat leaves the harbour."]
    again = caption_corpus(corpus, [asking], "embedded", run_here)
    assert again.written == {asking.identity(): 1} and again.unanswered == {}
    assert corpus.table("captions").num_rows == 4 and len(server.asked) == 5


def test_endpoint_model_prompt_and_prices_are_given_on_the_command_line_or_in_a_file(serve, corpus, tmp_path):
    server = serve(WELL)
    told = ["caption", "--corpus", corpus.url, "--on", "here", "--prompt", "What is this?", "--price-in", "1000", "--price-out", "10000"]
    shown = CliRunner().invoke(app, [*told, "--by", f"openai:{server.url}#org/a model"])
    assert shown.exit_code == 0 and "400 tokens sent, 40 received" in shown.output and "cost 0.80" in shown.output
    assert {question["messages"][0]["content"][-1]["text"] for _, _, question in server.asked} == {"What is this?"}
    (tmp_path / "service.toml").write_text(f'url = "{server.url}"\nmodel = "another"\nanswer_tokens = 33\n')
    assert CliRunner().invoke(app, ["caption", "--corpus", corpus.url, "--on", "here", "--by", str(tmp_path / "service.toml")]).exit_code == 0
    assert {question["max_tokens"] for _, _, question in server.asked if question["model"] == "another"} == {33}
