"""TransNetV2 (Soucek and Lokoc, arXiv:2008.04838): the published weights in a leaner forward pass that gives the same probabilities.

What is leaner: the (2+1)-D convolutions run as two-dimensional ones on channels-last memory, which needs no copy between the spatial
and the temporal half; batch norms are folded into the temporal kernels, and the first layer's two halves into one; windows that overlap
share what their padding has not reached; the dense layers see only the frames that count; nothing global is changed (the published class
seeds every generator and switches PyTorch to slow deterministic kernels).
"""

from collections.abc import Callable
from functools import partial
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
PADDED = max(DILATIONS)
"""Frames that each layer's padding reaches further into a window, from either end."""
REACH = 50
"""Frames before and after with which a frame's features and colours are compared."""
WORTH_SHARING = 10
"""Frames fewer than this take longer to copy than to compute."""


class Overlap:
    """What a window takes over from the one before it: spatial convolutions of frames that neither's padding has reached.

    Args:
        step: frames from one window to the next.
    """

    def __init__(self, step: int) -> None:
        self._step = step
        self._before: dict[tuple[int, int], Any] = {}

    def spatial(self, layer: int, dilation: int, x: Any, convolve: Callable[[Any], Any]) -> Any:
        """`convolve(x)`, one frame at a time as far as it is concerned; layers are counted from 0, whose input no padding has reached."""
        import torch

        low, high = PADDED * layer, len(x) - self._step - PADDED * layer
        if high - low < WORTH_SHARING:
            return convolve(x)
        before = self._before.get((layer, dilation))
        known = None if before is None else before[self._step + low : self._step + high]
        made = convolve(x) if known is None else torch.cat([convolve(x[:low]), known, convolve(x[high:])])
        self._before[layer, dilation] = made
        return made


