"""How good frames are: against the true ones where there are any, and in themselves over time."""

from pathlib import Path

import numpy as np
import torch

from train.features import FeatureModel

LPIPS_BACKBONE = "alexnet-owt-7be5be79.pth"


def psnr(made: np.ndarray, true: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of uint8 (F, H, W, 3), over all its pixels; identical clips have 100."""
    error = np.mean((made.astype(np.float64) - true.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / error)) if error > 0 else 100.0


def ssim(made: np.ndarray, true: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004), the mean over frames; 1 is identical."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    one, other = _pictures(made), _pictures(true)
    return float(structural_similarity_index_measure(one, other, data_range=255.0))  # type: ignore[arg-type]


def perceptual_distance(model: FeatureModel, made: np.ndarray, true: np.ndarray) -> float:
    """One minus the cosine between features of corresponding frames, the mean over frames; 0 is identical."""
    one, other = model.frames(made), model.frames(true)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(np.mean(1 - (one * other).sum(axis=1) / np.maximum(norms, 1e-12)))


def lpips(made: np.ndarray, true: np.ndarray) -> float | None:
    """LPIPS (Zhang et al. 2018) over AlexNet, the mean over frames; None where its backbone is not in torch's cache, since it ships nowhere."""
    if not (Path(torch.hub.get_dir()) / "checkpoints" / LPIPS_BACKBONE).exists():
        return None
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity

    return float(learned_perceptual_image_patch_similarity(_pictures(made) / 127.5 - 1, _pictures(true) / 127.5 - 1, net_type="alex"))


def flicker(frames: np.ndarray) -> float:
    """Mean size of the second difference over time, in per cent of full scale: steady motion of smooth pictures has little, flicker much."""
    if len(frames) < 3:
        return 0.0
    values = frames.astype(np.float64)
    return float(np.abs(values[:-2] - 2 * values[1:-1] + values[2:]).mean() / 2.55)


def temporal_consistency(model: FeatureModel, frames: np.ndarray) -> float:
    """Mean cosine between the features of neighbouring frames (Esser et al. 2023, Gen-1, section 4); 1 for a still."""
    seen = model.frames(frames)
    seen = seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-12)
    return float((seen[1:] * seen[:-1]).sum(axis=1).mean()) if len(seen) > 1 else 1.0


def _pictures(frames: np.ndarray) -> torch.Tensor:
    """uint8 (F, H, W, 3) as torchmetrics takes it: float (F, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
