"""What looking for copies among millions of clips costs, and how many are found, on clips that are made up.

    python -m benchmarks.millions lay --corpus FOLDER --clips 2500000 --work FOLDER      lays miniatures in the order of their cells
    python -m benchmarks.millions search --work FOLDER [--share 0.1] [--part 0/2]        searches some regions, or all
    python -m benchmarks.millions tell --work FOLDER                                     what was measured

Takes 2.3 kB of disk a clip. Regions are searched in an order drawn at random, each alone, so that a share of them, chosen by `--share`, tells what all
cost; what is measured of each is kept, and a search goes on where it was. Of planted copies those are counted which the regions searched must find: of which a
picture in one of them is likely when it is held against each of the other clip's.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.made_up_clips import FIELD, PICTURES, MadeUp, cuts_of, fields_of
from curate.copies import neighbours
from curate.copies.cells import Laid, laid_in, lay
from curate.copies.fingerprint import SIDE, descriptors
from curate.copies.glance import alike
from curate.copies.neighbours import near_pairs
from curate.copies.rank import Kinship
from curate.copies.search import GLANCES, NEAR, likely_copies, views, whole
from curate.corpus import open_corpus

ONE_IN, COPIES = 1000, 2500
"""Of so many clips one is a copy, and so many are at least, if they are no more than a hundredth."""


def peak_gb() -> float:
    """The most memory that this process held, mapped files included."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)


def anonymous_gb() -> float:
    """What it holds now that no file stands behind."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return round(int(status["RssAnon"].split()[0]) / 1e6, 2)


def made_up(work: Path) -> MadeUp:
    """The clips that were laid."""
    told = json.loads((work / "told.json").read_text())
    with np.load(work / "parts.npz") as parts:
        return MadeUp(parts["cuts"], parts["fields"], told["clips"], told["copies"], told["field"])


def lay_them(given: argparse.Namespace) -> None:
    """Make clips up and lay them."""
    given.work.mkdir(parents=True, exist_ok=True)
    clips = MadeUp(cuts_of(open_corpus(given.corpus), 0), fields_of(0), given.clips, max(given.clips // ONE_IN, min(COPIES, given.clips // 100)), given.field)
    np.savez(given.work / "parts.npz", cuts=clips.cuts, fields=clips.fields)
    kinship = np.zeros(given.clips, [("source", np.int32), ("kind", np.int32), ("shot", np.int32)])
    kinship["source"] = np.arange(given.clips)
    Kinship(kinship).save(given.work / "kinship.npy")
    told = {"clips": given.clips, "copies": clips.copies, "field": given.field}
    (given.work / "told.json").write_text(json.dumps(told))
    began, cpu, making = time.perf_counter(), time.process_time(), [0.0]

    def timed():
        seen, since = 0, time.process_time()
        for records, owners in clips.source():
            making[0] += time.process_time() - since
            yield records, owners
            seen, since = seen + len(records), time.process_time()
            if owners[-1] >> 12 & 255 == 0:
                print(f"{seen / 1e6:.0f} million pictures, {since:.0f} CPU s, {anonymous_gb()} GB", file=sys.stderr, flush=True)

    laid = lay(timed, whole, given.work)
    told |= {"pictures": len(laid.owners), "regions": laid.regions, "cells": len(laid.starts) - 1, "laying_wall_s": round(time.perf_counter() - began)}
    told |= {"laying_cpu_s": round(time.process_time() - cpu - making[0]), "making_up_cpu_s": round(making[0]), "laying_peak_gb": peak_gb()}
    (given.work / "told.json").write_text(json.dumps(told))
    print(json.dumps(told))


def search(given: argparse.Namespace) -> None:
    """Search regions, and keep what is measured of each."""
    laid, clips = laid_in(given.work), made_up(given.work)
    judge = likely_copies(laid, Kinship.saved(given.work / "kinship.npy"), False)
    counted: dict[str, float] = {}

    def likely(first: np.ndarray, second: np.ndarray, view: np.ndarray) -> np.ndarray:
        began = time.process_time()
        counted["near"] += len(first)
        counted["near_clips"] += len(np.unique(laid.owners[first].astype(np.int64) << 32 | laid.owners[second]))
        told = judge(first, second, view)
        counted["glances_s"] += time.process_time() - began
        return told

    order, (part, parts) = np.random.default_rng(0).permutation(laid.regions), map(int, given.part.split("/"))
    for region in order[: max(1, round(given.share * laid.regions))][part::parts].tolist():
        file = given.work / f"measured-{region}.json"
        if file.exists():
            continue
        counted |= {"near": 0, "near_clips": 0, "glances_s": 0.0}
        cpu, wall = time.process_time(), time.perf_counter()
        pairs = near_pairs(laid, region, NEAR, views(False), likely)
        planted = pairs[pairs[:, 1] - pairs[:, 0] == clips.clips - clips.copies]
        told = {"region": region, "pictures": int(np.diff(laid.places(region))[0]), "cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
        told |= counted | {"planted": planted[:, 0].tolist(), "strangers": len(pairs) - len(planted), "peak_gb": peak_gb(), "anonymous_gb": anonymous_gb()}
        file.write_text(json.dumps(told))
        print(region, {name: round(value, 2) for name, value in told.items() if isinstance(value, float)}, flush=True)


def expected(laid: Laid, clips: MadeUp, regions: set[int]) -> tuple[set[int], set[int]]:
    """Copies of which a picture in these regions is near one of the other clip's, and of which one is likely, whatever cell the other lies in."""
    near, likely = set(), set()
    for start in range(0, clips.copies, 1000):
        end, first = min(start + 1000, clips.copies), clips.clips - clips.copies
        shown, kept = ([made(at + start, at + end) for at in (0, first)] for made in (clips.made, clips.kept))
        described = [descriptors(made.reshape(-1, SIDE, SIDE)).reshape(end - start, PICTURES, 3, -1) for made in shown]
        for one, other in ((0, 1), (1, 0)):
            looks = np.isin(laid.division.regions_of(described[one][:, :, 0].reshape(-1, described[one].shape[-1])), list(regions)).reshape(-1, PICTURES)
            likeness = np.max([np.einsum("nid,njd->nij", described[one][:, :, view], described[other][:, :, 0]) for view in range(3)], axis=0)
            likeness[~looks | ~kept[one]] = -1
            np.moveaxis(likeness, 2, 1)[~kept[other]] = -1
            for number in np.flatnonzero(likeness.max(axis=(1, 2)) >= NEAR).tolist():
                near.add(start + number)
                best = np.argsort(-likeness[number], axis=None)[:GLANCES]
                looker, found = np.divmod(best[likeness[number].ravel()[best] >= NEAR], PICTURES)
                if alike(shown[one][number], looker, shown[other][number][found], np.zeros(len(found), bool)).any():
                    likely.add(start + number)
    return near, likely


