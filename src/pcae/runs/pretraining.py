"""Pre-training to the end, on images without labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pcae.data.batches import check_data_config
from pcae.data.crops import RandomCrops
from pcae.data.images import Images, open_images
from pcae.data.shards.lane_batches import lanes_of
from pcae.data.shards.stream import is_stream
from pcae.data.transforms import say_replaced, transform_of, try_out
from pcae.evaluation.recipe_choice import RecipeChoice, recipe_for, say_recipe, typical_side
from pcae.evaluation.stepper import Stepper
from pcae.methods.choice import Pretraining, spelled_out
from pcae.methods.pcae import PCAE
from pcae.model.pretrained import PretrainedFacts
from pcae.pages.run_page import report_on
from pcae.results import RunSummary
from pcae.runs.dry_run import forecast
from pcae.runs.health import Health, PretrainingRun, health_every, open_health
from pcae.runs.initial_weights import InitialWeights, decoder_of, initial_method, load_initial
from pcae.runs.online_probe import OnlineProbe, open_online
from pcae.runs.roll_back import with_roll_backs
from pcae.runs.run import TrainingRun
from pcae.runs.task import Task
from pcae.settings.bounds import check_bounds
from pcae.settings.recipes import configure, recipe_names
from pcae.settings.sources import each
from pcae.settings.verbs.pretrain import PretrainConfig
from pcae.tasks.classification import layer_groups
from pcae.terminal import console
from pcae.training.callbacks import Callback
from pcae.training.distributed import World, open_world, pick_device
from pcae.training.logging import Journal
from pcae.training.loop import Batch, Watcher
from pcae.training.optimizer import check_optimizer_config, parameter_groups
from pcae.training.plan import make_plan
from pcae.training.randomness import StepRandom
from pcae.training.run_folder import config_of
from pcae.weights.decoders import DECODER_FILE, save_decoder
from pcae.weights.files import FILE, save_model

OF_ATTENTION = ("token-importance", "saliency")
"""Criteria that look at a block's attention."""


def pretrain(
    data: str | Path | Sequence[str | Path], out: str | Path, callbacks: Sequence[object] = (), **knobs: Any
) -> RunSummary:
    """Pre-train on `data` into the run folder `out`, as `pcae pretrain` does; returns the summary of the run.

    callbacks: objects with methods of `pcae.Callback`, which hear of the run.
    knobs: the command's flags with underscores, such as recipe="auto", model="vit_small_patch16_224", epochs=100.
    Raises ValueError for an unknown knob or a value that cannot be.
    """
    config = configure(PretrainConfig, "pretrain", choose_recipe, data=data, out=str(out), **knobs)
    return train_and_report(config, callbacks)


def choose_recipe(config: PretrainConfig) -> str:
    """What `--recipe auto` stands for: the recipe of the run in the folder, else what suits; says which, and why."""
    choice = recorded_recipe(config.out)
    if choice is None:
        reading = config.reading
        channels, pixel_range = config.encoder.channels, reading.pixel_range
        images = open_images(config.data, "train", channels, pixel_range, reading.stream, reading.bands)
        choice = recipe_for(config.data, len(images), typical_side(images), pick_device(config.run.device))
    say_recipe(choice.recipe, choice.reason)
    return choice.recipe


def recorded_recipe(folder: Path) -> RecipeChoice | None:
    """The recipe of the run that stands in a folder."""
    recipe = config_of(folder).get("recipe")
    return RecipeChoice(recipe, f"that of the run in {folder}") if recipe in recipe_names(PretrainConfig) else None


def train_and_report(config: PretrainConfig, callbacks: Sequence[object] = ()) -> RunSummary:
    """Pre-train, and write the page about it; returns the run's summary or forecast. Every process calls it."""
    with open_world(config.run.device) as world:
        summary = train(config, world, callbacks)
        if world.is_main and not config.dry_run:
            report_on(config.out)
        return summary


def train(config: PretrainConfig, world: World, callbacks: Sequence[object] = ()) -> RunSummary:
    """Pre-train as configured, from the start or from a checkpoint; returns the summary of the run, or its forecast."""
    return with_roll_backs(attempt, config, world, callbacks)


def attempt(config: PretrainConfig, world: World, callbacks: Sequence[Callback]) -> RunSummary:
    """Pre-train to the end, or until the run has to go back; or forecast it."""
    task = build_task(config, world)
    return forecast(task, task.peak) if config.dry_run else task.complete(callbacks)


