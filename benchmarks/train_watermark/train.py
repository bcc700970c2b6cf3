"""Trains the watermark network on generated examples: `python train.py DATA OUT --steps 3000`. Resumable; the same seed gives the same order of examples.

Focal binary cross-entropy per cell (Lin et al. 2017, with shares as soft labels), Dice where there is something to find (Milletari et al. 2016),
and cross-entropy on the mean of the strongest logits, which is what becomes the clip's score.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from make import FIELDS
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from curate.scorers.watermark_features import TOP
from curate.scorers.watermark_network import WatermarkNetwork

BATCH = 16
SEEN_PICTURES = 2
AVERAGED = 0.998
"""Decay of the running average of the weights, which is what is kept."""


def batches(folder: Path, first_pool: int, pool: int, seed: int, skip: int) -> Iterator[dict[str, Tensor]]:
    """Endless batches of one orientation. A visit draws a chunk among those of the pool, which grows by one every fourth visit until it is whole,
    so that training may start while data is still being made and yet see the same examples in the same order."""
    visit = at = 0
    while True:
        rng = np.random.default_rng([seed, visit])
        chunk = int(rng.integers(min(pool, first_pool + visit // 4)))
        path = folder / f"train-{chunk:05d}.npz"
        while not path.exists():
            time.sleep(5)
        loaded = None
        portrait = np.load(path)["portrait"]
        for lying in (False, True):
            members = rng.permutation(np.flatnonzero(portrait == lying))
            for start in range(0, len(members), BATCH):
                if len(members) - start >= 4:
                    at += 1
                    if at > skip:
                        loaded = loaded or {name: array for name, array in np.load(path).items() if name in FIELDS}
                        chosen = members[start : start + BATCH]
                        yield varied({name: torch.from_numpy(array[chosen]) for name, array in loaded.items()}, lying, rng)
        visit += 1


def varied(batch: dict[str, Tensor], portrait: bool, rng: np.random.Generator) -> dict[str, Tensor]:
    """A batch set upright, mirrored or inverted by chance, and shown two of its four pictures."""
    if portrait:
        batch = {name: tensor.transpose(-1, -2) for name, tensor in batch.items()}
    seen = torch.from_numpy(np.sort(rng.permutation(batch["pictures"].shape[1])[:SEEN_PICTURES]))
    batch["pictures"], batch["moving"] = batch["pictures"][:, seen], batch["moving"][:, seen]
    for axis, chance, order in ((-1, 0.5, [1, 0, 3, 2]), (-2, 0.15, [2, 3, 0, 1])):
        if rng.random() < chance:
            batch = {name: tensor.flip(axis) for name, tensor in batch.items()}
            batch["planes"] = torch.cat([batch["planes"][:, order], batch["planes"][:, 4:]], 1)
    if rng.random() < 0.25:
        batch["pictures"] = 255 - batch["pictures"]
        batch["planes"] = torch.cat([batch["planes"][:, :6], 255 - batch["planes"][:, 6:7], batch["planes"][:, 7:]], 1)
    batch = {name: tensor.float().contiguous() for name, tensor in batch.items()}
    return toned(batch, float(rng.uniform(0.6, 1.2)), float(rng.uniform(-25, 25))) if rng.random() < 0.5 else batch


def toned(batch: dict[str, Tensor], contrast: float, lift: float) -> dict[str, Tensor]:
    """The batch as a film of another contrast around mid-grey, lifted by some grey levels, would have given it."""
    planes = batch["planes"]
    edges, level, spreads = planes[:, :6] * contrast**0.5, (planes[:, 6:7] - 128) * contrast + 128 + lift, planes[:, 7:] * contrast
    pictures = ((batch["pictures"] - 128) * contrast + 128 + lift).clamp(0, 255)
    return batch | {"planes": torch.cat([edges, level.clamp(0, 255), spreads], 1), "pictures": pictures}


def losses(network: WatermarkNetwork, batch: dict[str, Tensor]) -> Tensor:
    """The three heads' losses, (3,): mark, caption, moving."""
    with torch.autocast("cpu", torch.bfloat16):
        mark, caption, moving = network(batch["planes"], batch["pictures"], batch["valid"])
    valid = batch["valid"][:, ::2, ::2]
    still, caption_share = (functional.avg_pool2d(batch[name] / 255, 2) for name in ("mark", "caption"))
    seen = valid[:, None].expand_as(moving)
    return torch.stack(
        [
            head_loss(mark.float(), still, valid),
            head_loss(caption.float(), caption_share, valid),
            head_loss(moving.float().flatten(0, 1), (batch["moving"] / 255).flatten(0, 1), seen.flatten(0, 1)),
        ]
    )


