"""Which reduction costs a classifier least at a speed, on this machine: what was tried, and a file for other verbs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from pcae.benchmarking.candidates import WHOLE, Bench, Candidate, rules_for
from pcae.data.batches import whole_loader
from pcae.data.tables.labelled import for_classifier
from pcae.evaluation.features import readable
from pcae.inference.trained import at_most, open_shown, open_trained, say_left_out
from pcae.model.pretrained import Pretrained
from pcae.pictures.front import draw_front
from pcae.results import Block, Result, Table
from pcae.settings.trained import Rule
from pcae.settings.verbs.tune import TuneConfig
from pcae.terminal import bar, console
from pcae.writing import check_writable, in_one_move

FINALISTS = 4
"""Candidates that see all images."""
NEAR = 0.03
"""How far from the speed that was asked for a finalist may be."""
TRIES = 3
"""Times that a finalist's drop ratio is corrected."""


@dataclass(frozen=True, repr=False)
class Tuned(Result):
    """The reduction that was found, and all that was tried.

    counted: what shares are of, in words. whole: the whole model's share. milliseconds: of the whole model for a batch.
    tried: a row for each candidate that was measured, the fastest last.
    """

    out: Path
    weights: str
    counted: str
    images: int
    batch_size: int
    runtime: str
    device: str
    precision: str
    threads: int
    whole: float
    milliseconds: float
    chosen: dict[str, Any]
    tried: list[dict[str, Any]]

    def blocks(self) -> list[Block]:
        """What was tried, and where the file is."""
        lines = [
            [in_words(row), f"{row['drop_ratio']:g}", f"{row['times_as_fast']:.2f}", f"{100 * row['share']:.1f}"]
            for row in self.tried
        ]
        title = (
            f"{self.weights} by {self.runtime} on {self.device}, batches of {self.batch_size}, {self.precision}; the "
            f"whole model: {self.milliseconds:.3g} ms, {100 * self.whole:.1f} % {self.counted} of {self.images} images"
        )
        chosen = self.chosen
        found = f"{in_words(chosen)}, drop ratio {chosen['drop_ratio']:g}"
        speed = f"{chosen['times_as_fast']:.2f} times as fast, {100 * (self.whole - chosen['share']):.1f} points lost"
        return [
            Table(title, ["rule", "drop ratio", "times as fast", f"% {self.counted}"], lines),
            f"{self.out}: {found}: {speed}",
        ]

    def records(self) -> list[dict[str, Any]]:
        """A row for each candidate."""
        return self.tried


def in_words(row: dict[str, Any]) -> str:
    """A rule."""
    after = "usual places" if row["after"] is None else f"after {', '.join(map(str, row['after']))}"
    return f"{row['criterion']}, {row['fold']}, {after}{', before MLP' if row['before_mlp'] else ''}"


def tune(config: TuneConfig) -> Tuned:
    """Search, write and draw. Raises ValueError for what cannot be, and for what no candidate reaches: it says how far
    they come."""
    check(config)
    model = open_trained(config.model)
    check_model(model, config)
    pixels, labels = images_of(config, model)
    bench = Bench(model, config, pixels, labels)
    rules = rules_for(model, config.criteria)
    if config.at_most_lost is None:
        finalists = at_speed(bench, rules, speed_of(bench, config))
        winner = max(finalists, key=lambda one: (bench.score(one), finalists[one]))
    else:
        finalists = within(bench, rules, config.at_most_lost)
        winner = max(finalists, key=lambda one: (finalists[one], bench.score(one)))
    found = described(bench, config, finalists, winner, labelled=labels is not None)
    write(config, found)
    return found


def check(config: TuneConfig) -> None:
    """Raise ValueError for settings that do not go together."""
    goals = [name for name in ("faster", "ms", "at_most_lost") if getattr(config, name) is not None]
    if len(goals) != 1:
        said = " and ".join(f"--{goal.replace('_', '-')}" for goal in goals) or "none"
        raise ValueError(f"give one of --faster, --ms and --at-most-lost, got {said}")
    if config.runtime == "onnxruntime" and config.precision != "fp32":
        raise ValueError(f"precision {config.precision} is PyTorch's; with --runtime onnxruntime leave it out")
    check_writable(config.out, ".yaml", ".yml")


