"""Per picture: a network's outputs for every picture of a batch of clips, in batches that clips share."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from curate.scorers.base import OF_ONE_CLIP, ClipBatch, Unmeasured

Step = Callable[[np.ndarray], np.ndarray]
Steps = tuple[Step, Step]
"""How a picture is prepared, and what a network makes of prepared ones."""


def per_picture(batch: ClipBatch, prepare: Step, forward: Step) -> list[Any]:
    """A network's outputs for every picture of a batch, all clips' pictures sharing its batches; one (pictures, ...) array per clip."""

    def prepared_of(index: int) -> list[np.ndarray] | Unmeasured:
        try:
            return [prepare(pixels) for pixels in batch.frames(index)]
        except OF_ONE_CLIP as error:
            return error if isinstance(error, Unmeasured) else Unmeasured(f"{type(error).__name__}: {error}")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        prepared = list(pool.map(prepared_of, range(len(batch))))
    everything = [picture for each in prepared if not isinstance(each, Unmeasured) for picture in each]
    outputs, at = forward(np.stack(everything)) if everything else np.zeros(0), 0
    found: list[Any] = []
    for each in prepared:
        if isinstance(each, Unmeasured):
            found.append(each)
        else:
            found.append(outputs[at : at + len(each)])
            at += len(each)
    return found
