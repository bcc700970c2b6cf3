"""Storage that fails: an S3 server that refuses calls, and a disk that is full."""

import argparse
import logging
import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.chaos.chain import compare, start, undisturbed
from curate.corpus import open_corpus


def s3(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """The chain on a server that fails a share of its calls; what differs."""
    calm = undisturbed(folder, arguments.on)
    with flaky_s3(arguments.share) as (environment, failed):
        os.environ.update(environment)
        start(calm.footage, "s3://chaos/corpus", calm.recipe, arguments.on, environment).finish()
        problems = compare(calm.digests, open_corpus("s3://chaos/corpus"))
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
    """The chain on a disk too small for it, made a little larger each time it fails; what differs."""
    calm = undisturbed(folder)
    small, full, megabytes = folder / "small", 0, arguments.megabytes
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes * 1024:.0f}k", "tmpfs", str(small)], check=True)
    try:
        for _ in range(200):
            chain = start(calm.footage, str(small / "corpus"), calm.recipe)
            chain.process.join()
            if not chain.process.exitcode:
                break
            if "no space left" not in chain.told.read_text().lower():
                return [f"failed with {chain.told.read_text()[-500:]}"]
            full, megabytes = full + 1, megabytes * 1.1
            subprocess.run(["mount", "-o", f"remount,size={megabytes * 1024:.0f}k", str(small)], check=True)
        print(f"the disk was full {full} times")
        return compare(calm.digests, open_corpus(str(small / "corpus")))
    finally:
        subprocess.run(["umount", str(small)], check=True)
