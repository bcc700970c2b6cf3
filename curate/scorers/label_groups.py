"""Plain words for groups of ImageNet's labels: a network that cannot tell one spaniel from another is often sure that it sees a dog."""

import numpy as np

GROUPS: dict[str, tuple[range, ...]] = {
    "fish": (range(7), range(389, 398)),
    "bird": (range(7, 25), range(80, 101), range(127, 147)),
    "frog or salamander": (range(25, 33),),
    "turtle": (range(33, 38),),
    "lizard": (range(38, 49),),
    "crocodile": (range(49, 51),),
    "snake": (range(52, 69),),
    "spider": (range(72, 78),),
    "crab or lobster": (range(118, 126),),
    "whale": (range(147, 149),),
    "dog": (range(151, 269),),
    "wolf": (range(269, 272),),
    "fox": (range(277, 281),),
    "cat": (range(281, 286),),
    "big cat": (range(286, 294),),
    "bear": (range(294, 298),),
    "insect": (range(300, 327),),
    "rabbit": (range(330, 333),),
    "pig": (range(341, 344),),
    "monkey or ape": (range(365, 385),),
    "elephant": (range(385, 387), range(101, 102)),
    "car": tuple(range(at, at + 1) for at in (407, 436, 468, 511, 609, 627, 656, 661, 751, 817)),
    "truck": tuple(range(at, at + 1) for at in (555, 569, 675, 717, 734, 864, 867)),
    "bus": tuple(range(at, at + 1) for at in (654, 779, 874)),
    "train": tuple(range(at, at + 1) for at in (466, 547, 705, 820, 829)),
    "boat or ship": tuple(range(at, at + 1) for at in (403, 472, 484, 510, 554, 576, 625, 628, 724, 780, 814, 833, 871, 914)),
    "aircraft": tuple(range(at, at + 1) for at in (404, 405, 895)),
    "bicycle": tuple(range(at, at + 1) for at in (444, 671)),
    "motorcycle": tuple(range(at, at + 1) for at in (665, 670)),
    "screen": tuple(range(at, at + 1) for at in (527, 590, 620, 664, 681, 782, 851, 916)),
    "musical instrument": tuple(
        range(at, at + 1) for at in (401, 402, 420, 432, 486, 494, 513, 541, 546, 558, 566, 577, 579, 593, 594, 642, 683, 687, 699, 776, 822, 875, 881, 889)
    ),
    "ball": tuple(range(at, at + 1) for at in (429, 430, 522, 574, 722, 747, 768, 805, 852, 890)),
    "mushroom": (range(991, 998),),
}
"""Numbers are ImageNet's class numbers, from 0."""


def grouped(likely: np.ndarray) -> dict[str, float]:
    """The probability of each group from those of the labels (1000,)."""
    return {name: float(sum(likely[part.start : part.stop].sum() for part in parts)) for name, parts in GROUPS.items()}
