"""The cascade: base, interpolation and super-resolution as one pipeline that makes a video from text."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging

from schemas.document import DocumentError
from schemas.run import Phase, TrainingRun
from train.asked import Asked
from train.clips import to_clip, to_frames, write_mp4
from train.encoders import LatentSpace, TextFeatures, latent_of, open_latent_space, open_text, published_folder
from train.presets import STAGES
from train.samplers import SAMPLERS
from train.stages import StageSampling


class Cascade(DiffusionPipeline):
    """Text to video in up to three stages, as far as they were trained.

    Args:
        base, interpolation, vsr: the stages' networks (VideoUNet), or None.
        autoencoder: the trained embedded autoencoder; None for the latent space that the run names.
        run: the run that made them, as JSON values: sizes, objectives and encoders.
    """

    base: Any
    interpolation: Any
    vsr: Any
    device: torch.device
    register_modules: Any
    register_to_config: Any
    set_progress_bar_config: Any
    _optional_components: ClassVar[list[str]] = ["base", "interpolation", "vsr", "autoencoder"]

    def __init__(self, base: Any = None, interpolation: Any = None, vsr: Any = None, autoencoder: Any = None, run: dict[str, Any] | None = None) -> None:
        super().__init__()
        if run is None:
            raise DocumentError("a Cascade needs the run that made its networks; use Cascade.from_pretrained(folder)")
        self.training_run = TrainingRun.model_validate(run)
        self.latents = (open_latent_space(self.training_run) if autoencoder is None else LatentSpace(autoencoder)).in_tiles()
        self.register_modules(base=base, interpolation=interpolation, vsr=vsr, autoencoder=self.latents.autoencoder)
        self.register_to_config(run=run)
        self._spaces = {stage: self._open_space(stage) for stage in STAGES}
        self.set_progress_bar_config(disable=True)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that were trained, in order."""
        return tuple(stage for stage in STAGES if getattr(self, stage) is not None)

    def _open_space(self, stage: str) -> LatentSpace:
        run = self.training_run
        latent = latent_of(run, stage)
        own = latent == "stable-diffusion" and getattr(self, stage) is not None and published_folder(run, stage) != run.models
        return open_latent_space(run, stage).in_tiles() if own or latent != run.latent else self.latents

    def space_of(self, stage: str) -> LatentSpace:
        """The latent space that a stage works in, where the cascade is."""
        return self._spaces[stage].to(self.device)

    def text_of(self, stage: str) -> TextFeatures:
        """The text encoder that a stage was trained with."""
        return open_text(self.training_run.text, published_folder(self.training_run, stage), "cpu")

    @torch.no_grad()
    def __call__(
        self,
        prompt: str,
        negative_prompt: str | None = None,
        seed: int = 0,
        steps: int | Mapping[str, int] = 25,
        guidance: float | Mapping[str, float] = 4.0,
        upto: str | None = None,
        sampler: str | None = None,
        guidance_rescale: float = 0.0,
        longer: int = 0,
        listener: Callable[[str, float, float], None] = lambda what, done, total: None,
    ) -> np.ndarray:
        """A video, uint8 (F, H, W, 3).

        Args:
            negative_prompt: what guidance leads away from; each stage's own null caption when None.
            steps: sampling steps, for all stages or for each. Where only `base` is given, or a number with a small preset, the later
                stages, which are shown most of the picture, take a quarter of it.
            guidance: scale for the base, or for each stage; 1 is none, which is what stages not named have.
            upto: the last stage to run; all that were trained when None.
            sampler: ddpm, ddim, euler or dpm, for every stage that is not trained on flow, which has its own euler; ddim when None.
            guidance_rescale: how far guided answers get back the spread of unguided ones, 0 to 1 (Lin et al. 2024, section 3.4).
            longer: how often the base goes on from its last frame, before the later stages.

        Raises:
            DocumentError: a stage up to `upto` was not trained, or `longer` asks of a base what it was not trained for.
        """
        chosen = self._stages_upto(upto)
        self._check_sampler(sampler, chosen)
        asked = Asked(prompt, negative_prompt, seed, steps, guidance, sampler, guidance_rescale, listener, self.training_run.preset == "lavie")
        base = self._at("base")
        latents = base.generate(asked, self.device)
        clip = base.space.decode(latents)
        if longer:
            clip = to_clip(self._extended(to_frames(clip), asked, longer)).to(self.device)
        if "interpolation" in chosen:
            shared = not longer and self._spaces["base"] is self._spaces["interpolation"]
            clip = self._at("interpolation").interpolate(clip, asked, latents if shared else None)
        if "vsr" in chosen:
            clip = self._at("vsr").upscale(clip, asked)
        return to_frames(clip)

    @torch.no_grad()
    def interpolate(self, frames: np.ndarray, prompt: str = "", seed: int = 0, steps: int = 1, guidance: float = 1.0) -> np.ndarray:
        """More frames of a video of one's own: uint8 (K, H, W, 3) to (1 + scale·(K-1), H, W, 3)."""
        asked = Asked(prompt, None, seed, {"interpolation": steps}, {"interpolation": guidance})
        clip = to_clip(frames).to(self.device)
        return to_frames(self._at("interpolation").interpolate(clip, asked))

    @torch.no_grad()
    def upscale(
        self,
        frames: np.ndarray,
        prompt: str = "",
        seed: int = 0,
        steps: int = 1,
        guidance: float = 1.0,
        noise_level: int | None = None,
        add_noise: bool = True,
    ) -> np.ndarray:
        """Larger frames of a video of one's own: uint8 (F, H, W, 3) to (F, scale·H, scale·W, 3).

        Args:
            noise_level: to which the frames are noised first, 0 to what the phase was trained with; as LaVie samples when None.
            add_noise: whether they are; not where they are as noisy as that already.
        """
        asked = Asked(prompt, None, seed, {"vsr": steps}, {"vsr": guidance})
        return to_frames(self._at("vsr").upscale(to_clip(frames).to(self.device), asked, noise_level, add_noise))

    @torch.no_grad()
    def extend(self, frames: np.ndarray, prompt: str, times: int = 1, seed: int = 0, steps: int = 25, guidance: float = 4.0) -> np.ndarray:
        """A longer video, by generating on from the last frame again and again (LaVie, section 3.5): uint8 (F, H, W, 3) to (F + times·(T-1), H, W, 3).

        Args:
            frames: of the size the base was trained at, such as those it made.
            prompt: what the further frames show.

        Raises:
            DocumentError: the base was not trained with `first_frame`.
        """
        return self._extended(frames, Asked(prompt, None, seed, steps, guidance), times)

    def _extended(self, frames: np.ndarray, asked: Asked, times: int) -> np.ndarray:
        base = self._at("base")
        if base.phase.first_frame == 0:
            raise DocumentError("this base was not trained to go on from a frame: set `first_frame` (say 0.3) in its phase and train it")
        parts = [frames]
        for turn in range(times):
            last = base.space.encode(to_clip(parts[-1][-1:]).to(self.device))
            further = base.generate(replace(asked, seed=asked.seed + turn + 1), self.device, last)
            parts.append(to_frames(base.space.decode(further))[1:])
        return np.concatenate(parts)

    def _at(self, stage: str) -> StageSampling:
        return StageSampling(stage, getattr(self, stage), self._phase(stage), self.space_of(stage), self.text_of(stage))

    def _phase(self, stage: str) -> Phase:
        return next(phase for phase in self.training_run.phases if phase.task == STAGES[stage])

    def _check_sampler(self, sampler: str | None, chosen: tuple[str, ...]) -> None:
        if sampler is not None and sampler not in SAMPLERS:
            raise DocumentError(f"sampler {sampler!r}: choose one of {', '.join(SAMPLERS)}")
        if sampler not in (None, "euler") and all(self._phase(stage).prediction == "flow" for stage in chosen):
            raise DocumentError(f"sampler {sampler!r}: every stage of this cascade was trained on flow, which euler alone samples")

    def _stages_upto(self, upto: str | None) -> tuple[str, ...]:
        names = tuple(STAGES)
        if upto is not None and upto not in names:
            raise DocumentError(f"upto {upto!r}: choose one of {', '.join(names)}")
        wanted = names[: names.index(upto) + 1] if upto else self.stages
        missing = [stage for stage in wanted if stage not in self.stages]
        if missing or "base" not in wanted:
            raise DocumentError(
                f"this cascade has no stage `{(missing or ['base'])[0]}` (it has: {', '.join(self.stages) or 'none'}); train it, or sample up to an earlier one"
            )
        return wanted


def cascade_folder(folder: Path | str) -> Path:
    """Where the cascade is in a folder that `train` returned, or in the folder of its run.

    Raises:
        DocumentError: there is none.
    """
    folder = Path(folder)
    found = next((place for place in (folder, folder / "cascade") if (place / "model_index.json").exists()), None)
    if found is None:
        raise DocumentError(f"{folder}: no trained cascade in it; give the folder that `clipmill train` printed")
    return found


def open_cascade(folder: Path | str) -> Cascade:
    """The cascade in a folder, by `cascade_folder`."""
    logging.disable_progress_bar()
    return Cascade.from_pretrained(cascade_folder(folder), local_files_only=True)


__all__ = ["STAGES", "Cascade", "cascade_folder", "open_cascade", "write_mp4"]
