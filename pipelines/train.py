"""Training and sampling as the command and the demo ask for them: a run file and shards in, a cascade and videos out."""

import importlib.resources
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
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


def with_init(run: TrainingRun, init: str) -> TrainingRun:
    """A run whose weights come from elsewhere. Image models have none of interpolation: a phase that starts from this run's base still does."""
    only_images = all(part.startswith(("sd:", "x4:")) for part in init.split(","))
    phases = tuple(phase if phase.init == "base" and only_images else phase.model_copy(update={"init": None}) for phase in run.phases)
    return run.model_copy(update={"init": init, "phases": phases})


def train_shards(run: str | Path, shards: str | Path | None, out: Path, listener: Listener = quiet, init: str | None = None, workers: int = 1) -> Path:
    """Train a run's phases; the folder of the cascade. The corpus that the shards lie in remembers it, for lineage and takedowns.

    Args:
        run: a run file, or the name of a shipped one.
        shards: what to train on, instead of what the run file names.
        out: folder of the run; an interrupted one goes on from there.
        init: where weights come from, instead of what the run file and its phases say.
        workers: over how many workers of a Ray cluster; with more than one, `out` must be a folder that all see, and the listener hears nothing.

    Raises:
        DocumentError: a mistake in the run file, or no shards.
    """
    from train.loop import train

    chosen = read_run(run)
    if shards:
        chosen = chosen.model_copy(update={"shards": str(shards)})
    if init:
        chosen = with_init(chosen, init)
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


@dataclass(frozen=True)
class Asking:
    """How a video is sampled, as `Cascade.__call__` has it; `longer` is how often the base goes on from its last frame."""

    negative_prompt: str = ""
    seed: int = 0
    steps: int | Mapping[str, int] = 25
    guidance: float | Mapping[str, float] = 4.0
    rescale: float = 0.0
    sampler: str | None = None
    longer: int = 0
    upto: str = "vsr"


def sample_video(checkpoint: str | Path, prompt: str, out: Path, asking: Asking | None = None, listener: Listener = quiet) -> Path:
    """Make a video from text with a trained cascade and write it, with content credentials; stages beyond `upto`, or not trained, are left out.

    Raises:
        DocumentError: the folder holds no cascade, or no such stage.
    """
    from train.cascade import STAGES, cascade_folder, open_cascade, write_mp4
    from train.credentials import sign_video

    asked = asking or Asking()
    cascade = open_cascade(checkpoint)
    _check_stages(asked, tuple(STAGES))
    allowed = list(STAGES)[: list(STAGES).index(asked.upto) + 1]
    chosen = [stage for stage in cascade.stages if stage in allowed] or ["base"]
    given = (asked.steps, asked.guidance, chosen[-1], asked.sampler, asked.rescale, asked.longer)
    frames = cascade(prompt, asked.negative_prompt or None, asked.seed, *given, listener=listener)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_mp4(frames, out, INTERPOLATED_FPS if "interpolation" in chosen else BASE_FPS)
    sign_video(out, cascade_folder(checkpoint), {"prompt": prompt, **asdict(asked)})
    return out


def _check_stages(asked: Asking, stages: tuple[str, ...]) -> None:
    if asked.upto not in stages:
        raise DocumentError(f"--upto {asked.upto!r}: choose one of {', '.join(stages)}")
    for option, given in (("--steps", asked.steps), ("--guidance", asked.guidance)):
        strange = [name for name in given if name not in stages] if isinstance(given, Mapping) else []
        if strange:
            raise DocumentError(f"{option} {strange[0]}=…: choose from {', '.join(stages)}")
    if isinstance(asked.steps, Mapping) and "base" not in asked.steps:
        raise DocumentError("--steps: say those of base too, such as base=50,vsr=10")
