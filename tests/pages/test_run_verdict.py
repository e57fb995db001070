"""The verdict on a run: right on runs whose numbers are known, in words, with a command that can be run."""

import json
import shlex
from pathlib import Path

import pytest
import yaml

from pcae.pages.run_data import read_run
from pcae.pages.run_verdict import verdict_of
from pcae.settings.values import build, to_yaml
from pcae.settings.verbs.finetune import FinetuneConfig
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.settings.words import parse

NAN = float("nan")
STARTED = {"student_std": 0.4, "student_rank": 12.0, "target_std": 0.5, "position_share": 0.3, "score_std": 0.1}
ENDED = {"student_std": 0.5, "student_rank": 20.0, "target_std": 0.6, "position_share": 0.2, "score_std": 0.1}


def planted(
    folder: Path,
    steps: int = 2000,
    images: int = 9000,
    knn: tuple[float, float] | None = None,
    loss: float = 0.3,
    **last: float,
) -> Path:
    """The folder of a finished pre-training run with these numbers; `last` are those of its last look."""
    folder.mkdir()
    config = build(PretrainConfig, {"data": "sample", "out": folder, "steps": steps, "base_lr": 4e-3})
    (folder / "config.yaml").write_text(to_yaml(config))
    rows = [{"step": 0, **{f"health/{name}": value for name, value in STARTED.items()}}]
    rows += [{"step": step, "loss": 1 - (1 - loss) * step / steps, "skipped": 0} for step in (1, steps // 2)]
    rows += [{"step": steps, "loss": loss, "skipped": last.pop("skipped", 0)}]
    rows += [{"step": steps, **{f"health/{name}": value for name, value in (ENDED | last).items()}}]
    if knn:
        rows += [{"step": 0, "probe/knn": knn[0], "probe/knn_pixels": 0.6}, {"step": steps, "probe/knn": knn[1]}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "summary.json").write_text(json.dumps({"steps": steps, "images": images}))
    return folder


@pytest.mark.parametrize(
    ("name", "tone", "words", "command", "numbers"),
    [
        ("healthy", "good", "sort 72.0% of the held-out images right, by random weights 50.0%, raw pixels 60.0%",
         "pcae finetune", {"knn": (0.5, 0.72)}),
        ("healthy", "good", "only labels can say. Images differ in 20 directions of at most 128, at the start in 12",
         "pcae probe", {}),
        ("collapsed", "bad", "unlearned to tell images apart: the features have collapsed", "--base-lr 0.001",
         {"student_std": 0.01, "student_rank": 1.1, "target_std": 0.02}),
        ("too short", "unsure", "Too short to tell: 200 steps", "--steps 1000", {"steps": 200}),
        ("diverged", "bad", "It has diverged: the loss is not finite any more", "--base-lr 0.001", {"loss": NAN}),
        ("diverged", "bad", "It has diverged: 900 of 2000 steps were skipped", "--base-lr 0.001", {"skipped": 900}),
        ("too few images", "unsure", "40 images are too few to learn from alone", "pcae worth", {"images": 40}),
        ("position only", "bad", "It learns places, not content: position alone decides 98%", "--patch-scale 3",
         {"position_share": 0.98}),
        ("no gain", "unsure", "It has not learned what these labels ask for", "pcae worth", {"knn": (0.5, 0.49)}),
    ],
)  # fmt: skip
def test_a_planted_run_is_judged_rightly(tmp_path, name, tone, words, command, numbers):
    verdict = verdict_of(read_run(planted(tmp_path / "run", **numbers)))
    assert (verdict.name, verdict.tone) == (name, tone) and words in verdict.says
    assert verdict.command is not None and command in verdict.command


def test_what_is_wrong_is_said_before_what_is_short_or_well(tmp_path):
    """Ten images, ten steps and a collapse, though neighbours got better: it is the collapse that matters."""
    run = planted(tmp_path / "run", steps=10, images=10, knn=(0.5, 0.9), student_std=0.001)
    assert verdict_of(read_run(run)).name == "collapsed"


def test_labels_that_say_it_got_better_outweigh_few_steps_and_images(tmp_path):
    assert verdict_of(read_run(planted(tmp_path / "run", steps=100, images=50, knn=(0.4, 0.6)))).name == "healthy"


def test_a_run_under_way_is_told_how_it_goes_on(tmp_path):
    run = planted(tmp_path / "run")
    (run / "summary.json").unlink()
    verdict = verdict_of(read_run(run))
    assert verdict.name == "under way" and "step 2,000 of 2,000, and nothing looks wrong" in verdict.says


@pytest.mark.parametrize("numbers", [{"steps": 200}, {"student_std": 0.01}, {"position_share": 0.98}, {"skipped": 900}])
def test_the_command_is_one_that_pcae_takes(tmp_path, numbers):
    """It keeps all settings of the run but what it changes, and writes elsewhere."""
    run = planted(tmp_path / "a run", **numbers)
    words = shlex.split(verdict_of(read_run(run)).command)
    assert words[:2] == ["pcae", "pretrain"]
    config = parse(PretrainConfig, words[2:], "pcae pretrain")
    assert config.out != run and not config.out.exists() and config.data == "sample"
    before, after = (yaml.safe_load(text) for text in ((run / "config.yaml").read_text(), to_yaml(config)))
    changed = {name for name in after if after[name] != before[name]}
    assert changed - {"out", "config"} in ({"steps"}, {"base_lr"}, {"patch_scale"})


@pytest.mark.parametrize(
    ("top1", "interval", "name"), [(0.8, [0.75, 0.85], "healthy"), (0.55, [0.48, 0.62], "no better")]
)
def test_a_classifier_is_held_against_the_most_frequent_class(tmp_path, top1, interval, name):
    folder = tmp_path / "run"
    folder.mkdir()
    config = build(FinetuneConfig, {"data": "photos", "out": folder, "weights": "runs/w"})
    (folder / "config.yaml").write_text(to_yaml(config))
    (folder / "metrics.jsonl").write_text('{"step": 9, "loss": 0.5}\n')
    by_class = {"cat": {"images": 60, "recall": 0.5}, "dog": {"images": 40, "recall": 0.5}}
    summary = {"steps": 9, "top1": top1, "intervals": {"top1": interval}, "by_class": by_class}
    (folder / "summary.json").write_text(json.dumps(summary))
    verdict = verdict_of(read_run(folder))
    assert verdict.name == name and "always naming the most frequent class would be right for 60.0%" in verdict.says
    assert verdict.command == f"pcae evaluate photos --weights {folder} --mistakes mistakes.html"
