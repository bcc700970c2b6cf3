"""Chaos: the chain killed, starved and lied to, and still the same corpus, byte for byte.

    python -m benchmarks.chaos kills --times 50       SIGKILL of the driver and all its workers at random moments
    python -m benchmarks.chaos s3 --share 0.1         a corpus on an S3 server that fails a share of its calls
    python -m benchmarks.chaos disk --megabytes 0.5     a disk that is full again and again (needs the right to mount)
    python -m benchmarks.chaos node                   a Ray node that is removed while it works
    python -m benchmarks.chaos mutants --files 1000   broken media: no crash, no hang, each in the table with a reason

Each prints what it found and ends with exit code 1 when anything differs from an undisturbed run.
"""

import argparse
import hashlib
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ffmpeg
import imageio_ffmpeg

from curate.corpus import Corpus, open_corpus
from curate.verify import verify

ROOT = Path(__file__).resolve().parents[1]
RECIPE = 'name = "chaos"\n[duplicates]\nkeep = "all"\n[encoding]\nheight = 32\nshard_mb = 0.05\n'
CHAIN = """
import sys
from benchmarks.chaos import run_chain
run_chain(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4])
"""


def run_chain(footage: str, corpus_url: str, recipe: str, on: str) -> None:
    """Add, read, describe in words, find duplicates, select and pack; without the models, whose loading would be most of the time."""
    from curate.caption import WriteCaptions
    from curate.captioners.describe import Describe
    from curate.deduplicate import deduplicate
    from curate.engine import choose_engine
    from curate.pack import pack
    from curate.read import ReadVideos
    from curate.select import select
    from curate.sources import add_sources
    from pipelines.curate import pending_sources
    from schemas.recipe import read_recipe

    corpus, run = open_corpus(corpus_url, create=True), choose_engine(on, 0.0)  # type: ignore[arg-type]
    add_sources(corpus, [footage])
    waiting = pending_sources(corpus)
    if waiting.num_rows:
        list(run(waiting, [ReadVideos(corpus.url)]))
    clips = corpus.table("clips")
    said = set(corpus.read("captions", ["clip_id"])["clip_id"].to_pylist())
    for at, clip_id in enumerate(clips["clip_id"].to_pylist()):
        if clip_id not in said:
            for made in run(clips.slice(at, 1), [WriteCaptions(corpus.url, Describe())]):
                corpus.append("captions", made, clip_id)
    deduplicate(corpus)
    chosen = read_recipe(recipe)
    select(corpus, chosen)
    pack(corpus, chosen, run=run)


def make_footage(folder: Path, films: int = 5) -> Path:
    """Short films of moving patterns, each with a cut, and one file that is no film."""
    folder.mkdir(parents=True)
    for number in range(films):
        first = ffmpeg.input(f"testsrc2=size=160x90:rate=12:duration={2 + number % 3}", f="lavfi").filter("hue", h=40 * number)
        second = ffmpeg.input(f"mandelbrot=size=160x90:rate=12:start_x={-0.7 - number / 50}", f="lavfi", t=2)
        joined = ffmpeg.concat(first, second).output(str(folder / f"film{number}.mp4"), pix_fmt="yuv420p", vcodec="libx264")
        joined.run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), quiet=True)
    (folder / "broken.mp4").write_bytes((folder / "film0.mp4").read_bytes()[:1500])
    return folder


