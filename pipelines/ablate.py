"""Ablate: an experiment in, a verdict out. Plan, pack once, train every arm under every seed, evaluate alike, judge, report."""

import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from curate.corpus import open_corpus
from curate.engine import Engine, choose_engine, quiet, run_here
from curate.select import recipe_digest
from curate.trace import remember
from pipelines.ablation.arms import entrants
from pipelines.ablation.findings import Findings, write_tables
from pipelines.ablation.gather import Status, curves_of, outcomes_of, samples_of, statuses, trials_table
from pipelines.ablation.held_out import Holdings
from pipelines.ablation.pieces import Pieces, digest_of
from pipelines.ablation.plan import Plan
from pipelines.ablation.planning import make_plan
from pipelines.ablation.pool import Pool, held_out_shards, make_pool
from pipelines.ablation.report import write_report
from pipelines.ablation.treatment import Treatments
from pipelines.ablation.trials import RunTrials, Trial, as_rows, noise_levels, training_run, versions
from pipelines.ablation.verdict import judge, simulated_coverage
from pipelines.curate import On
from pipelines.progress import Listener
from schemas.experiment import Ablation, read_experiment
from schemas.recipe import read_recipe

WATCHED_CLIPS = 12


@dataclass(frozen=True)
class AblationResult:
    """What an ablation came to.

    Attributes:
        plan: what was, or would be, done.
        verdicts: a sentence for each question, then one for the controls; of a plan alone, the plan in words.
        report: the page; None for a plan alone.
        failures: trials that failed, with the reason.
    """

    plan: Plan
    verdicts: tuple[str, ...]
    report: Path | None
    failures: tuple[str, ...] = ()


def ablate(
    experiment: str | Path,
    out: Path | None = None,
    *,
    corpus: str | None = None,
    plan_only: bool = False,
    sweep: str | None = None,
    on: On | None = None,
    listener: Listener = quiet,
) -> AblationResult:
    """Run an experiment, or what is left of it.

    Args:
        experiment: a TOML file, or the name of a shipped one.
        out: folder for everything made; `ablations/NAME` when None.
        corpus: instead of the one the experiment names.
        plan_only: only say what would be done.
        sweep: a recipe from which the arms are made, instead of those of the experiment.
        on: where to run, instead of where the experiment says.

    Raises:
        DocumentError: the experiment is wrong, or cannot give an answer; nothing was done.
        CorpusError: there is no such corpus.
    """
    began = time.monotonic()
    wanted = read_experiment(experiment, corpus, sweep)
    opened = open_corpus(wanted.corpus)
    recipes = [entrant.recipe for entrant in entrants(wanted)[0]] + ([read_recipe(wanted.held_out.recipe)] if wanted.held_out.recipe else [])
    holdings = Holdings.of(opened, recipes, datetime.now(UTC).date())
    plan = make_plan(wanted, holdings)
    out = (out or Path("ablations") / wanted.name).resolve()
    pieces = Pieces(out / "pieces")
    if plan_only:
        return AblationResult(plan, tuple(plan.told(_pace(pieces))), None)
    engine = choose_engine(on or wanted.on, sum(arm.hours for arm in plan.arms) * 3600)
    pool = make_pool(opened, plan, holdings, pieces, engine, listener)
    # Its folder holds copies of the clips and models that saw them, so a takedown has to name it; that it was begun is enough.
    seen = {"run": f"ablation {wanted.name}", "selection": pool.name, "manifest_sha256": pool.manifest, "clip_ids": sorted(pool.index)}
    remember(opened, {"checkpoint": str(out), **seen})
    trials = list(make_trials(plan, pool, pieces, listener))
    before = {digest_of(trial.training) for trial in trials if pieces.find("training", trial.training)}
    ended = _run(trials, pieces, engine, wanted, listener)
    table = trials_table(trials, ended, before, plan, pieces)
    lineage = {"corpus": opened.url, "pool": pool.manifest, "held-out clips": trials[0].held_out_digest, **recipe_digests(plan)}
    findings = _findings(plan, trials, table, pieces, lineage, _again(experiment, out, corpus, sweep), began)
    out.mkdir(parents=True, exist_ok=True)
    write_tables(findings, out)
    report = write_report(findings, out)
    failures = tuple(f"arm `{row['arm']}`, seed {row['seed']}: {row['reason']}" for row in findings.failures)
    return AblationResult(plan, tuple(findings.verdicts), report, failures)