def tell(given: argparse.Namespace) -> None:
    """Add up what was measured."""
    laid, clips = laid_in(given.work), made_up(given.work)
    told = json.loads((given.work / "told.json").read_text())
    measured = [json.loads(file.read_text()) for file in given.work.glob("measured-*.json")]
    regions, pictures = {one["region"] for one in measured}, sum(one["pictures"] for one in measured)
    near, likely = expected(laid, clips, regions)
    found = {number for one in measured for number in one["planted"]}
    scale = len(laid.owners) / pictures
    whole_h = {name: sum(one[name] for one in measured) * scale / 3600 for name in ("cpu_s", "glances_s")}
    told |= {"regions_around": neighbours.REGIONS, "nearest": neighbours.NEAREST, "regions_searched": len(regions), "share_of_pictures": 1 / scale}
    told |= {"searching_cpu_h": whole_h["cpu_s"], "of_which_glances_h": whole_h["glances_s"]}
    told |= {f"{name}_a_clip": sum(one[name] for one in measured) * scale / clips.clips for name in ("near", "near_clips")}
    told |= {"strangers_left": sum(one["strangers"] for one in measured), "copies_near": len(near), "copies_likely": len(likely)}
    told |= {"found": len(found & likely), "found_besides": len(found - likely)}
    told |= {f"{name}_gb": max(one[f"{name}_gb"] for one in measured) for name in ("peak", "anonymous")}
    print(json.dumps(told))


def main() -> None:
    """Lay, search, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("lay", "search", "tell"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--corpus", help="read by benchmarks.duplicates; what clips are mixed from")
    parser.add_argument("--clips", type=int, default=250_000)
    parser.add_argument("--field", type=float, default=FIELD)
    parser.add_argument("--share", type=float, default=1.0, help="of the regions")
    parser.add_argument("--part", default="0/1", help="which of how many processes this is")
    given = parser.parse_args()
    {"lay": lay_them, "search": search, "tell": tell}[given.what](given)


if __name__ == "__main__":
    main()
