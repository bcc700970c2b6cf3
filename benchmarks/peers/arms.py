"""Arms: the ways to get clips out of films that are set beside one another: ours, and the peers' as their packages install them."""

import contextlib
import json
import sys
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

RECIPE = 'name = "split"\n[duplicates]\nkeep = "all"\n[encoding]\ncrf = 23\nmode = "{mode}"\n'
SPLIT = """
import sys
from curate.corpus import open_corpus
from curate.engine import run_here
from curate.pack import pack
from curate.read import ReadVideos
from curate.select import select
from curate.sources import add_sources
from pipelines.curate import failed_sources, pending_sources
from schemas.recipe import read_recipe
corpus, recipe = open_corpus(sys.argv[2], create=True), read_recipe(sys.argv[3])
add_sources(corpus, [sys.argv[1]])
list(run_here(pending_sources(corpus), [ReadVideos(corpus.url)]))
select(corpus, recipe)
pack(corpus, recipe)
for row in failed_sources(corpus).to_pylist():
    print(row["uri"], row["reason"])
"""
SETTINGS = """
subsampling:
  CutDetectionSubsampler:
    cuts_are_clips: True
    args: {{cut_detection_mode: "all", framerates: null, threshold: 27, min_scene_len: 15}}
  ClippingSubsampler:
    args: {{min_length: 0.6, max_length: 60.0, max_length_strategy: "all", precision: "{precision}"}}
reading:
  yt_args: {{download_size: 360, download_audio_rate: 44100, yt_metadata_args: null}}
  timeout: 60
  sampler: null
storage: {{number_sample_per_shard: 4, oom_shard_count: 5, captions_are_subtitles: False}}
distribution: {{processes_count: 1, thread_count: 2, subjob_size: 1000, distributor: "multiprocessing"}}
"""
STRIDES = """
import sys
from nemo_curator.backends.ray_actor_pool import RayActorPoolExecutor
from nemo_curator.pipeline import Pipeline
from nemo_curator.stages.video.clipping.clip_extraction_stages import ClipTranscodingStage, FixedStrideExtractorStage
from nemo_curator.stages.video.io.clip_writer import ClipWriterStage
from nemo_curator.stages.video.io.video_reader import VideoReader
films, out = sys.argv[1:]
kept_out = dict(generate_embeddings=False, generate_previews=False, generate_captions=False, caption_models=[], enhanced_caption_models=[])
line = Pipeline(name="splitting")
line.add_stage(VideoReader(input_video_path=films))
line.add_stage(FixedStrideExtractorStage(clip_len_s=5.0, clip_stride_s=5.0, min_clip_length_s=0.6, limit_clips=0))
line.add_stage(ClipTranscodingStage(encoder="libopenh264", num_cpus_per_worker=0.5))
line.add_stage(ClipWriterStage(output_path=out, input_path=films, upload_clips=True, dry_run=False, **kept_out))
line.run(RayActorPoolExecutor())
"""
SCENES = """
project_name: peers
executor_type: default
dataset_path: {out}/in.jsonl
export_path: {out}/out.jsonl
np: 2
process:
  - video_split_by_scene_mapper: {{detector: ContentDetector, threshold: 27.0, min_scene_len: 15, save_dir: {out}/clips}}
  - video_duration_filter: {{min_duration: 0.6, max_duration: 60, any_or_all: any}}
"""


@dataclass(frozen=True)
class Arm:
    """One way to get clips out of films: a name, the commands for a folder of films and one to write to, and how many clips lie there afterwards."""

    name: str
    commands: Callable[[Path, Path], Sequence[Sequence[str]]]
    count: Callable[[Path], int]


def in_tars(folder: Path) -> int:
    """MP4 files in all tars below a folder."""
    found = 0
    for path in folder.rglob("*.tar"):
        with contextlib.suppress(tarfile.TarError), tarfile.open(path) as tar:
            found += sum(name.endswith(".mp4") for name in tar.getnames())
    return found


def ours(mode: str) -> Arm:
    """Shots found and cut, as the peers do it."""

    def commands(films: Path, out: Path) -> list[list[str]]:
        recipe = out / "split.toml"
        recipe.write_text(RECIPE.format(mode=mode))
        return [[sys.executable, "-c", SPLIT, str(films), str(out / "corpus"), str(recipe)]]

    return Arm(f"clipmill: shots, measures of motion and borders, {mode}", commands, in_tars)


def curate() -> Arm:
    """The whole chain, with models and captions."""

    def commands(films: Path, out: Path) -> list[list[str]]:
        recipe = out / "split.toml"
        recipe.write_text(RECIPE.format(mode="encode"))
        return [[sys.executable, "-m", "pipelines.cli", "curate", str(films), "--corpus", str(out / "corpus"), "--recipe", str(recipe), "--on", "here"]]

    return Arm("clipmill curate: all scores and captions too", commands, in_tars)


def scenedetect() -> Arm:
    """PySceneDetect's own command, a run for each film."""
    program = str(Path(sys.executable).with_name("scenedetect"))

    def commands(films: Path, out: Path) -> list[list[str]]:
        return [[program, "-q", "-i", str(film), "-o", str(out), "detect-content", "split-video", "-q"] for film in sorted(films.glob("*.mp4"))]

    return Arm("PySceneDetect: detect-content split-video", commands, lambda out: len(list(out.glob("*.mp4"))))


def video2dataset(environment: Path, precision: str) -> Arm:
    """video2dataset with cut detection and clipping, on local files."""

    def commands(films: Path, out: Path) -> list[list[str]]:
        (out / "in.csv").write_text("url,caption\n" + "".join(f"{film},a video\n" for film in sorted(films.glob("*.mp4"))))
        (out / "settings.yaml").write_text(SETTINGS.format(precision=precision))
        asked = {"url_list": out / "in.csv", "url_col": "url", "caption_col": "caption", "output_folder": out / "ds", "output_format": "webdataset"}
        return [[str(environment / "bin" / "video2dataset"), *(f"--{name}={value}" for name, value in asked.items()), f"--config={out / 'settings.yaml'}"]]

    return Arm(f"video2dataset: cuts, clips, {precision} precision", commands, in_tars)


def nemo_curator(environment: Path) -> Arm:
    """NeMo Curator: clips at fixed strides (its shot detection wants a GPU), by the one executor that runs on two cores."""

    def commands(films: Path, out: Path) -> list[list[str]]:
        return [[str(environment / "bin" / "python"), "-c", STRIDES, str(films), str(out)]]

    return Arm("NeMo Curator: fixed strides of 5 s, openh264", commands, lambda out: len(list(out.glob("clips/*.mp4"))))


def data_juicer(environment: Path) -> Arm:
    """Data-Juicer: scenes split and filtered by length."""

    def commands(films: Path, out: Path) -> list[list[str]]:
        rows = ({"text": "<__dj__video> a video <|__dj__eoc|>", "videos": [str(film)]} for film in sorted(films.glob("*.mp4")))
        (out / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        (out / "scenes.yaml").write_text(SCENES.format(out=out))
        return [[str(environment / "bin" / "dj-process"), "--config", str(out / "scenes.yaml")]]

    return Arm("Data-Juicer: scenes split, filtered by length", commands, lambda out: len(list(out.glob("clips/*.mp4"))))
