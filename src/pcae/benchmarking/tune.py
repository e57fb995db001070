"""Which reduction costs a classifier least at a speed, on this machine."""

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from pcae.benchmarking.bench import Bench
from pcae.benchmarking.candidates import WHOLE, Candidate, rules_for
from pcae.benchmarking.tuned import Tuned, write
from pcae.data.batches import whole_loader
from pcae.data.images import Images
from pcae.data.tables.labelled import for_classifier
from pcae.evaluation.features import readable
from pcae.inference.trained import at_most, open_shown, open_trained, say_left_out
from pcae.model.pretrained import Pretrained
from pcae.settings.trained import Rule
from pcae.settings.verbs.tune import TuneConfig
from pcae.terminal import bar, console
from pcae.weights.export.deployed import NOT_EXPORTED
from pcae.writing import check_writable

FINALISTS = 4
"""Candidates that see all images."""
FIRST = 2
"""Rounds in which a candidate is measured that may never be a finalist."""
NEAR = 0.03
"""How far from the speed that was asked for a finalist may be and not be tried again; if none comes so near, twice."""
ABOUT = 0.09
"""How far from it a candidate may be whose answers are looked at."""
TRIES = 3
"""Times that drop ratios are corrected by what was measured."""
STEPS = tuple(range(6, 91, 6))
"""Drop ratios, in hundredths, that are tried where the loss is said."""
ROUNDING = 1e-9
"""By how much a difference of two shares may be off."""
Speeds = dict[Candidate, float]
"""How many times as fast as the whole model candidates were measured to be."""


def tune(config: TuneConfig) -> Tuned:
    """Search, write and draw. Raises ValueError for what cannot be, and for what no candidate reaches: it says how far
    they come."""
    check(config)
    model = open_trained(config.model)
    check_model(model, config)
    pixels, labels = images_of(config, model)
    with TemporaryDirectory(prefix="pcae.") as folder:
        found = searched(Bench(model, config, pixels, labels, Path(folder)), labelled=labels is not None)
    write(found)
    return found


def searched(bench: Bench, *, labelled: bool) -> Tuned:
    """The reduction, and all that was tried. Raises ValueError for what no candidate reaches."""
    config, measured = bench.config, Speeds()
    rules = [rule for rule in rules_for(bench.model, config.criteria) if bench.most(rule)]
    if not rules:
        tokens = prod(bench.model.encoder.grid)
        raise ValueError(f"no rule can drop any of the {tokens} patch tokens of an image; use the whole model")
    if config.at_most_lost is None:
        finalists = at_speed(bench, rules, speed_of(bench), measured)
        winner = max(finalists, key=lambda one: (bench.score(one), measured[one]))
    else:
        finalists = within(bench, rules, config.at_most_lost, measured)
        winner = max(finalists, key=lambda one: (measured[one], bench.score(one)))
    return described(bench, measured, winner, labelled=labelled)


def check(config: TuneConfig) -> None:
    """Raise ValueError for settings that do not go together."""
    goals = [name for name in ("faster", "ms", "at_most_lost") if getattr(config, name) is not None]
    if len(goals) != 1:
        said = " and ".join(f"--{goal.replace('_', '-')}" for goal in goals) or "none"
        raise ValueError(f"give one of --faster, --ms and --at-most-lost, got {said}")
    if config.runtime == "onnxruntime" and config.precision != "fp32":
        raise ValueError(f"precision {config.precision} is PyTorch's; with --runtime onnxruntime leave it out")
    no_graph = [name for name in config.criteria or () if name in NOT_EXPORTED]
    if config.runtime == "onnxruntime" and no_graph:
        raise ValueError(f"criterion {no_graph[0]} is in no ONNX file; leave it out, or use --runtime torch")
    check_writable(config.out, ".yaml", ".yml")
    check_writable(config.out.with_suffix(".png"))  # the picture


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
    labelled = config.labels and images.labels is not None
    if labelled:
        images = for_tuning(images, model, config)
    elif config.labels:
        console.print("these images have no labels: right is what the whole model answers")
    bad_files.images, facts = images, model.facts
    loader = whole_loader(images, facts.encoder.image_size, None, 64, config.shown.workers, facts.crop_pct)
    batches = list(readable(loader, bad_files, bar("reading images")))
    say_left_out(bad_files)
    places = [index for batch in batches for index in batch.indices]
    return torch.cat([batch.pixels for batch in batches]), torch.as_tensor(images.labels)[places] if labelled else None


def for_tuning(images: Images, model: Pretrained, config: TuneConfig) -> Images:
    """The images with their labels by the places of the classifier's classes. Raises ValueError for others."""
    try:
        return for_classifier(images, model.facts.classes or [], config.data)
    except ValueError as error:
        raise ValueError(f"{error}; --no-labels counts answers that are the whole model's") from error


def speed_of(bench: Bench) -> float:
    """How many times as fast it shall be. Raises ValueError where the whole model is fast enough."""
    config = bench.config
    if config.ms is None:
        return config.faster or 1.0
    _, seconds = bench.speeds([], config.rounds)
    if 1000 * seconds <= config.ms:
        raise ValueError(
            f"the whole model takes {1000 * seconds:.3g} ms here, no more than {config.ms:g}: drop nothing"
        )
    return 1000 * seconds / config.ms