@dataclass(kw_only=True)
class PretrainingTask(Task[PretrainConfig, Pretraining]):
    """A run of pre-training. facts: what the weights say of themselves. lines: what of the initial weights matched.

    probe: of labelled images during the run, where one is asked for. health: from the first step on, unless no image
    can be looked at.
    """

    what = "pre-training"
    facts: PretrainedFacts
    lines: list[str]
    probe: OnlineProbe | None
    health: Health | None = None

    def batches(self) -> Iterator[tuple[Batch, StepRandom]]:
        """Random crops, or what the caller's transform makes of the images."""
        config, images = self.run.config, self.run.images
        size, scale, seed = config.encoder.image_size, config.reading.crop_scale, config.run.seed
        transform = transform_of(config.transform)
        views = RandomCrops(images, size, scale, seed) if transform is None else try_out(images, size, seed, transform)
        return self.run.batches(views)

    def announce(self) -> None:
        """Print what the run begins with, the plan, the network and the tokens."""
        method = self.run.method
        for line in self.lines:
            console.print(line)
        self.run.describe_plan()
        say_replaced(self.run.config.transform)
        grid = method.student.grid
        millions = sum(parameter.numel() for parameter in method.student.parameters()) / 1e6
        views = f" in each of {method.views} views" if isinstance(method, PCAE) and method.views > 1 else ""
        pixels = " and pixels" if isinstance(method, PCAE) and method.pixel_weight else ""
        whole = ", and the class token" if isinstance(method, PCAE) and method.teacher.class_target else ""
        what = "in the teacher" if "teacher" in dict(method.named_children()) else "hidden"
        console.print(
            f"encoder of {millions:.1f} M parameters; tokens per image: {grid[0]} x {grid[1]} = {grid[0] * grid[1]}, "
            f"{method.n_visible} visible{views}; {' -> '.join(map(str, method.counts))} {what}; "
            f"predicted: {method.predicts}{pixels} of {method.counts[-1]}{whole}"
        )
        if self.probe:
            console.print(f"nearest neighbours of labelled images every {self.probe.every} steps")

    def watchers(self, journal: Journal) -> list[Watcher]:
        """Looks at the run's health and the probe, which begin before the first step."""
        run, probe, watching = self.run, self.probe, []
        every = health_every(run.config.health, run.plan)
        if every:
            self.health = open_health(run, run.config.encoder.image_size, journal)
        if self.health:
            watching.append((every, self.health.watch))
        if probe:
            probe.begin(run, journal)
            watching.append((probe.every, lambda _: probe.watch(run, journal)))
        return watching

    def conclude(self, done: dict[str, Any]) -> dict[str, Any]:
        """Write the weights; returns the summary."""
        self.save_weights()
        summary = {"weights": str(self.run.config.out / FILE), **done}
        summary |= {"warnings": list(self.health.warnings.values())} if self.health else {}
        return summary | ({"knn": self.probe.last} if self.probe else {})

    def save_weights(self) -> None:
        """Write the encoder, and the decoder where the method has one."""
        config, method = self.run.config, self.run.whole()
        if not self.run.world.is_main:
            return
        decoder = decoder_of(method)
        save_model(config.out / FILE, method.student.vit, self.facts)
        if decoder is not None:
            norm_pix_loss = config.method.norm_pix_loss if method.predicts == "pixels" else None
            save_decoder(config.out / DECODER_FILE, decoder, config.decoder, method.predicts, norm_pix_loss)

    def peak(self, batch: int) -> int:
        """Bytes at the peak of a step on so many made-up images."""
        run = self.run
        images = torch.randn(batch, run.images.channels, *run.config.encoder.image_size).to(run.world.device)
        return int(Stepper(run.method, run.optimizer, images, run.autocast).peak())


def check(config: PretrainConfig) -> None:
    """Raise ValueError for values that cannot be, before anything is read."""
    check_bounds(config)
    check_data_config(config.reading)
    check_optimizer_config(config.optimizer)
    if config.layer_decay is not None and config.init is None:
        decay = f"layer_decay {config.layer_decay:g}"
        raise ValueError(f"{decay} is for networks that have learned; leave it out, or give --init W")
    transform_of(config.transform)
    criterion = config.method.teacher.criterion
    if config.run.fully_shard and criterion in OF_ATTENTION:
        raise ValueError(f"criterion {criterion} needs blocks with all of their weights; leave fully_shard out with it")


def build_task(config: PretrainConfig, world: World) -> PretrainingTask:
    """Images, method and optimizer, as they start or as the checkpoint to go on from has them."""
    check(config)
    initial = world.main_first(lambda: load_initial(config.encoder, config.reading, config.init, config.teacher))
    images = open_data(config, initial, world)
    initial = replace(initial, encoder=replace(initial.encoder, channels=images.channels))
    plan = make_plan(config.run, config.optimizer, len(images), world.size)
    lanes_of(initial.reading, images, plan.batch_size, world.size * config.run.accumulation)  # refused before any work
    torch.manual_seed(config.run.seed)
    method, lines = initial_method(initial, config.method, config.decoder)
    said, decoder = spelled_out(config.method, config.decoder, method)
    config = replace(config, encoder=initial.encoder, reading=initial.reading, method=said, decoder=decoder)
    groups = None if config.layer_decay is None else partial(groups_by_layer, method, config)
    run = TrainingRun.start_or_resume(config, images, plan, method, config.encoder.image_size, world, groups)
    facts = facts_of(run, initial)
    probe = world.main_first(lambda: open_online(run, facts))
    return PretrainingTask(run=run, facts=facts, lines=lines, probe=probe)


def groups_by_layer(method: Pretraining, config: PretrainConfig) -> list[dict]:
    """The optimizer's groups: of the student by layer, of all else the usual two."""
    assert config.layer_decay is not None
    decay = config.optimizer.weight_decay
    student = layer_groups(method.student.vit, decay, config.layer_decay)
    return [*student, *parameter_groups(method, decay, but="student.")]


def open_data(config: PretrainConfig, initial: InitialWeights, world: World) -> Images:
    """The images, read as the initial weights want them. A stream's shards are counted once, for all processes."""
    stream = config.reading.stream
    once = world.from_main if stream or any(map(is_stream, each(config.data))) else world.main_first
    channels, reading = initial.encoder.channels, initial.reading
    return once(lambda: open_images(config.data, "train", channels, reading.pixel_range, stream, reading.bands))


def facts_of(run: PretrainingRun, initial: InitialWeights) -> PretrainedFacts:
    """What the weights say of themselves."""
    return PretrainedFacts(
        encoder=run.config.encoder,
        mean=run.facts["mean"],
        std=run.facts["std"],
        pixel_range=run.images.pixel_range,
        bands=run.images.bands,
        norm_eps=initial.norm_eps,
    )