def check_model(model: Pretrained, config: TuneConfig) -> None:
    """Raise ValueError for weights that choose no class, and for a device that the runtime does not use."""
    if model.facts.classes is None:
        raise ValueError("these weights are an encoder without a classifier; fine-tune it first: pcae finetune")
    if model.facts.multi_label:
        raise ValueError("tune is for classifiers that choose one class; these weights say of each whether it is there")
    if config.runtime == "onnxruntime" and model.device.type != "cpu":
        raise ValueError(f"--runtime onnxruntime measures on the CPU, not on {model.device}; use --device cpu")


def images_of(config: TuneConfig, model: Pretrained) -> tuple[Tensor, Tensor | None]:
    """Some images as uint8, and their labels by the places of the classifier's classes; without labels None."""
    bad_files = open_shown(config.data, config.shown, model, labels=config.labels)
    images = at_most(bad_files.images, config.most_images)
    if config.labels and images.labels is not None:
        images = for_classifier(images, model.facts.classes or [], config.data)
    elif config.labels:
        console.print("these images have no labels; answers are held against the whole model's")
    bad_files.images, facts = images, model.facts
    loader = whole_loader(images, facts.encoder.image_size, None, 64, config.shown.workers, facts.crop_pct)
    batches = list(readable(loader, bad_files, bar("reading images")))
    say_left_out(bad_files)
    places = [index for batch in batches for index in batch.indices]
    labels = torch.as_tensor(images.labels)[places] if config.labels and images.labels is not None else None
    return torch.cat([batch.pixels for batch in batches]), labels


def speed_of(bench: Bench, config: TuneConfig) -> float:
    """How many times as fast it shall be. Raises ValueError where the whole model is fast enough."""
    if config.faster is not None:
        return config.faster
    assert config.ms is not None
    _, seconds = bench.speeds([], config.rounds)
    if 1000 * seconds <= config.ms:
        raise ValueError(
            f"the whole model takes {1000 * seconds:.3g} ms here, no more than {config.ms:g}: drop nothing"
        )
    return 1000 * seconds / config.ms


def at_speed(bench: Bench, rules: Sequence[Rule], faster: float) -> dict[Candidate, float]:
    """The candidates that answer best at a speed, and how many times as fast each is, measured last."""
    first = list(dict.fromkeys(bench.at(rule, faster) for rule in rules))
    console.print(f"{len(first)} candidates, each measured beside the whole model")
    speeds, _ = bench.speeds(first, 2)
    seconds = [corrected(bench, one, speeds[one], faster) for one in first]
    able = [two for one, two in zip(first, seconds, strict=True) if two != one or speeds[one] >= faster * (1 - NEAR)]
    if not able:
        most = max(speeds.values())
        raise ValueError(f"{faster:.3g} times as fast cannot be had here: the most is {most:.3g} times; ask for less")
    return adjusted(bench, halved(bench, able), faster)


def corrected(bench: Bench, one: Candidate, measured: float, faster: float) -> Candidate:
    """The same rule at the drop ratio that comes to the speed, if arithmetic goes on to be worth what it was."""
    return bench.at(one.rule, faster * bench.allowed(one) / measured)