def start(footage: Path, corpus_url: str, recipe: Path, on: str = "here", environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """The chain in a process group of its own."""
    command = [sys.executable, "-c", CHAIN, str(footage), corpus_url, str(recipe), on]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **(environment or {})}, start_new_session=True, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a chain that is to end well."""
    _, told = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the chain ended with {process.returncode}: {told.decode(errors='replace')[-2000:]}")


def fingerprint(corpus: Corpus) -> dict[str, str]:
    """Digests of all that must be the same again: tables as they are exported, and every file of the packed sets but the head of the journal."""
    with tempfile.TemporaryDirectory() as folder:
        told = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in corpus.export(folder)}
    for path in corpus.filesystem.find(corpus.path("shards")):
        # The manifest and what is written from it name the journal's head, and a journal tells of every start.
        if path.endswith((".tar", "index.parquet", "ATTRIBUTION")):
            told[path.removeprefix(corpus.path())] = hashlib.sha256(corpus.filesystem.cat_file(path)).hexdigest()
    return told


def compare(wanted: dict[str, str], corpus: Corpus) -> list[str]:
    """What differs from an undisturbed run, and what verification finds."""
    found = fingerprint(corpus)
    different = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    return [f"{name} differs" for name in different] + [problem for problem in verify(corpus).problems]


def undisturbed(folder: Path, on: str = "here") -> tuple[Path, Path, dict[str, str], float]:
    """Footage, a recipe, what an undisturbed run makes of them, and its seconds."""
    footage, recipe = make_footage(folder / "footage"), folder / "chaos.toml"
    recipe.write_text(RECIPE)
    began = time.monotonic()
    finish(start(footage, str(folder / "undisturbed"), recipe, on))
    return footage, recipe, fingerprint(open_corpus(str(folder / "undisturbed"))), time.monotonic() - began


def kills(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Kill the chain with all its children, at random moments of its run, and start it again."""
    footage, recipe, wanted, seconds = undisturbed(folder, arguments.on)
    rng, killed, corpora, problems = random.Random(arguments.seed), 0, 0, []
    while killed < arguments.times:
        url = str(folder / f"corpus{corpora}")
        corpora += 1
        for _ in range(min(arguments.each, arguments.times - killed)):
            process = start(footage, url, recipe, arguments.on)
            try:
                process.communicate(timeout=rng.uniform(0.1, 1.0) * seconds)
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                killed += 1
        finish(start(footage, url, recipe, arguments.on))
        problems += [f"corpus {corpora}, after kills up to the {killed}th: {problem}" for problem in compare(wanted, open_corpus(url))]
        shutil.rmtree(url)
        print(f"{killed} of {arguments.times} kills, {corpora} corpora, {len(problems)} problems", flush=True)
    return problems