class TransNet:
    """The network with its weights.

    Args:
        device: a torch device; None for a GPU where there is one.
        models_dir: folder of models, where its weights are looked for first.

    Raises:
        ModelError: its weights are not here, or not what they should be.
    """

    def __init__(self, device: str | None = None, models_dir: str | None = None) -> None:
        import torch

        self._torch = torch
        self.device = torch.device(device or device_name())
        stored = torch.load(weights("transnetv2", models_dir)[0], map_location="cpu", weights_only=True)
        layers = [self._folded(stored, f"SDDCNN.{block}.DDCNN.{layer}") for block in (0, 1, 2) for layer in (0, 1)]
        self._first = [(self._on_device(joined(spatial, temporal)), self._on_device(bias)) for spatial, temporal, bias in layers[0]]
        self._layers = [[tuple(self._on_device(kernel) for kernel in kernels) for kernels in layer] for layer in layers]
        self._dense = {name: tensor.to(self.device) for name, tensor in stored.items() if not name.startswith("SDDCNN")}

    def _folded(self, stored: dict[str, Any], prefix: str) -> list[tuple[Any, Any, Any]]:
        """Per dilation: the spatial kernel, and the temporal kernel and bias with the batch norm in them."""
        gain = stored[f"{prefix}.bn.weight"] / self._torch.sqrt(stored[f"{prefix}.bn.running_var"] + 1e-3)
        shift = stored[f"{prefix}.bn.bias"] - stored[f"{prefix}.bn.running_mean"] * gain
        folded = []
        for index, dilation in enumerate(DILATIONS):
            spatial = stored[f"{prefix}.Conv3D_{dilation}.layers.0.weight"][:, :, 0]
            temporal = stored[f"{prefix}.Conv3D_{dilation}.layers.1.weight"][..., 0]
            mine = slice(index * len(temporal), (index + 1) * len(temporal))
            folded.append((spatial, temporal * gain[mine, None, None, None], shift[mine]))
        return folded

    def _on_device(self, tensor: Any) -> Any:
        layout = {"memory_format": self._torch.channels_last} if tensor.dim() == 4 else {}
        return tensor.to(self.device).contiguous(**layout)

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
        overlap, middle = Overlap(kept), slice(before, before + kept)
        parts = [self.window(padded[at : at + window], middle, overlap) for at in range(0, len(frames), kept)]
        return np.concatenate(parts)[: len(frames)]

    def window(self, frames: np.ndarray, counted: slice = slice(None), overlap: Overlap | None = None) -> np.ndarray:
        """One pass over uint8 (T, 27, 48, 3): float32 (T, 2), as `probabilities` without padding.

        Args:
            frames: what the network sees.
            counted: of which of them probabilities are wanted.
            overlap: what the window before this one left to share, if it overlaps.
        """
        torch, functional = self._torch, self._torch.nn.functional
        with fixed_threads():
            pictures = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)
            x = (pictures.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)
            features = []
            for block in (0, 1, 2):
                shortcut = functional.relu_(self._convolved(x, 2 * block, overlap) if block else self._begun(x))
                x = functional.avg_pool2d(functional.relu_(self._convolved(shortcut, 2 * block + 1, overlap)).add_(shortcut), 2)
                features.append(x.mean((2, 3)))
            alike = self._likeness(pictures, counted), self._similarity(torch.cat(features, 1), counted)
            hidden = functional.relu(self._linear("fc1", torch.cat([*alike, x[counted].permute(0, 2, 3, 1).flatten(1)], 1)))
            heads = torch.cat([self._linear("cls_layer1", hidden), self._linear("cls_layer2", hidden)], 1)
            return torch.sigmoid(heads).cpu().numpy()

    def _begun(self, x: Any) -> Any:
        """The first layer, of both halves at once: of three colours in three frames that is less work than one half after the other."""
        torch, functional = self._torch, self._torch.nn.functional
        padded = functional.pad(x, (0, 0, 0, 0, 0, 0, PADDED, PADDED))
        earlier_and_later = [(padded[PADDED - dilation :][: len(x)], padded[PADDED + dilation :][: len(x)]) for dilation in DILATIONS]
        seen = [torch.cat([earlier, x, later], 1) for earlier, later in earlier_and_later]
        return torch.cat([functional.conv2d(three, kernel, bias, padding=1) for three, (kernel, bias) in zip(seen, self._first)], 1)

    def _convolved(self, x: Any, layer: int, overlap: Overlap | None) -> Any:
        """Spatial then temporal convolutions at four dilations, side by side: (T, C, H, W) channels-last to the same."""
        torch, functional = self._torch, self._torch.nn.functional
        frames, _, height, width = x.shape
        made = []
        for dilation, (spatial, temporal, bias) in zip(DILATIONS, self._layers[layer]):
            convolve = partial(functional.conv2d, weight=spatial, padding=1)
            y = overlap.spatial(layer, dilation, x, convolve) if overlap else convolve(x)
            # In channels-last memory frames of pixels are also one picture, as high as there are frames and as wide as there are pixels.
            y = y.permute(0, 2, 3, 1).reshape(1, frames, height * width, -1).permute(0, 3, 1, 2)
            made.append(functional.conv2d(y, temporal, bias, padding=(dilation, 0), dilation=(dilation, 1)).permute(0, 2, 3, 1))
        return torch.cat(made, -1).view(frames, height, width, -1).permute(0, 3, 1, 2)

    def _linear(self, name: str, x: Any) -> Any:
        return self._torch.nn.functional.linear(x, self._dense[f"{name}.weight"], self._dense[f"{name}.bias"])

    def _similarity(self, features: Any, counted: slice) -> Any:
        """How like its neighbours a frame's features are."""
        functional = self._torch.nn.functional
        x = functional.normalize(self._linear("frame_sim_layer.projection", features), dim=1)
        return functional.relu(self._linear("frame_sim_layer.fc", self._band(x @ x.T)[counted]))

    def _likeness(self, pictures: Any, counted: slice) -> Any:
        """How like its neighbours' a frame's histogram of 512 colours is."""
        torch, functional = self._torch, self._torch.nn.functional
        levels = pictures.int() >> 5
        bins = ((levels[..., 0] << 6) + (levels[..., 1] << 3) + levels[..., 2]).flatten(1).long()
        counts = torch.zeros(len(pictures), 512, device=self.device).scatter_add_(1, bins, torch.ones_like(bins, dtype=torch.float32))
        x = functional.normalize(counts, dim=1)
        return functional.relu(self._linear("color_hist_layer.fc", self._band(x @ x.T)[counted]))

    def _band(self, square: Any) -> Any:
        """Of a (T, T) matrix the entries within REACH of the diagonal, (T, 2 REACH + 1), zeros beyond its edges."""
        frames = len(square)
        padded = self._torch.nn.functional.pad(square, (REACH, REACH)).contiguous()
        return padded.as_strided((frames, 2 * REACH + 1), (frames + 2 * REACH + 1, 1))


def joined(spatial: Any, temporal: Any) -> Any:
    """A spatial kernel (M, C, 3, 3) and the temporal one after it (O, M, 3, 1) as one (O, 3 C, 3, 3), for three frames in the place of channels."""
    import torch

    return torch.einsum("omt,mcij->otcij", temporal[..., 0], spatial).flatten(1, 2)