def halved(bench: Bench, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The finalists: all answer for an eighth of the images, the better half of them for a quarter, and so on."""
    images = len(bench.pixels) // 8
    left = list(dict.fromkeys(candidates))
    while len(left) > FINALISTS:
        many = min(max(images, 1), len(bench.pixels))
        left.sort(key=lambda one: bench.score(one, many), reverse=True)
        left, images = left[: max(FINALISTS, len(left) // 2)], 2 * images
    return left


def adjusted(bench: Bench, finalists: Iterable[Candidate], faster: float) -> dict[Candidate, float]:
    """The finalists, at drop ratios corrected until they come near the speed, and their speeds. Those that stay below
    it are left out; raises ValueError where that is all of them."""
    left, measured = list(finalists), {}
    for _ in range(TRIES):
        speeds, _ = bench.speeds(left, bench.config.rounds)
        measured |= speeds
        left = [corrected(bench, one, speed, faster) for one, speed in speeds.items() if abs(speed / faster - 1) > NEAR]
        left = [one for one in left if one not in measured]
        if not left:
            break
    able = {one: speed for one, speed in measured.items() if speed >= faster * (1 - NEAR)}
    if not able:
        raise ValueError(f"{faster:.3g} times as fast was not reached: {max(measured.values()):.3g} was the most")
    nearest = {one.rule: one for one in sorted(able, key=able.__getitem__, reverse=True)}
    return {one: able[one] for one in nearest.values()}


def within(bench: Bench, rules: Sequence[Rule], points: float) -> dict[Candidate, float]:
    """Candidates that lose at most so many points, at the most that each may drop, and their speeds."""
    whole = bench.score(WHOLE)
    good = []
    for one in halved(bench, [bench.at(rule, 1.5) for rule in rules]):
        steps = range(1, bench.most(one.rule) + 1)
        fine = [step for step in (6, 12, 18, 24, 30, 36, 42, 48, 54, 60) if step in steps]
        good += last_within(bench, one.rule, fine, whole - points / 100)
    if not good:
        raise ValueError(f"at most {points:g} points lost cannot be had: dropping 6 % at each stage loses more")
    return bench.speeds(good, bench.config.rounds)[0]


def last_within(bench: Bench, rule: Rule, steps: Sequence[int], least: float) -> list[Candidate]:
    """The rule at the highest of the drop ratios, from the lowest on, with a share of right answers that is enough."""
    found: list[Candidate] = []
    for step in steps:
        one = Candidate(rule, step / 100)
        if bench.score(one) < least:
            break
        found = [one]
    return found


def described(
    bench: Bench, config: TuneConfig, speeds: dict[Candidate, float], winner: Candidate, *, labelled: bool
) -> Tuned:
    """What was found, in plain values."""
    rows = [
        {**vars(one.rule), "drop_ratio": one.drop_ratio, "times_as_fast": speed, "share": bench.score(one)}
        for one, speed in sorted(speeds.items(), key=lambda pair: pair[1])
    ]
    _, seconds = bench.speeds([], config.rounds)
    return Tuned(
        out=config.out,
        weights=config.model.weights,
        counted="right answers" if labelled else "answers of the whole model",
        images=len(bench.pixels),
        batch_size=bench.batch,
        runtime={"torch": "PyTorch", "onnxruntime": "ONNX Runtime"}[config.runtime],
        device=str(bench.model.device),
        precision=config.precision,
        threads=torch.get_num_threads(),
        whole=bench.score(WHOLE),
        milliseconds=1000 * seconds,
        chosen=next(row for row in rows if all(row[name] == value for name, value in said_of(winner).items())),
        tried=rows,
    )


def said_of(one: Candidate) -> dict[str, Any]:
    """What a file of a reduction says of a candidate."""
    return {**vars(one.rule), "drop_ratio": one.drop_ratio}


def write(config: TuneConfig, found: Tuned) -> None:
    """The file, with what was measured in words, and the picture beside it."""
    names = ("drop_ratio", "criterion", "fold", "after", "before_mlp")
    said = {name: found.chosen[name] for name in names if found.chosen[name] is not None}
    said |= {"after": list(said["after"])} if "after" in said else {}
    words = "".join(
        f"# {line}\n" for block in found.blocks() for line in str(block).splitlines() if isinstance(block, str)
    )
    with in_one_move(config.out) as beside:
        beside.write_text(words + yaml.safe_dump(said, sort_keys=False), encoding="utf-8")
    kinds = dict.fromkeys(f"{row['criterion']}, {row['fold']}" for row in found.tried)
    points = {
        kind: [
            (row["times_as_fast"], row["share"]) for row in found.tried if f"{row['criterion']}, {row['fold']}" == kind
        ]
        for kind in kinds
    }
    chosen = (found.chosen["times_as_fast"], found.chosen["share"])
    draw_front(config.out.with_suffix(".png"), {"whole": [(1.0, found.whole)]} | points, chosen, found.counted)
