"""TransNetV2 (Soucek and Lokoc, arXiv:2008.04838): the published weights in a leaner forward pass that gives the same probabilities.

What is leaner: the (2+1)-D convolutions run as two-dimensional ones on channels-last memory, which needs no copy between the spatial
and the temporal half; batch norms are folded into the temporal kernels; nothing global is changed (the published class seeds every
generator and switches PyTorch to slow deterministic kernels).
"""

from typing import Any

import numpy as np

from curate.embedding.compute import device_name, fixed_threads
from curate.models import weights

HEIGHT, WIDTH = 27, 48
WINDOW, KEPT = 100, 50
"""As published: windows of 100 frames, of which the middle 50 count."""
LONG_WINDOW, LONG_KEPT = 200, 150
"""A third less work, for nearly the same probabilities."""
DILATIONS = (1, 2, 4, 8)
REACH = 50
"""Frames before and after with which a frame's features and colours are compared."""


class TransNet:
    """The network with its weights.

    Args:
        device: a torch device; None for a GPU where there is one.
    """

    def __init__(self, device: str | None = None) -> None:
        import torch

        self._torch = torch
        self.device = torch.device(device or device_name())
        stored = torch.load(weights("transnetv2")[0], map_location="cpu", weights_only=True)
        self._blocks = [[self._folded(stored, f"SDDCNN.{block}.DDCNN.{layer}") for layer in (0, 1)] for block in (0, 1, 2)]
        self._dense = {name: tensor.to(self.device) for name, tensor in stored.items() if not name.startswith("SDDCNN")}

    def _folded(self, stored: dict[str, Any], prefix: str) -> list[tuple[Any, Any, Any]]:
        """Per dilation: the spatial kernel, and the temporal kernel and bias with the batch norm in them."""
        torch = self._torch
        gain = stored[f"{prefix}.bn.weight"] / torch.sqrt(stored[f"{prefix}.bn.running_var"] + 1e-3)
        shift = stored[f"{prefix}.bn.bias"] - stored[f"{prefix}.bn.running_mean"] * gain
        folded = []
        for index, dilation in enumerate(DILATIONS):
            spatial = stored[f"{prefix}.Conv3D_{dilation}.layers.0.weight"][:, :, 0]
            temporal = stored[f"{prefix}.Conv3D_{dilation}.layers.1.weight"][..., 0]
            mine = slice(index * len(temporal), (index + 1) * len(temporal))
            kernels = (spatial, temporal * gain[mine, None, None, None], shift[mine])
            folded.append(tuple(kernel.to(self.device).contiguous(**self._layout(kernel)) for kernel in kernels))
        return folded

    def _layout(self, tensor: Any) -> dict[str, Any]:
        return {"memory_format": self._torch.channels_last} if tensor.dim() == 4 else {}

    def probabilities(self, frames: np.ndarray, window: int = WINDOW, kept: int = KEPT) -> np.ndarray:
        """Probabilities of a whole film: in windows of which the middle counts, the ends padded with the first and last frame.

        Args:
            frames: uint8 (T, 27, 48, 3) RGB.
            window: frames per pass.
            kept: how many of them count.

        Returns:
            float32 (T, 2): that a frame begins a shot, and that it lies within a transition.
        """
        before = (window - kept) // 2
        after = before + (-len(frames)) % kept
        padded = np.concatenate([frames[:1].repeat(before, 0), frames, frames[-1:].repeat(after, 0)])
        parts = [self.window(padded[at : at + window])[before : before + kept] for at in range(0, len(frames), kept)]
        return np.concatenate(parts)[: len(frames)]

    def window(self, frames: np.ndarray) -> np.ndarray:
        """One pass over uint8 (T, 27, 48, 3): float32 (T, 2), as `probabilities` without padding."""
        torch, functional = self._torch, self._torch.nn.functional
        with fixed_threads():
            pictures = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)
            x = (pictures.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)
            features = []
            for first, second in self._blocks:
                shortcut = functional.relu_(self._convolved(x, first))
                x = functional.avg_pool2d(functional.relu_(self._convolved(shortcut, second)).add_(shortcut), 2)
                features.append(x.mean((2, 3)))
            seen = [self._likeness(pictures), self._similarity(torch.cat(features, 1)), x.permute(0, 2, 3, 1).flatten(1)]
            hidden = functional.relu(self._linear("fc1", torch.cat(seen, 1)))
            heads = torch.cat([self._linear("cls_layer1", hidden), self._linear("cls_layer2", hidden)], 1)
            return torch.sigmoid(heads).cpu().numpy()

    def _convolved(self, x: Any, kernels: list[tuple[Any, Any, Any]]) -> Any:
        """Spatial then temporal convolutions at four dilations, side by side: (T, C, H, W) channels-last to the same."""
        torch, functional = self._torch, self._torch.nn.functional
        frames, _, height, width = x.shape
        made = []
        for dilation, (spatial, temporal, bias) in zip(DILATIONS, kernels):
            y = functional.conv2d(x, spatial, padding=1)
            # In channels-last memory frames of pixels are also one picture, as high as there are frames and as wide as there are pixels.
            y = y.permute(0, 2, 3, 1).reshape(1, frames, height * width, -1).permute(0, 3, 1, 2)
            made.append(functional.conv2d(y, temporal, bias, padding=(dilation, 0), dilation=(dilation, 1)).permute(0, 2, 3, 1))
        return torch.cat(made, -1).view(frames, height, width, -1).permute(0, 3, 1, 2)

    def _linear(self, name: str, x: Any) -> Any:
        return self._torch.nn.functional.linear(x, self._dense[f"{name}.weight"], self._dense[f"{name}.bias"])

    def _similarity(self, features: Any) -> Any:
        """How like its neighbours a frame's features are."""
        functional = self._torch.nn.functional
        x = functional.normalize(self._linear("frame_sim_layer.projection", features), dim=1)
        return functional.relu(self._linear("frame_sim_layer.fc", self._band(x @ x.T)))

    def _likeness(self, pictures: Any) -> Any:
        """How like its neighbours' a frame's histogram of 512 colours is."""
        torch, functional = self._torch, self._torch.nn.functional
        levels = pictures.int() >> 5
        bins = ((levels[..., 0] << 6) + (levels[..., 1] << 3) + levels[..., 2]).flatten(1).long()
        counts = torch.zeros(len(pictures), 512, device=self.device).scatter_add_(1, bins, torch.ones_like(bins, dtype=torch.float32))
        x = functional.normalize(counts, dim=1)
        return functional.relu(self._linear("color_hist_layer.fc", self._band(x @ x.T)))

    def _band(self, square: Any) -> Any:
        """Of a (T, T) matrix the entries within REACH of the diagonal, (T, 2 REACH + 1), zeros beyond its edges."""
        frames = len(square)
        padded = self._torch.nn.functional.pad(square, (REACH, REACH)).contiguous()
        return padded.as_strided((frames, 2 * REACH + 1), (frames + 2 * REACH + 1, 1))