def make_trials(plan: Plan, pool: Pool, pieces: Pieces, listener: Listener) -> Iterator[Trial]:
    """Every arm under every seed, with the shards it trains on made; arms are only told apart by what they train on."""
    experiment = plan.experiment
    heights = [phase.height for arm in plan.arms if arm.entrant.control for phase in arm.entrant.phases]
    treatments = Treatments(pool, pieces, 2 * max(heights, default=16), listener)
    held_out = held_out_shards(pool, plan.held_out.clips, pieces)
    watched = held_out_shards(pool, plan.held_out.clips[:WATCHED_CLIPS], pieces)
    prompts = experiment.evaluation.prompts or _captions(plan, pool, experiment.evaluation.samples)
    can_sample = any(phase.task == "text_to_video" for phase in experiment.phases)
    for arm in plan.arms:
        for seed in arm.entrant.seeds:
            shards = treatments.shards(arm, seed)
            shown = not arm.entrant.control and seed == experiment.seeds[0] and can_sample
            yield Trial(
                arm=arm.name,
                seed=seed,
                shards=str(shards.folder),
                shards_digest=shards.digest,
                held_out=str(held_out.folder),
                held_out_digest=held_out.digest,
                watched="" if arm.entrant.control else str(watched.folder),
                watched_digest="" if arm.entrant.control else watched.digest,
                run=training_run(experiment, arm, seed),
                levels=noise_levels(experiment.evaluation.levels),
                evaluation_seed=experiment.evaluation.seed,
                prompts=prompts if shown else (),
                sampler_steps=experiment.evaluation.steps,
                guidance=experiment.evaluation.guidance,
            )


def _captions(plan: Plan, pool: Pool, count: int) -> tuple[str, ...]:
    """The first different captions of held-out clips."""
    texts = (pool.index[clip].caption for clip in plan.held_out.clips if clip in pool.index)
    return tuple(dict.fromkeys(text for text in texts if text))[:count]


def _run(trials: list[Trial], pieces: Pieces, engine: Engine, wanted: Ablation, listener: Listener) -> dict[str, Status]:
    """Run what differs: trials of two arms that train on the same are one. Seed after seed, so that whatever is done can be paired."""
    different = {digest_of(trial.training): trial for trial in sorted(trials, key=lambda trial: len(trial.prompts))}
    order = sorted(different.values(), key=lambda trial: (trial.seed, trials.index(trial)))
    here = engine is run_here
    stage = RunTrials(pieces, listener if here else None, float(wanted.threads), gpus=0.0 if here or wanted.device == "cpu" else _gpus())
    return statuses(engine(as_rows(order), [stage], listener), different)


def _gpus() -> float:
    """A whole GPU for each trial where there is any."""
    import torch

    return 1.0 if torch.cuda.is_available() else 0.0


def _findings(plan: Plan, trials: list[Trial], table: pa.Table, pieces: Pieces, lineage: dict[str, str], reproduce: str, began: float) -> Findings:
    outcomes = outcomes_of(trials, pieces)
    answers, unasked = judge(outcomes, plan.asked, plan.held_out.views, plan.experiment)
    return Findings(
        plan=plan,
        outcomes=outcomes,
        curves=curves_of(trials, pieces),
        trials=table,
        answers=tuple(answers),
        unasked=tuple(unasked),
        samples=tuple(samples_of(trials, pieces)),
        coverage=simulated_coverage(outcomes, answers, plan.held_out.views, plan.experiment),
        lineage=lineage,
        versions=versions(),
        seconds=round(time.monotonic() - began, 1),
        reproduce=reproduce,
    )


def recipe_digests(plan: Plan) -> dict[str, str]:
    """A digest of each compared arm's recipe, as it was understood."""
    return {f"recipe of {arm.name}": recipe_digest(arm.entrant.recipe) for arm in plan.arms if not arm.entrant.control}


def _again(experiment: str | Path, out: Path, corpus: str | None, sweep: str | None) -> str:
    """The command that repeats this, in words a shell takes."""
    words = ["clipmill", "ablate", str(experiment), "--out", out.name]
    words += ["--corpus", Path(corpus).name if "://" not in corpus else corpus] if corpus else []
    words += ["--sweep", sweep] if sweep else []
    return shlex.join(words)


def _pace(pieces: Pieces) -> float | None:
    """Seconds per megapixel shown, as earlier trials here took; None before the first."""
    done = [piece.facts for piece in pieces.all("training")]
    shown = sum(facts["megapixels"] for facts in done)
    return sum(facts["seconds"] for facts in done) / shown if shown else None
