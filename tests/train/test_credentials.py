"""A sampled video says in a signed manifest that it is generated, by which checkpoint, and still plays."""

from pathlib import Path

import av
import numpy as np
import pytest

from schemas.document import DocumentError
from train.cascade import write_mp4
from train.credentials import GENERATED, Signature, checkpoint_digest, read_credentials, sign_video


@pytest.fixture
def video(tmp_path: Path) -> Path:
    write_mp4(np.random.default_rng(0).integers(0, 255, (6, 32, 48, 3), np.uint8), tmp_path / "made.mp4", 8)
    return tmp_path / "made.mp4"


def test_the_manifest_names_the_checkpoint_and_the_prompt(video: Path, trained: Path):
    assert read_credentials(video) is None
    sign_video(video, trained, {"prompt": "a “square”; moves", "seed": 3})
    manifest = read_credentials(video)
    assert manifest is not None
    assertions = {assertion["label"]: assertion["data"] for assertion in manifest["assertions"]}
    assert assertions["c2pa.actions.v2"]["actions"][0]["digitalSourceType"] == GENERATED
    told = assertions["org.clipmill.generation"]
    assert told["checkpoint_sha256"] == checkpoint_digest(trained)
    assert told["prompt"] == "a “square”; moves"
    assert told["run"] == "tiny"
    with av.open(str(video)) as container:
        assert len(list(container.decode(video=0))) == 6


def test_a_changed_video_no_longer_validates(video: Path, trained: Path):
    import c2pa

    sign_video(video, trained, {})
    content = bytearray(video.read_bytes())
    at = content.index(b"mdat") + 200
    content[at] ^= 0xFF
    video.write_bytes(bytes(content))
    with c2pa.Reader(str(video)) as reader:
        assert "mismatch" in reader.json()


def test_a_certificate_that_is_none_is_refused_and_leaves_the_video(video: Path, trained: Path, tmp_path: Path):
    before = video.read_bytes()
    with pytest.raises(DocumentError, match="was not signed"):
        sign_video(video, trained, {}, Signature(b"no certificate", b"no key"))
    assert video.read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))
    with pytest.raises(DocumentError, match="No such file"):
        Signature.from_files(tmp_path / "chain.pem", tmp_path / "key.pem")
