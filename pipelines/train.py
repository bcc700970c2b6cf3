"""Training and sampling as the command and the demo ask for them: a run file and shards in, a cascade and videos out."""

import importlib.resources
from collections.abc import Callable, Mapping
from pathlib import Path

from curate.trace import note_training
from schemas.document import DocumentError, read_document
from schemas.run import TrainingRun

Listener = Callable[[str, float, float], None]
BASE_FPS, INTERPOLATED_FPS = 8.0, 24.0  # as LaVie writes them


def quiet(what: str, done: float, total: float) -> None:
    """A listener that says nothing."""


def read_run(file_or_name: str | Path) -> TrainingRun:
    """A run from a TOML file, or by the name of one that ships with clipmill (`pipelines/runs`).

    Raises:
        DocumentError: there is no such run, or it is wrong; the message says where and what is allowed.
    """
    if Path(file_or_name).suffix == ".toml" or Path(file_or_name).is_file():
        return read_document(file_or_name, TrainingRun)
    shipped = importlib.resources.files("pipelines") / "runs"
    names = sorted(Path(str(entry)).stem for entry in shipped.iterdir() if str(entry).endswith(".toml"))
    if str(file_or_name) not in names:
        raise DocumentError(f"no run `{file_or_name}`: give a .toml file, or one of the shipped names: {', '.join(names)}")
    return read_document(str(shipped / f"{file_or_name}.toml"), TrainingRun)


def train_shards(run: str | Path, shards: str | Path | None, out: Path, listener: Listener = quiet, init: str | None = None, workers: int = 1) -> Path:
    """Train a run's phases; the folder of the cascade. The corpus that the shards lie in remembers it, for lineage and takedowns.

    Args:
        run: a run file, or the name of a shipped one.
        shards: what to train on, instead of what the run file names.
        out: folder of the run; an interrupted one goes on from there.
        init: where weights come from, instead of what the run file says.
        workers: over how many workers of a Ray cluster; with more than one, `out` must be a folder that all see, and the listener hears nothing.

    Raises:
        DocumentError: a mistake in the run file, or no shards.
    """
    from train.loop import train

    chosen = read_run(run)
    changes = {name: value for name, value in (("shards", shards and str(shards)), ("init", init)) if value}
    chosen = chosen.model_copy(update=changes)
    if not chosen.shards:
        raise DocumentError(f"run `{chosen.name}` names no shards: set `shards` in it, or give --shards with a folder that `clipmill pack` wrote")
    try:
        if workers > 1:
            from train.workers import train_on_ray

            return train_on_ray(chosen, out, workers)
        return train(chosen, out, listener)
    finally:
        # An interrupted run has seen its clips too, and a takedown has to name it.
        note_training(chosen.shards, str(Path(out).resolve()))


def sample_video(
    checkpoint: str | Path,
    prompt: str,
    out: Path,
    negative: str = "",
    seed: int = 0,
    steps: int | Mapping[str, int] = 25,
    guidance: float | Mapping[str, float] = 4.0,
    upto: str = "vsr",
    listener: Listener = quiet,
) -> Path:
    """Make a video from text with a trained cascade and write it, with content credentials; stages beyond `upto`, or not trained, are left out.

    Raises:
        DocumentError: the folder holds no cascade, or no such stage.
    """
    from train.cascade import STAGES, cascade_folder, open_cascade, write_mp4
    from train.credentials import sign_video

    cascade = open_cascade(checkpoint)
    if upto not in STAGES:
        raise DocumentError(f"--upto {upto!r}: choose one of {', '.join(STAGES)}")
    allowed = list(STAGES)[: list(STAGES).index(upto) + 1]
    last = [stage for stage in cascade.stages if stage in allowed][-1:]
    frames = cascade(prompt, negative or None, seed, steps, guidance, upto=last[0] if last else "base", listener=listener)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_mp4(frames, out, INTERPOLATED_FPS if "interpolation" in cascade.stages and upto != "base" else BASE_FPS)
    sign_video(out, cascade_folder(checkpoint), {"prompt": prompt, "negative_prompt": negative, "seed": seed, "steps": steps, "guidance": guidance})
    return out
