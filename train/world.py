"""Which of how many equal workers this is, and what it must do for weights and numbers to be those of all."""

import torch
from torch import nn

from schemas.document import DocumentError


class World:
    """A worker alone; train/workers.py has those that are one of several.

    Attributes:
        rank, size: this worker's number, and how many there are.
    """

    rank, size = 0, 1

    def places(self, batch: int) -> range:
        """This worker's places of every batch."""
        if batch % self.size:
            raise DocumentError(f"batch: {batch} clips cannot be divided equally among {self.size} workers")
        share = batch // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network with gradients averaged over all workers. Its parameters may be other objects afterwards."""
        return network

    def mean(self, number: torch.Tensor) -> torch.Tensor:
        """The mean of a number over all workers."""
        return number

    def whole(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor of which this worker may hold a share. Every worker must ask."""
        return tensor

    def share(self, whole: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """This worker's share of a whole tensor, divided as another of its shape is."""
        return whole

    def wait(self) -> None:
        """Until every worker is here."""
