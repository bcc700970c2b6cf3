"""Samplers: diffusers' schedulers, set to the noise schedule a phase was trained with, and driven by estimates of the clean latents."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from schemas.run import Phase
from train.draws import TIMESTEPS
from train.objective import Objective
from train.schedules import betas

SAMPLERS: dict[str, Any] = {"ddpm": DDPMScheduler, "ddim": DDIMScheduler, "euler": EulerDiscreteScheduler, "dpm": DPMSolverMultistepScheduler}
"""What `sampler` may be: Ho et al. 2020; Song et al. 2021; Karras et al. 2022 (Euler); Lu et al. 2022 (DPM-Solver++). Flow has its own Euler."""

# The network's answer on noised latents at the diffusion times (1,).
Network = Callable[[Tensor, Tensor], Tensor]


def make_sampler(name: str, phase: Phase) -> Any:
    """A diffusers scheduler for a phase.

    Raises:
        ValueError: there is no such sampler, or the phase's objective cannot use it.
    """
    if name not in SAMPLERS:
        raise ValueError(f"sampler {name!r}: choose one of {', '.join(SAMPLERS)}")
    if phase.prediction == "flow":
        if name != "euler":
            raise ValueError(f"sampler {name!r}: a phase trained on flow is sampled by euler")
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=TIMESTEPS)
    # The published schedule is stepped as its authors' version of diffusers did it: 980, 960 … 0 for 50 steps.
    spacing = "leading" if phase.noise_schedule == "lavie" and name != "dpm" else "trailing"
    common = {"trained_betas": betas(phase.noise_schedule).numpy(), "prediction_type": "v_prediction", "timestep_spacing": spacing, "steps_offset": 0}
    kinds: dict[str, dict[str, Any]] = {"ddim": {"clip_sample": False, "set_alpha_to_one": True}, "ddpm": {"clip_sample": False}}
    return SAMPLERS[name](**common, **kinds.get(name, {}))


def denoise(
    network: Network,
    noise: Tensor,
    phase: Phase,
    sampler: str,
    steps: int,
    chance: torch.Generator,
    first_frame: Tensor | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Tensor:
    """Latents (B, C, F, h, w) from noise of that shape, or from the plain answer where the phase starts there.

    Args:
        network: answers as the phase's objective has it.
        steps: how many times the network is asked, at least.
        chance: for samplers that add noise.
        first_frame: (B, C, 1, h, w) clean latents that the clip must begin with.
        progress: hears the steps done.
    """
    objective, scheduler = Objective.of(phase), make_sampler(sampler, phase)
    scheduler.set_timesteps(steps, device=noise.device)
    flow = phase.prediction == "flow"
    latents = noise * (1.0 if flow else scheduler.init_noise_sigma)
    for done, time in enumerate(scheduler.timesteps, start=1):
        noised = latents if flow else scheduler.scale_model_input(latents, time)
        if first_frame is not None:
            noised = torch.cat([first_frame, noised[:, :, 1:]], dim=2)
        at = (time - 1 if flow else time).round().long().clamp(0, TIMESTEPS - 1).view(1).to(noise.device)
        answer = network(noised, at)
        if flow:
            answer = answer * objective.unit
        else:
            # Every scheduler takes v, and v is finite at every signal-to-noise ratio.
            kept, added = objective.shares(at)
            answer = (kept * noised - objective.clean(noised, answer, at)) / added
        stochastic = {"generator": chance} if sampler in ("ddpm", "dpm") and not flow else {}
        latents = scheduler.step(answer, time, latents, **stochastic).prev_sample
        progress(done)
    return latents if first_frame is None else torch.cat([first_frame, latents[:, :, 1:]], dim=2)


def guided(conditional: Tensor, unconditional: Tensor, scale: float, rescale: float) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2022), its spread brought back towards the conditional's by `rescale` (Lin et al. 2024, section 3.4)."""
    answer = unconditional + scale * (conditional - unconditional)
    if rescale == 0:
        return answer
    axes = tuple(range(1, answer.ndim))
    matched = answer * (conditional.std(dim=axes, keepdim=True) / answer.std(dim=axes, keepdim=True))
    return rescale * matched + (1 - rescale) * answer


def overlapping_chunks(frames: int, chunk: int, overlap: int) -> list[tuple[slice, Tensor]]:
    """Spans that cover `frames`, each with the weights of its frames: ramps over the overlaps, so that no seam is left.

    The published super-resolution runs chunks that do not overlap, and shows where they meet.
    """
    if frames <= chunk:
        return [(slice(0, frames), torch.ones(frames))]
    starts = [*range(0, frames - chunk, chunk - overlap), frames - chunk]
    spans = [slice(start, start + chunk) for start in starts]
    place = torch.arange(chunk, dtype=torch.float32)
    ramp = torch.minimum(place + 1, chunk - place).clamp(max=overlap + 1)
    return [(span, ramp) for span in spans]


def in_chunks(network: Callable[[Tensor, Tensor, slice], Tensor], frames: int, chunk: int, overlap: int) -> Network:
    """A network for all frames from one for a span of them: answers are averaged where spans overlap (Bar-Tal et al. 2023, MultiDiffusion, section 4)."""
    spans = overlapping_chunks(frames, chunk, overlap)

    def whole(noised: Tensor, time: Tensor) -> Tensor:
        total, weight = torch.zeros_like(noised), noised.new_zeros(frames)
        for span, weights in spans:
            weights = weights.to(noised)
            total[:, :, span] += network(noised[:, :, span], time, span) * weights.view(1, 1, -1, 1, 1)
            weight[span] += weights
        return total / weight.view(1, 1, -1, 1, 1)

    return whole