def head_loss(logits: Tensor, shares: Tensor, valid: Tensor) -> Tensor:
    """Focal cross-entropy, Dice and the strongest logits' cross-entropy of one head; logits, shares and valid (N, R, C)."""
    chances = torch.sigmoid(logits)
    focal = functional.binary_cross_entropy_with_logits(logits, shares, reduction="none") * (chances - shares).square()
    focal = (focal * valid).sum((1, 2)) / (shares.sum((1, 2)) + 15)
    present = (shares > 0.3).any(2).any(1)
    overlap = 1 - (2 * (chances * shares * valid).sum((1, 2)) + 1) / ((chances * valid).square().sum((1, 2)) + shares.square().sum((1, 2)) + 1)
    top = logits.masked_fill(valid < 0.5, -20.0).flatten(1).topk(TOP, 1).values.mean(1)
    strongest = functional.binary_cross_entropy_with_logits(top, present.float(), reduction="none")
    return (4 * focal + overlap * present + strongest).mean()


def train(data: Path, out: Path, steps: int, pool: int, first_pool: int, rate: float, seed: int, start: Path | None = None) -> None:
    """Trains from the last checkpoint in `out`, else from `start`, else from fresh weights; the averaged weights end in `out/averaged.pt`."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    network = WatermarkNetwork().to(memory_format=torch.channels_last).train()
    if start:
        network.load_state_dict(load_file(start) if start.suffix == ".safetensors" else torch.load(start, weights_only=True))
    averaged = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps + 1, pct_start=0.1, div_factor=10, final_div_factor=200)
    step = 0
    if (out / "checkpoint.pt").exists():
        stored = torch.load(out / "checkpoint.pt", weights_only=True)
        network.load_state_dict(stored["network"])
        optimiser.load_state_dict(stored["optimiser"])
        schedule.load_state_dict(stored["schedule"])
        averaged, step = stored["averaged"], stored["step"]
    running, began = torch.zeros(3), time.monotonic()
    for batch in batches(data, first_pool, pool, seed, step):
        each = losses(network, batch)
        optimiser.zero_grad(set_to_none=True)
        (each * torch.tensor([1.0, 0.4, 0.6])).sum().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        step += 1
        decay = min(AVERAGED, (1 + step) / (10 + step))
        for name, tensor in network.state_dict().items():
            averaged[name] = tensor.clone() if not tensor.is_floating_point() else averaged[name].lerp(tensor, 1 - decay)
        running = 0.98 * running + 0.02 * each.detach()
        if step % 50 == 0:
            told = ", ".join(f"{value:.3f}" for value in (running / (1 - 0.98 ** min(step, 200))).tolist())
            print(f"step {step}: mark, caption, moving {told}; {(time.monotonic() - began):.0f} s", flush=True)
        if step % 100 == 0 or step == steps:
            stored = {
                "network": network.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "averaged": averaged,
                "step": step,
            }
            torch.save(stored, out / "checkpoint.partial")
            (out / "checkpoint.partial").rename(out / "checkpoint.pt")
            torch.save(averaged, out / "averaged.pt")
        if step % 500 == 0:
            torch.save(averaged, out / f"averaged-{step:05d}.pt")
        if step == steps:
            return


def main() -> None:
    """Reads the command line and trains with one thread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--pool", type=int, default=160, help="chunks there are, or will be")
    parser.add_argument("--first-pool", type=int, default=8, help="chunks to draw from at first")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="averaged.pt of an earlier round, or shipped weights")
    given = parser.parse_args()
    torch.set_num_threads(1)
    train(given.data, given.out, given.steps, given.pool, given.first_pool, given.rate, given.seed, given.start)


if __name__ == "__main__":
    main()
