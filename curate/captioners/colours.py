"""The colours of a clip in plain words: black-and-white, the one or two hues that carry it, muted, or many."""

from collections.abc import Sequence

import cv2
import numpy as np

GREY, MUTED, MIXED = "black-and-white", "muted", "many"

HUES = ((8, "red"), (20, "orange"), (33, "yellow"), (80, "green"), (100, "turquoise"), (130, "blue"), (155, "purple"), (170, "pink"), (181, "red"))
"""Upper bounds of OpenCV hues (0-180) and what they are called."""

GREY_BELOW, COLOURED_FROM = 0.06, 0.15
"""Saturation times value (chroma) that nearly all of a grey picture stays under, and from which a pixel counts as coloured."""

FEW, ONE, TWO = 0.15, 0.6, 0.75
"""Share of coloured pixels under which colours are muted; shares of them that one hue, or two, must have to be named."""


def colours(frames: Sequence[np.ndarray]) -> str:
    """One name for frames, uint8 (H, W, 3) RGB: GREY, MUTED, MIXED, a hue, or `blue and green`."""
    pixels = np.concatenate([cv2.resize(frame, (64, 36), interpolation=cv2.INTER_AREA) for frame in frames])
    hue, saturation, value = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV))
    chroma = (saturation / 255.0) * (value / 255.0)
    if float(np.quantile(chroma, 0.98)) < GREY_BELOW:
        return GREY
    coloured = chroma > COLOURED_FROM
    if coloured.mean() < FEW:
        return MUTED
    numbers = np.searchsorted([top for top, _ in HUES], hue[coloured], side="right").clip(0, len(HUES) - 1)
    shares: dict[str, float] = {}
    for number, count in zip(*np.unique(numbers, return_counts=True), strict=True):
        shares[HUES[number][1]] = shares.get(HUES[number][1], 0.0) + float(count) / numbers.size
    leading = sorted(shares, key=lambda name: (-shares[name], name))
    if shares[leading[0]] > ONE:
        return leading[0]
    return f"{leading[0]} and {leading[1]}" if shares[leading[0]] + shares[leading[1]] > TWO else MIXED
