"""How models run: folded norms change nothing but the cost, and batches have one shape."""

import numpy as np
import pytest

from curate.embedding.compute import fold_norms, in_fixed_batches

torch = pytest.importorskip("torch")


def test_folded_norms_compute_the_same_and_are_gone():
    import timm

    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    pictures = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        before = network.eval()(pictures)
        after = fold_norms(network)(pictures)
    assert (after - before).abs().max() < 1e-4 * before.abs().max()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def test_every_batch_has_the_same_shape_and_padding_is_cut_off():
    seen = []

    def forward(part: np.ndarray) -> np.ndarray:
        seen.append(part.shape)
        return part.sum(1)

    made = in_fixed_batches(np.arange(10, dtype=np.float32).reshape(5, 2), 2, forward)
    assert seen == [(2, 2)] * 3 and made.tolist() == [1, 5, 9, 13, 17]