def s3(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """The chain on a server that fails a share of its calls."""
    footage, recipe, wanted, _ = undisturbed(folder, arguments.on)
    with flaky_s3(arguments.share) as (environment, failed):
        os.environ.update(environment)
        finish(start(footage, "s3://chaos/corpus", recipe, arguments.on, environment))
        problems = compare(wanted, open_corpus("s3://chaos/corpus"))
        print(f"{failed()} calls failed")
    return problems


@contextmanager
def flaky_s3(share: float, seed: int = 0) -> Iterator[tuple[dict[str, str], Callable[[], int]]]:
    """An S3 server on loopback that fails some calls, half of these after doing what was asked; its environment, and how many it failed."""
    from moto.moto_server.threaded_moto_server import MotoRequestHandler
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    inner, rng, lock, failures = DomainDispatcherApplication(create_backend_app), random.Random(seed), threading.Lock(), [0]

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        with lock:
            failing, late = rng.random() < share and environ["PATH_INFO"].count("/") > 1, rng.random() < 0.5
            failures[0] += failing
        if not failing:
            return inner(environ, start_response)
        if late:
            list(inner(environ, lambda *_: None))
        start_response("500 Internal Server Error", [("Content-Type", "application/xml")])
        return [b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>try again</Message></Error>"]

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app, True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {"AWS_ACCESS_KEY_ID": "chaos", "AWS_SECRET_ACCESS_KEY": "chaos", "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "8"}
    environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{server.server_port}"
    import s3fs

    s3fs.S3FileSystem(endpoint_url=environment["AWS_ENDPOINT_URL"], key="chaos", secret="chaos").mkdir("chaos")
    try:
        yield environment, lambda: failures[0]
    finally:
        server.shutdown()


def disk(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """The chain on a disk too small for it, made a little larger each time it fails."""
    footage, recipe, wanted, _ = undisturbed(folder)
    small, full, megabytes = folder / "small", 0, arguments.megabytes
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes * 1024:.0f}k", "tmpfs", str(small)], check=True)
    try:
        for _ in range(200):
            process = start(footage, str(small / "corpus"), recipe)
            _, told = process.communicate()
            if not process.returncode:
                break
            if b"No space left" not in told and b"no space left" not in told:
                return [f"failed with {told.decode(errors='replace')[-500:]}"]
            full, megabytes = full + 1, megabytes * 1.1
            subprocess.run(["mount", "-o", f"remount,size={megabytes * 1024:.0f}k", str(small)], check=True)
        print(f"the disk was full {full} times")
        return compare(wanted, open_corpus(str(small / "corpus")))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def node(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """The chain on a Ray cluster of two nodes of which one is removed while it works."""
    from ray.cluster_utils import Cluster

    footage, recipe, wanted, seconds = undisturbed(folder)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    doomed = cluster.add_node(num_cpus=2)
    try:
        process = start(footage, str(folder / "corpus"), recipe, "ray", {"RAY_ADDRESS": cluster.address})
        while not (folder / "corpus" / "tables" / "loose").exists() and process.poll() is None:
            time.sleep(0.2)
        time.sleep(random.Random(arguments.seed).uniform(0, seconds / 2))
        print("removing a node, while the chain runs:", process.poll() is None, flush=True)
        cluster.remove_node(doomed, allow_graceful=False)
        finish(process)
    finally:
        cluster.shutdown()
    return compare(wanted, open_corpus(str(folder / "corpus")))


def mutants(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Media with bytes changed, lost and repeated: each must be in the table of sources, and read or told why not."""
    from curate.engine import run_here
    from curate.read import ReadVideos
    from curate.sources import add_sources
    from pipelines.curate import pending_sources

    rng, originals = random.Random(arguments.seed), sorted(make_footage(folder / "originals", 3).glob("film*.mp4"))
    (folder / "mutants").mkdir()
    for number in range(arguments.files):
        (folder / "mutants" / f"mutant{number:05d}.mp4").write_bytes(mutated(originals[number % 3].read_bytes(), rng))
    corpus = open_corpus(str(folder / "corpus"), create=True)
    report, began = add_sources(corpus, [str(folder / "mutants")]), time.monotonic()
    waiting = pending_sources(corpus)
    list(run_here(waiting, [ReadVideos(corpus.url)]))
    sources = corpus.table("sources").to_pylist()
    listed = sum(len(row["locations"]) for row in sources)
    untold = [row["uri"] for row in sources if row["status"] == "failed" and not row["reason"]]
    left = pending_sources(corpus).num_rows
    print(f"{report.files} files, {listed} listed, {sum(row['status'] == 'ok' for row in sources)} sources read, {time.monotonic() - began:.0f} s")
    problems = [f"{arguments.files - listed} files are not listed"] if listed != arguments.files else []
    problems += [f"{len(untold)} failed without a reason"] if untold else []
    problems += [f"{left} were never read"] if left else []
    return problems + list(verify(corpus).problems)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The same file with something wrong with it."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 30, 300))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    kind = rng.randrange(5)
    if kind == 0:
        del changed[rng.randrange(len(changed)) :]
    elif kind == 1:
        start = rng.randrange(len(changed))
        del changed[start : start + rng.randrange(2000)]
    elif kind == 2:
        start = rng.randrange(len(changed))
        changed[start:start] = changed[start : start + 3000]
    return bytes(changed)


def main() -> None:
    """Run one kind of chaos."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("kills", "s3", "disk", "node", "mutants"))
    parser.add_argument("--times", type=int, default=50, help="kills in all")
    parser.add_argument("--each", type=int, default=5, help="kills of one corpus, before it may finish")
    parser.add_argument("--on", default="here", help="here or ray")
    parser.add_argument("--share", type=float, default=0.1, help="share of S3 calls that fail")
    parser.add_argument("--megabytes", type=float, default=0.5, help="size of the disk at first")
    parser.add_argument("--files", type=int, default=1000, help="mutated media files")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    kinds = {"kills": kills, "s3": s3, "disk": disk, "node": node, "mutants": mutants}
    with tempfile.TemporaryDirectory(prefix="clipmill-chaos-") as folder:
        problems = kinds[arguments.kind](Path(folder), arguments)
    print("\n".join(problems) or "the same, byte for byte; nothing lost, nothing repeated")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
