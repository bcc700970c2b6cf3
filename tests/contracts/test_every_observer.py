"""What every observer promises: its columns, the same values however the film arrives, and nothing kept of what is past."""

import pickle

import numpy as np
import pytest

from curate.media.frames import Frames
from curate.observers import OBSERVERS
from curate.observers.base import Observer, Span, Unknown
from schemas.clip import OBSERVED

EVERY = sorted(OBSERVERS, key=lambda cls: cls.__name__)
TYPES = {field.name: field.type for field in OBSERVED}


def film(frames: int = 200, seed: int = 1, size: tuple[int, int] = (144, 256)) -> Frames:
    """A textured ground that pans, with a square of noise that moves against it."""
    random = np.random.default_rng(seed)
    height, width = size
    ground = np.kron(random.integers(0, 256, (height // 8 + 60, width // 8 + 60, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    side = height // 4
    square = random.integers(0, 256, (side, side, 3)).astype(np.uint8)
    pictures = np.stack([ground[at : at + height, 2 * at : 2 * at + width] for at in range(frames)])
    for at, picture in enumerate(pictures):
        picture[side : 2 * side, (200 - at) % (width - side) :][:, :side] = square
    numbers = np.arange(frames)
    return Frames(numbers, numbers / 25, (numbers + 1) / 25, pictures)


def part(frames: Frames, start: int, end: int) -> Frames:
    return Frames(frames.numbers[start:end], frames.times_s[start:end], frames.ends_s[start:end], frames.pictures[start:end])


def watched(cls: type[Observer], frames: Frames, step: int, spans: list[Span]) -> list[dict]:
    """What an observer tells of spans, each closed about 60 frames after its end."""
    observer, told, waiting = cls(), [], list(spans)
    for start in range(0, len(frames), step):
        chunk = part(frames, start, start + step)
        if cls.sampled:
            chunk = part(chunk, 0, len(chunk)) if step == 1 else chunk
            seen = [index for index, number in enumerate(chunk.numbers) if number % 3 == 0]
            chunk = Frames(chunk.numbers[seen], chunk.times_s[seen], chunk.ends_s[seen], chunk.pictures[seen])
        if len(chunk):
            observer.observe(chunk.at(cls.size))
        while waiting and (waiting[0].end_frame + 60 <= start + step or start + step >= len(frames)):
            told.append(observer.close(waiting.pop(0)))
    return told


def span(start: int, end: int) -> Span:
    return Span(start, end, start / 25, end / 25)


SPANS = [span(0, 60), span(61, 100), span(100, 104), span(110, 200)]


@pytest.mark.parametrize("cls", EVERY)
def test_an_observer_says_which_columns_it_writes_and_writes_them_in_their_type(cls):
    for told in watched(cls, film(), 16, SPANS):
        assert set(told) == set(cls.columns) <= set(TYPES)
        for name, value in told.items():
            if not isinstance(value, Unknown):
                assert pickle.loads(pickle.dumps(value)) == value
                import pyarrow as pa

                pa.array([value], TYPES[name])


@pytest.mark.parametrize("cls", EVERY)
@pytest.mark.parametrize("step", [1, 7, 200])
def test_how_the_film_is_cut_into_chunks_changes_nothing(cls, step):
    assert watched(cls, film(), step, SPANS) == watched(cls, film(), 16, SPANS)


@pytest.mark.parametrize("cls", EVERY)
def test_what_lies_outside_of_a_span_does_not_show(cls):
    other, here = film(seed=2), film(seed=1)
    pictures = np.concatenate([other.pictures[:61], here.pictures[61:100], other.pictures[100:]])
    mixed = Frames(here.numbers, here.times_s, here.ends_s, pictures)
    assert watched(cls, mixed, 16, SPANS)[1] == watched(cls, here, 16, SPANS)[1]


@pytest.mark.parametrize("cls", EVERY)
def test_a_single_frame_is_told_without_an_error(cls):
    (told,) = watched(cls, film(1), 16, [span(0, 1)])
    assert set(told) == set(cls.columns)


@pytest.mark.parametrize("cls", EVERY)
@pytest.mark.parametrize("size", [(1, 1), (2, 256), (16, 256), (24, 256), (256, 2), (256, 16), (9, 640), (640, 9)], ids=str)
def test_strips_and_dots_are_told_without_a_crash(cls, size):
    pictures = np.random.default_rng(0).integers(0, 256, (40, *size, 3)).astype(np.uint8)
    numbers = np.arange(40)
    (told,) = watched(cls, Frames(numbers, numbers / 25, (numbers + 1) / 25, pictures), 16, [span(0, 40)])
    assert all(np.isfinite(value) for value in told.values() if isinstance(value, float))


@pytest.mark.parametrize("cls", EVERY)
def test_memory_stays_flat_over_a_long_film(cls):
    observer, chunk = cls(), film(32, size=(36, 64))
    sizes = []
    for index in range(120):
        numbers = np.arange(index * 32, index * 32 + 32)
        observer.observe(Frames(numbers, numbers / 25, (numbers + 1) / 25, chunk.pictures))
        if index % 4 == 3:
            observer.close(span(index * 32 - 96, index * 32 - 20))
            sizes.append(len(pickle.dumps({name: value for name, value in vars(observer).items() if name != "_flow"})))
    assert max(sizes[10:]) <= 1.2 * max(sizes[:10])


def test_the_columns_of_all_observers_are_those_of_the_schema():
    written = [column for cls in OBSERVERS for column in cls.columns]
    assert sorted(written) == sorted(TYPES)
