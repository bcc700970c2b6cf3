"""What is hostile stays outside: playlists, scripts and sequences in disguise, broken files of every kind, resources that have ends."""

import itertools
import json
import os
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import pytest

from curate.media import sandbox
from curate.media.opened import OPEN_OPTIONS
from curate.media.process import MEMORY_BYTES
from curate.video import Decoding, MediaError, decode, probe

UNREADABLE = {"truncated_no_moov.mp4", "zero_byte.mp4", "text_renamed.mp4", "self.mp4", "dangling.mp4", "directory.mp4", "fifo.mp4", "looped"}
DISGUISED = {
    "playlist.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n",
    "address.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/inner.ts\n#EXT-X-ENDLIST\n",
    "script.mp4": "ffconcat version 1.0\nfile '{secret}'\n",
    "manifest.mp4": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet><Representation>'
    "<BaseURL>{secret}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "session.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}


@pytest.fixture(scope="module")
def bad(shared_media, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    with tarfile.open(shared_media / "bad.tar.xz") as archive:
        archive.extractall(folder, filter="tar")
    return folder / "bad"


@pytest.mark.parametrize("name", sorted(DISGUISED))
def test_what_would_open_something_else_is_refused(tmp_path, made_footage, name):
    (tmp_path / name).write_text(DISGUISED[name].format(secret=made_footage / "moving.mp4"))
    with pytest.raises(MediaError):
        probe(str(tmp_path / name))


def test_nothing_that_opens_further_files_is_on_the_list():
    allowed = set(OPEN_OPTIONS["format_whitelist"].split(","))
    assert not allowed & {"hls", "dash", "concat", "image2", "image2pipe", "sdp", "rtsp", "rtp", "lavfi", "imf", "webm_dash_manifest", "tedcaptions"}
    assert OPEN_OPTIONS["protocol_whitelist"] == "file,pipe"


def test_a_name_that_is_a_pattern_or_an_address_is_only_a_name(tmp_path, made_footage):
    for name in ("a%03d.mp4", "concat:b.mp4", "-i.mp4", "pipe:0", "x.m3u8"):
        (tmp_path / name).write_bytes((made_footage / "moving.mp4").read_bytes())
        assert probe(str(tmp_path / name)).codec == "h264"


def test_the_process_that_decodes_knows_no_secret_of_ours(monkeypatch, made_footage):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "precious")
    sandbox.close_idle()
    probe(str(made_footage / "moving.mp4"))
    (process,) = sandbox._idle
    assert b"precious" not in Path(f"/proc/{process._process.pid}/environ").read_bytes() if sys.platform == "linux" else True


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are told by /proc")
def test_the_process_that_decodes_has_limits(made_footage):
    sandbox.close_idle()
    probe(str(made_footage / "moving.mp4"))
    (process,) = sandbox._idle
    told = Path(f"/proc/{process._process.pid}/limits").read_text()
    soft = {line[:25].strip(): line[25:].split()[0] for line in told.splitlines()[1:]}
    assert int(soft["Max address space"]) <= MEMORY_BYTES
    assert (soft["Max file size"], soft["Max core file size"]) == ("0", "0")
    assert int(soft["Max open files"]) <= 64


def test_a_picture_of_too_many_pixels_is_refused_before_memory_is(tmp_path):
    """A PNG header of 60000 x 60000 pixels, and nothing behind it."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (head, data, b"IEND")]
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    with pytest.raises(MediaError):
        probe(str(tmp_path / "bomb.png"))


def test_one_process_serves_many_questions(made_footage):
    sandbox.close_idle()
    seen = set()
    for _ in range(3):
        probe(str(made_footage / "moving.mp4"))
        with pytest.raises(MediaError):
            probe(str(made_footage / "broken.mp4"))
        seen |= {process._process.pid for process in sandbox._idle}
    assert len(seen) == 1


def test_two_films_can_be_read_side_by_side(made_footage):
    one, other = (decode(str(made_footage / name), 64) for name in ("moving.mp4", "two shots.mp4"))
    pairs = [(first.start, second.start) for first, second in zip(one, other)]
    assert len(pairs) == 3 and all(first == second for first, second in pairs)


def test_a_process_whose_parent_is_gone_ends(made_footage):
    film = str(made_footage / "moving.mp4")
    imports = "import os; from curate import video; from curate.media import sandbox;"
    program = f"{imports} video.probe({film!r}); print(sandbox._idle[0]._process.pid, flush=True); os._exit(0)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    pid = int(told.stdout)
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if b"Z" in Path(f"/proc/{pid}/stat").read_bytes().rsplit(b")", 1)[1][:3]:
            return
        import time

        time.sleep(0.1)
    pytest.fail("the media process outlives its parent")


def test_every_bad_file_ends_as_expected_and_stops_nothing(bad, shared_media):
    expected = {os.path.basename(case["file"].rstrip("/")): case for case in json.loads((shared_media / "truth" / "bad.json").read_text())}
    for name in sorted(os.listdir(os.fsencode(bad))):
        shown = os.fsdecode(name)
        path = os.path.join(bad, shown)
        learnt = Decoding()
        try:
            probed = probe(path)
            frames = sum(len(chunk) for chunk in decode(path, 64, learnt=learnt))
        except MediaError as error:
            assert shown in UNREADABLE, f"{shown}: {error}"
            assert str(error) and str(bad) not in str(error)
            continue
        assert shown not in UNREADABLE
        assert frames == learnt.frames > 0 and 0 < learnt.duration_s < 60
        assert frames == expected.get(shown, {}).get("frames", frames)
        assert max(probed.width, probed.height) < 1000


def test_what_is_odd_is_seen_as_it_is_meant(bad):
    assert (probe(str(bad / "rotated_90.mp4")).width, probe(str(bad / "rotated_90.mp4")).height) == (270, 480)
    assert (probe(str(bad / "anamorphic_sar4x3.mp4")).width, probe(str(bad / "anamorphic_sar4x3.mp4")).height) == (480, 270)
    assert probe(str(bad / "hdr10_tagged.mp4")).hdr
    assert probe(str(bad / "interlaced.mpg")).interlaced
    learnt = Decoding()
    times = [time for chunk in decode(str(bad / "vfr_two_rates.mp4"), 64, learnt=learnt) for time in chunk.times_s]
    steps = sorted(b - a for a, b in itertools.pairwise(times))
    assert learnt.variable_rate and steps[-1] > 3 * steps[0]


def test_damage_is_told_and_what_decodes_is_kept(bad):
    learnt = Decoding()
    assert sum(len(chunk) for chunk in decode(str(bad / "corrupt_middle.mp4"), 64, learnt=learnt)) > 60
    assert any("do not decode" in warning for warning in learnt.warnings)
    assert any("damaged" in warning for warning in learnt.warnings)
