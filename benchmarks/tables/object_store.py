"""Our tables on an object store: the same work against an S3 server on loopback, where what is counted is calls, not the network.

    python -m benchmarks.tables.object_store [--clips 100000] [--commits 40]

Needs the extras `s3` and `dev`. The server runs in this process, so CPU seconds are both its and ours.
"""

import argparse
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.tables.figures import Figures
from benchmarks.tables.ours import Ours
from benchmarks.tables.rows import CLIPS_A_SOURCE, clip_names, measure_rows, reading_of, source_name, span_rows
from curate.storage.atomic import filesystem_of
from curate.storage.store import Store


class Counted:
    """A WSGI application that counts the calls to another."""

    def __init__(self, inner: Callable) -> None:
        self.inner, self.calls = inner, Counter[str]()

    def __call__(self, environ: dict, start_response: Callable) -> Iterator[bytes]:
        self.calls[environ["REQUEST_METHOD"]] += 1
        return self.inner(environ, start_response)

    def told(self) -> str:
        """The calls since the last time this was asked."""
        said = ", ".join(f"{count} {method}" for method, count in sorted(self.calls.items()))
        self.calls.clear()
        return said


def served() -> Counted:
    """A fresh S3 server on loopback, which whatever asks for S3 from now on is sent to, with a bucket `bench`."""
    from moto.moto_server.threaded_moto_server import MotoRequestHandler
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    app = Counted(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update({**environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"})
    filesystem_of("s3://bench/tables")[0].mkdir("bench")
    app.told()
    return app


def main() -> None:
    """Commit, load, measure, tidy, look up, ask; after each the calls it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--commits", type=int, default=40)
    given = parser.parse_args()
    app, figures, sources = served(), Figures("ours on S3"), given.clips // CLIPS_A_SOURCE
    tables = Ours(Path("/bench"))
    tables.store = Store(*filesystem_of("s3://bench/tables"))
    names = [name for first in np.random.default_rng(0).choice(sources, 32, replace=False) for name in clip_names(int(first), 1)[:1]]

    def commits() -> None:
        for number in range(given.commits):
            tables.commit(source_name(10**6 + number), reading_of(10**6 + number))

    work: dict[str, Callable[[], object]] = {f"{given.commits} commits of 3 relations": commits, "listing what is committed": tables.keys}
    work["tidying the commits"] = tables.tidy
    work[f"loading {given.clips:,} spans"] = lambda: tables.load("spans", iter([span_rows(0, sources)]))
    known = [measure_rows("aesthetic", 10, 0, sources), measure_rows("aesthetic", 10, 10**6, given.commits)]
    work["adding a measure"] = lambda: tables.add_measure("aesthetic@1", iter(known))
    more = [measure_rows("watermark", 1, 0, sources), measure_rows("watermark", 1, 10**6, given.commits)]
    work |= {"adding another": lambda: tables.add_measure("watermark@1", iter(more)), "tidying": tables.tidy}
    work |= {"spans of 32 clips at random": lambda: tables.spans_of(names), "query over three columns": tables.query}
    for what, do in work.items():
        figures.timed(what, do)
        print(f"| {what} | {figures.told[what]} | {app.told()} |", flush=True)


if __name__ == "__main__":
    main()
