"""Fits the heads' logistic curves on validation examples and writes the shipped file: `python calibrate.py RUN/averaged.pt VALIDATION OUT.safetensors`."""

import argparse
from pathlib import Path

import numpy as np
import torch
from judged import judged
from torch.nn import functional

from curate.scorers.watermark_judge import Calibration, Judge
from curate.scorers.watermark_network import WatermarkNetwork


def fitted(still: np.ndarray, moving: np.ndarray, marked: np.ndarray) -> Calibration:
    """The curves under which marked (0 or 1, N) is likeliest, given each head's strongest logits (N,). Labels are smoothed as in Platt 1999."""
    tops = torch.tensor(np.stack([still, moving], 1), dtype=torch.float64)
    positive, negative = float(marked.sum()), float((1 - marked).sum())
    labels = torch.tensor(np.where(marked > 0, (positive + 1) / (positive + 2), 1 / (negative + 2)))
    shifts = torch.tensor([-1.0, -1.0], dtype=torch.float64, requires_grad=True)
    scales = torch.tensor([1.0, 1.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([scales, shifts], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        clean = functional.logsigmoid(-(tops * scales.abs() + shifts)).sum(1)
        loss = -(labels * torch.log(-torch.expm1(clean.clamp(max=-1e-9))) + (1 - labels) * clean).mean() + 1e-3 * (scales - 1).square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return Calibration(*(round(float(value), 5) for pair in zip(scales.abs(), shifts) for value in pair))


def main() -> None:
    """Reads the command line, fits and saves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("averaged", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    network = WatermarkNetwork()
    network.load_state_dict(torch.load(given.averaged, weights_only=True))
    judge = Judge(network.eval(), Calibration(1.0, 0.0, 1.0, 0.0))
    rows = judged(judge, given.validation)
    columns = {name: np.array([row[name] for row in rows], np.float64) for name in ("still", "moving", "marked")}
    judge.calibration = fitted(columns["still"], columns["moving"], columns["marked"])
    judge.save(given.out)
    print(judge.calibration)


if __name__ == "__main__":
    main()