def at_speed(bench: Bench, rules: Sequence[Rule], faster: float, measured: Speeds) -> list[Candidate]:
    """Of the candidates of about that speed those that answer best, each near it; `measured` takes all speeds in.

    Multiply-accumulates say where to begin, and the first measurement of each how far they are to be believed.
    Raises ValueError, with the most that can be had, where none comes near.
    """
    console.print(f"{len(rules)} rules, each measured beside the whole model")
    left, able = [bench.at(rule, faster) for rule in rules], []
    for _ in range(TRIES):
        speeds, _ = bench.speeds(left, FIRST)
        measured |= speeds
        able += [one for one, speed in speeds.items() if abs(speed / faster - 1) <= ABOUT]
        left = again(bench, {one: speed for one, speed in speeds.items() if one not in able}, faster, measured)
        if not left:
            break
    if not able:
        raise ValueError(beyond(faster, measured.values()))
    return adjusted(bench, halved(bench, able), faster, measured)


def again(bench: Bench, speeds: Speeds, faster: float, measured: Speeds) -> list[Candidate]:
    """The same rules at the drop ratios that come to the speed, if multiply-accumulates are worth what they were there;
    without those that were measured already."""
    found = [bench.at(one.rule, faster * bench.allowed(one) / speed) for one, speed in speeds.items()]
    return [one for one in dict.fromkeys(found) if one not in measured]


def beyond(faster: float, measured: Iterable[float]) -> str:
    """What is said of a speed that cannot be had, by those that were measured."""
    most = max(speeds := [*measured])
    said = f"{faster:.3g} times as fast cannot be had here: "
    if most <= 1:
        return f"{said}nothing that was measured is faster than the whole model ({most:.3g} times); use that"
    if most < faster:
        return f"{said}{most:.3g} times was the most that was measured; ask for less"
    near = min((speed for speed in speeds if speed > 1), key=lambda speed: abs(speed - faster))
    return f"{said}{near:.3g} times was the nearest that was measured; ask for that"


def halved(bench: Bench, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The finalists: all answer for an eighth of the images, the better half of them for a quarter, and so on."""
    images, left = eighth(bench), list(candidates)
    while len(left) > FINALISTS:
        left.sort(key=lambda one: bench.score(one, min(images, len(bench.pixels))), reverse=True)
        left, images = left[: max(FINALISTS, len(left) // 2)], 2 * images
    return left


def eighth(bench: Bench) -> int:
    """How many images all candidates see."""
    return max(len(bench.pixels) // 8, 1)


def adjusted(bench: Bench, finalists: Sequence[Candidate], faster: float, measured: Speeds) -> list[Candidate]:
    """The finalists, at drop ratios corrected until they come near the speed. Raises ValueError where none does."""
    left = list(finalists)
    for _ in range(TRIES):
        speeds, _ = bench.speeds(left, bench.config.rounds)
        measured |= speeds
        far = {one: speed for one, speed in speeds.items() if abs(speed / faster - 1) > NEAR}
        left = again(bench, far, faster, measured)
        if not left:
            break
    mine = [one for one in measured if one.rule in {finalist.rule for finalist in finalists}]
    able = [one for one in mine if measured[one] >= faster * (1 - NEAR)]
    able = able or [one for one in mine if measured[one] >= faster * (1 - 2 * NEAR)]
    if not able:
        raise ValueError(beyond(faster, [measured[one] for one in mine]))
    able.sort(key=lambda one: abs(measured[one] / faster - 1), reverse=True)
    return list({one.rule: one for one in able}.values())


def within(bench: Bench, rules: Sequence[Rule], points: float, measured: Speeds) -> list[Candidate]:
    """Candidates that lose at most so many points, each at the most that it may drop; `measured` takes their speeds in.

    Raises ValueError where none is.
    """
    least = bench.score(WHOLE) - points / 100 - ROUNDING
    left = halved(bench, [bench.at(rule, 1.5) for rule in rules])
    good = [one for one in (last_within(bench, candidate.rule, least) for candidate in left) if one is not None]
    if not good:
        raise ValueError(
            f"at most {points:g} points lost cannot be had: every rule loses more where it drops {STEPS[0]} % at each "
            "stage; allow more"
        )
    measured |= bench.speeds(good, bench.config.rounds)[0]
    return good


def last_within(bench: Bench, rule: Rule, least: float) -> Candidate | None:
    """The rule at the highest drop ratio, from the lowest on, with a share of right answers that is enough."""
    found = None
    for step in (step for step in STEPS if step <= bench.most(rule)):
        one = Candidate(rule, step / 100)
        if bench.score(one) < least:
            break
        found = one
    return found


def described(bench: Bench, measured: Mapping[Candidate, float], winner: Candidate, *, labelled: bool) -> Tuned:
    """What was found, in plain values."""
    config = bench.config
    rows = {one: row_of(bench, one, measured[one]) for one in sorted(measured, key=measured.__getitem__)}
    _, seconds = bench.speeds([], config.rounds)
    return Tuned(
        out=config.out,
        weights=config.model.weights,
        data=str(config.data),
        counted="right answers" if labelled else "answers of the whole model",
        images=len(bench.pixels),
        batch_size=bench.batch,
        runtime={"torch": "PyTorch", "onnxruntime": "ONNX Runtime"}[config.runtime],
        device=str(bench.model.device),
        precision=config.precision,
        threads=torch.get_num_threads(),
        whole=bench.score(WHOLE),
        milliseconds=1000 * seconds,
        chosen=rows[winner],
        tried=list(rows.values()),
    )


def row_of(bench: Bench, one: Candidate, speed: float) -> dict[str, Any]:
    """What was measured of a candidate: its speed, and its share of the images that it has answered."""
    images = bench.seen(one) or eighth(bench)
    return {**one.said(), "times_as_fast": speed, "share": bench.score(one, images), "images": images}
