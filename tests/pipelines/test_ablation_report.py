"""The report shows the verdict, its evidence and its doubts on one page that loads nothing, whatever hostile text it must show."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.ablation import figures
from pipelines.ablation.findings import CURVES, TRIALS, Findings, Sampled, markdown, trust, write_tables
from pipelines.ablation.held_out import Holdings
from pipelines.ablation.outcomes import OUTCOMES
from pipelines.ablation.planning import make_plan
from pipelines.ablation.report import write_report
from pipelines.ablation.verdict import judge
from schemas.clip import CLIPS, GAPS, clip_id
from schemas.experiment import Ablation
from schemas.source import SOURCES
from schemas.table import table_of

TASK = "text_to_video"
SOURCE = "s" + "0" * 20
HOSTILE = '<script>alert("x")</script>'
LEVELS = (60.0, 250.0, 500.0, 750.0, 940.0)


def experiment(folder: Path, **changes: Any) -> Ablation:
    (folder / "all.toml").write_text('name = "all"\n')
    (folder / "moving.toml").write_text('name = "moving"\n[keep]\nmotion = { min = 0.3 }\n')
    arms = [{"name": "all", "recipe": str(folder / "all.toml")}, {"name": "moving", "recipe": str(folder / "moving.toml")}]
    told = {"name": "motion", "description": "Is movement worth its hours?", "corpus": "c", "seeds": [0, 1, 2, 3, 4], "arms": arms}
    told |= {"phases": [{"task": TASK, "steps": 200}], "questions": [{"arm": "moving", "against": "all"}]}
    return Ablation.model_validate({**told, "controls": {"shares": [0.25, 0.5]}, **changes})


def holdings() -> Holdings:
    rows = []
    for number in range(60):
        start = number * 24
        row = {"clip_id": clip_id(SOURCE, start, start + 24), "source_id": SOURCE, "start_frame": start, "end_frame": start + 24, "start_s": start / 24}
        rows.append({**row, "end_s": (start + 24) / 24, "num_frames": 24, "media_type": "video", "width": 64, "height": 64, "motion": (number % 10) / 10})
    sources = [{"source_id": SOURCE, "uri": f"films/{HOSTILE}.mp4", "duration_s": 60.0, "status": "ok", "license": "CC0-1.0", "rights_uses": ["train"]}]
    return Holdings(table_of(rows, CLIPS), table_of(sources, SOURCES), table_of([], GAPS), date(2026, 1, 1))


def simulate(plan: Any, effect: float, harm: bool) -> Any:
    """Outcomes as trials would give them: seeds, clips and levels vary, and some arms are better or worse."""
    rng = np.random.default_rng(0)
    common = {seed: rng.normal(0.4, 0.02) for seed in range(5)}
    rows = []
    for arm in plan.arms:
        contamination = arm.entrant.arm.contamination
        dose = contamination.share if contamination and harm else 0.0
        for seed in arm.entrant.seeds:
            base = common[seed] + (effect if arm.name == "moving" else 0) + rng.normal(0, 0.002) + 0.01 * dose
            for place, key in enumerate(plan.held_out.clips):
                for level in LEVELS:
                    loss = base + 0.2 * (1 - level / 1000) + place / 200 + rng.normal(0, 0.004)
                    marked = loss + (0.2 * dose if contamination and contamination.harm == "watermark" else 0)
                    wrong = loss + 0.1 - (0.15 * dose if contamination and contamination.harm == "wrong_captions" else 0)
                    known = {"arm": arm.name, "seed": seed, "task": TASK, "key": key, "level": level, "loss": loss}
                    rows.append({**known, "loss_wrong_caption": wrong, "loss_in_region": marked})
    return table_of(rows, OUTCOMES)


def findings(folder: Path, effect: float = -0.02, harm: bool = True, **changes: Any) -> Findings:
    plan = make_plan(experiment(folder, **changes), holdings())
    outcomes = simulate(plan, effect, harm)
    compared = [arm for arm in plan.arms if not arm.entrant.control]
    curve = [(step, 1.1 - 0.5 * (1 - np.exp(-step / 80))) for step in (0, 50, 100, 150, 200)]
    curves = [
        {"arm": arm.name, "seed": seed, "task": TASK, "step": step, "loss": loss + 0.01 * seed + (effect * step / 200 if arm.name == "moving" else 0)}
        for arm in compared
        for seed in plan.experiment.seeds
        for step, loss in curve
    ]
    told = {"status": "ok", "clips": 40, "hours": 0.01, "steps": 200, "seconds": 21.0, "fresh": True, "shards": "a" * 20, "training": "b" * 20}
    trials = [{"arm": arm.name, "seed": seed, "control": arm.entrant.control, **told} for arm in plan.arms for seed in arm.entrant.seeds]
    trials[-1] = {**trials[-1], "status": "failed", "reason": "out of memory"}
    video = folder / "video.mp4"
    video.write_bytes(b"not looked at here")
    samples = tuple(Sampled(arm.name, 0, HOSTILE, video) for arm in compared)
    answers, unasked = judge(outcomes, plan.asked, plan.held_out.views, plan.experiment)
    tables = (outcomes, table_of(curves, CURVES), table_of(trials, TRIALS))
    return Findings(
        plan,
        *tables,
        tuple(answers),
        tuple(unasked),
        samples,
        {"paired-t": 0.951},
        {"corpus": "c"},
        {"clipmill": "0.1.0"},
        412.0,
        "clipmill ablate motion.toml",
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    return write_report(findings(folder), folder).read_text(encoding="utf-8")


def test_the_verdict_comes_first_and_the_evidence_after(page: str):
    verdict = page.index("<b>moving</b> trains a better model than <b>all</b> at 200 steps each")
    places = [page.index(f"<h2>{title}") for title in ("The differences", "Can it be believed", "The arms", "Samples", "Learning", "By noise level")]
    assert verdict < places[0] and places == sorted(places)
    assert page.count("<svg") == 1 + 2 + 1 + 1 + 1, "differences, two harms, quality and quantity, learning, noise levels"


def test_the_page_loads_nothing_and_shows_hostile_text_as_text(page: str):
    assert HOSTILE not in page and "&lt;script&gt;" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "default-src 'none'" in page


def test_every_table_and_figure_scrolls_by_itself_on_a_narrow_screen(page: str):
    assert page.count("<table") == page.count('<div class="scroll"><table') > 8
    assert page.count("<svg") == page.count('<div class="drawing"><svg')


def test_numbers_in_tables_carry_no_equals_sign(page: str):
    assert '<td class="number">= 0.' not in page and '<td class="number">0.941</td>' in page


def test_losses_at_each_noise_level_are_drawn_for_every_arm_beside_their_difference(page: str):
    levels = page[page.index("<h2>By noise level") : page.index("<h2>Filtered and unfiltered")]
    assert ">all</text>" in levels and ">moving</text>" in levels and ">moving − all</text>" in levels


def test_arms_of_a_large_sweep_are_told_apart_by_more_than_eight_colours():
    looks = [figures.look(place) for place in range(20)]
    assert len({(one["color"], str(one["linestyle"])) for one in looks}) == 20


def test_controls_and_failures_are_told(page: str):
    assert "50 % of the clips with watermark" in page and "two halves of the same clips" in page
    assert "failed: out of memory" in page


def test_the_filtered_views_stand_beside_the_unfiltered(page: str):
    assert re.search(r"everything held out.*what the arm keeps.*12 clips", page, flags=re.DOTALL)


def test_tables_and_summary_lie_beside_the_page(tmp_path: Path):
    found = findings(tmp_path)
    write_tables(found, tmp_path)
    told = json.loads((tmp_path / "findings.json").read_text())
    assert told["verdicts"] == found.verdicts and told["answers"][0]["outcome"] == "better"
    assert pq.read_table(tmp_path / "outcomes.parquet").num_rows == found.outcomes.num_rows
    assert "| moving | all | held-out loss | −0.0" in markdown(found)


def test_the_same_findings_make_the_same_page(page: str, tmp_path: Path):
    assert write_report(findings(tmp_path), tmp_path).read_text(encoding="utf-8") == page


def test_trust_says_which_harm_was_missed(tmp_path: Path):
    controls = findings(tmp_path).controls
    assert trust(controls).endswith("(3 of 3): harm by watermark and wrong captions is found, and two halves of the same clips are not called different.")
    assert "two halves" not in trust([control for control in controls if control.asked.harm]), "what was not asked is not told"
    missed = trust(findings(tmp_path, harm=False).controls)
    assert "1 of 3" in missed and "harm by watermark and wrong captions was not found" in missed


def test_a_sweep_opens_with_one_sentence_and_lists_its_answers_below(tmp_path: Path):
    (tmp_path / "two.toml").write_text('name = "two"\n[keep]\nmotion = { min = 0.2 }\nnum_frames = { min = 8 }\n')
    found = findings(tmp_path, arms=[], questions=[], sweep={"recipe": str(tmp_path / "two.toml"), "ladders": {"motion": [0.1, 0.3, 0.5]}})
    page = write_report(found, tmp_path).read_text(encoding="utf-8")
    assert page.count('<div class="verdict') == 1 and "Of 8 questions asked at 200 steps each" in page
    assert found.verdicts[0].startswith("Of 8 questions") and len(found.verdicts) == 1 + 8 + 1
    assert page.count("Between steps 0 and 200 training") == 2, "one line for each arm that others are compared with"


def test_an_arm_says_what_it_does_differently_and_the_minutes_it_trains_on(tmp_path: Path):
    whole = {"name": "all", "recipe": str(tmp_path / "all.toml")}
    quarter = {**whole, "name": "quarter", "share": 0.25, "image_share": 0.2, "overrides": {"learning_rate": 1e-3}}
    found = findings(tmp_path, arms=[whole, quarter], questions=[{"arm": "quarter", "against": "all"}])
    row = re.search(r"<tr><td><b>quarter</b>.*?</tr>", write_report(found, tmp_path).read_text(encoding="utf-8"), flags=re.DOTALL)
    assert row is not None
    assert "25 % of its clips, drawn anew for each seed; 20 % stills; learning_rate 0.001" in row.group()
    assert '<td class="number">48</td><td class="number">12</td><td class="number">0.2</td>' in row.group()


def test_a_single_seed_makes_a_page_too(tmp_path: Path):
    page = write_report(findings(tmp_path, seeds=[0]), tmp_path).read_text(encoding="utf-8")
    assert "with one seed" in page and "nan" not in page.lower().split("<h2>lineage")[0].replace("finance", "")
