"""`pcae pretrain`: self-supervised pre-training on images without labels."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from pcae.commands.advice import Advice, advise, say_recipe, typical_side
from pcae.commands.dry_run import forecast, peak_of, show_forecast
from pcae.commands.health import Health, HealthConfig, begin_health, check_health, health_every
from pcae.commands.init import Beginning, begin, decoder_of, find_beginning
from pcae.commands.online_probe import OnlineProbe, open_online
from pcae.commands.parts import (
    Parts,
    announce_numbers,
    batches,
    carry_out,
    finished,
    start_or_go_on,
    write_summary,
)
from pcae.commands.reporting import report_on
from pcae.commands.roll_back import with_roll_backs
from pcae.commands.run_settings import RunSettings, configure
from pcae.commands.terminal import as_json, console
from pcae.data.batches import check_data_config
from pcae.data.images import RandomCrops, open_images
from pcae.data.lane_batches import lanes_of
from pcae.data.stream import is_stream
from pcae.methods.choice import WITHOUT_TEACHER, MethodConfig, Pretraining, foreign_settings, spelled_out
from pcae.methods.pcae import PCAE
from pcae.model.decoder import DecoderConfig
from pcae.model.encoder import EncoderConfig
from pcae.model.pretrained import PretrainedFacts
from pcae.settings import recipe_names
from pcae.training.distributed import World, pick_device, world
from pcae.training.folder import config_of
from pcae.training.journal import Journal
from pcae.training.loop import Watcher
from pcae.training.optimizer import build_optimizer, check_optimizer_config
from pcae.training.plan import Plan, plan
from pcae.training.sharding import shard
from pcae.weights.decoders import DECODER_FILE, save_decoder
from pcae.weights.files import FILE, save_model

BY_METHOD = {"mask_ratio", "keep_ratio", "decoder_depth"}
"""Settings that every method has its own usual value of."""
OF_ATTENTION = ("token-importance", "saliency")
"""Criteria that look at a block's attention."""


@dataclass(frozen=True, kw_only=True)
class Config(RunSettings):
    """Pre-train a Vision Transformer on images without labels, by PCAE or by what it is compared with.

    DATA is a folder (flat or nested), a .txt or .csv list, WebDataset shards, hf:NAME, `sample` or `fashion-mnist`.
    Flags come before --config FILE, that before --recipe NAME, that before the defaults, which are the paper's ViT-B.
    """

    init: str | None = None
    """Weights to go on from, with their decoder where it fits: a run folder, MAE's .pth, a folder of Hugging Face's
    ViTMAE, timm:NAME. Network and normalisation are theirs where none are given; so is an image size of 224 224."""
    teacher: str | None = None
    """Weights of a fixed teacher in place of the moving average of the student, of the same patches."""
    dry_run: bool = False
    """Make a few steps, write nothing, and say what the run takes: hours, images/s, memory, the largest batch."""
    encoder: EncoderConfig = EncoderConfig()
    method: MethodConfig = MethodConfig()
    decoder: DecoderConfig = DecoderConfig()
    health: HealthConfig = HealthConfig()

    @staticmethod
    def fitting(recipe: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
        """A recipe less the settings that another method, a fixed teacher or a network that exists does not have."""
        usual = recipe.get("method", "pcae")
        void = void_settings(recipe | chosen) | (BY_METHOD if chosen.get("method", usual) != usual else set())
        return {name: value for name, value in recipe.items() if name not in void}


def void_settings(values: dict[str, Any]) -> set[str]:
    """Settings that another method, a fixed teacher or a network that exists does not have."""
    method = values.get("method", "pcae")
    void = foreign_settings(method) | ({"teacher"} if method in WITHOUT_TEACHER else set())
    void |= {"momentum", "momentum_end"} if values.get("teacher") else set()
    return void | ({"patch_scale"} if values.get("init") else set())


def run(config: Config) -> None:
    """Pre-train, and say where everything lies."""
    with world(config.run.device) as here:
        summary = train_and_report(config, here)
        if here.is_main and config.dry_run:
            show_forecast(summary, config.json)
        elif here.is_main and config.json:
            as_json(summary)
        elif here.is_main:
            console.print(f"done: weights in {summary['weights']}, everything else beside it")


def pretrain(data: str | Path, out: str | Path, **knobs: Any) -> dict[str, Any]:
    """Pre-train on `data` into the run folder `out`, as `pcae pretrain` does; returns the summary of the run.

    knobs: the command's flags with underscores, such as recipe="auto", model="vit_small_patch16_224", epochs=100.
    Raises ValueError for an unknown knob or a value that cannot be.
    """
    config = configure(Config, "pretrain", choose_recipe, data=str(data), out=str(out), **knobs)
    with world(config.run.device) as here:
        return train_and_report(config, here)


def choose_recipe(config: Config) -> str:
    """What `--recipe auto` stands for: the recipe of the run in the folder, else what suits; says which, and why."""
    advice = recorded_recipe(config.out)
    if advice is None:
        reading = config.reading
        images = open_images(config.data, "train", config.encoder.channels, reading.pixel_range, reading.stream)
        advice = advise(config.data, len(images), typical_side(images), pick_device(config.run.device))
    say_recipe(advice.recipe, advice.reason)
    return advice.recipe


def recorded_recipe(folder: Path) -> Advice | None:
    """The recipe of the run that stands in a folder."""
    recipe = config_of(folder).get("recipe")
    return Advice(recipe, f"that of the run in {folder}") if recipe in recipe_names(Config) else None


def train_and_report(config: Config, here: World) -> dict[str, Any]:
    """Pre-train, and write the page about it."""
    summary = train(config, here)
    if here.is_main and not config.dry_run:
        report_on(config.out)
    return summary


def train(config: Config, here: World) -> dict[str, Any]:
    """Pre-train as configured, from the start or from a checkpoint; returns the summary of the run, or its forecast."""
    return with_roll_backs(lambda again: attempt(again, here), config)


def attempt(config: Config, here: World) -> dict[str, Any]:
    """Pre-train to the end, or until the run has to go back."""
    parts, beginning = build_parts(config, here)
    config = cast(Config, parts.config)
    crops = RandomCrops(parts.images, config.encoder.image_size, config.reading.crop_scale, config.run.seed)
    facts = described(parts, beginning)
    probe = here.main_first(lambda: open_probe(config, facts, parts.numbers, here))
    if config.dry_run:
        if here.is_main:
            announce(parts, beginning, here)
        return forecast(parts, batches(parts, crops, here), here, partial(peak_of, parts, here=here))
    summary = finished(parts)
    if summary is not None:
        return summary
    health: list[Health] = []
    done = carry_out(
        "pre-training",
        parts,
        batches(parts, crops, here),
        here,
        lambda: announce(parts, beginning, here),
        lambda journal: watchers(parts, probe, journal, here, health),
    )
    summary = {"weights": str(config.out / FILE), **done}
    summary |= {"warnings": list(health[0].warnings.values())} if health else {}
    summary |= {"knn": probe.last} if probe else {}
    save_weights(parts, facts, here)
    if here.is_main:
        write_summary(parts, summary)
    return summary


def open_probe(config: Config, facts: PretrainedFacts, numbers: Plan, here: World) -> OnlineProbe | None:
    """The probe of labelled images during the run, where one is asked for."""
    if config.health.knn_data is None:
        return None
    every = max(1, round(config.health.knn_every * numbers.images / numbers.batch_size))
    return open_online(config.health.knn_data, facts, config.reading, every, here.device)


def watchers(
    parts: Parts, probe: OnlineProbe | None, journal: Journal, here: World, health: list[Health]
) -> list[Watcher]:
    """What watches the run beside its journal; what watches its health is put into `health` too."""
    config = cast(Config, parts.config)
    watching: list[Watcher] = []
    every = health_every(config.health, parts.numbers)
    if every:
        health += begin_health(parts, config.encoder.image_size, journal, here)
        watching += [(every, one.watch) for one in health]
    if probe:
        probe.begin(whole_method_of(parts), parts.progress, journal, here)
        watching.append((probe.every, lambda progress: probe.watch(whole_method_of(parts), progress, journal, here)))
    return watching


def described(parts: Parts, beginning: Beginning) -> PretrainedFacts:
    """What the weights say of themselves."""
    return PretrainedFacts(
        encoder=cast(Config, parts.config).encoder,
        mean=parts.facts["mean"],
        std=parts.facts["std"],
        pixel_range=parts.images.pixel_range,
        norm_eps=beginning.norm_eps,
    )


def save_weights(parts: Parts, facts: PretrainedFacts, here: World) -> None:
    """Write the encoder, and the decoder where the method has one. Every process calls it, the main one writes."""
    config, method = cast(Config, parts.config), whole_method_of(parts)
    if not here.is_main:
        return
    decoder = decoder_of(method)
    save_model(config.out / FILE, method.student.vit, facts)
    if decoder is not None:
        norm_pix_loss = config.method.norm_pix_loss if method.predicts == "pixels" else None
        save_decoder(config.out / DECODER_FILE, decoder, config.decoder, method.predicts, norm_pix_loss)


def build_parts(config: Config, here: World) -> tuple[Parts, Beginning]:
    """Images, method and optimizer, as they start or as the checkpoint to go on from has them; and the beginning."""
    check_data_config(config.reading)
    check_optimizer_config(config.optimizer)
    check_health(config.health)
    beginning = here.main_first(lambda: find_beginning(config.encoder, config.reading, config.init, config.teacher))
    config = replace(config, encoder=beginning.encoder, reading=beginning.reading)
    channels, pixel_range = config.encoder.channels, config.reading.pixel_range
    stream = config.reading.stream
    once = here.from_main if stream or is_stream(config.data) else here.main_first  # a stream's shards are counted once
    images = once(lambda: open_images(config.data, "train", channels, pixel_range, stream))
    numbers = plan(config.run, config.optimizer, len(images), here.size)
    lanes_of(config.reading, images, numbers.batch_size, here.size * config.run.accumulation)  # refused before any work
    config = replace(config, encoder=replace(config.encoder, channels=images.channels))
    torch.manual_seed(config.run.seed)
    method, beginning = begin(replace(beginning, encoder=config.encoder), config.method, config.decoder)
    said, decoder = spelled_out(config.method, config.decoder, method)
    hollow = split_if_asked(config, method, here)
    config, method = replace(config, method=said, decoder=decoder), method.to(here.device)
    optimizer = build_optimizer(method, config.optimizer)
    size = config.encoder.image_size
    parts = start_or_go_on(config, images, numbers, method, optimizer, size, here)
    reading = replace(config.reading, mean=tuple(parts.facts["mean"]), std=tuple(parts.facts["std"]))
    return replace(parts, config=replace(config, reading=reading), hollow=hollow), beginning


def split_if_asked(config: Config, method: Pretraining, here: World) -> nn.Module | None:
    """Split the method's weights over the processes, where that is asked for; returns it without weights then.

    Raises ValueError for a criterion that looks into blocks from outside, when their weights are put away.
    """
    if not config.run.fully_shard:
        return None
    criterion = config.method.teacher.criterion
    if criterion in OF_ATTENTION:
        raise ValueError(f"criterion {criterion} needs blocks with all of their weights; leave fully_shard out with it")
    return shard(method, here.device)


def method_of(parts: Parts) -> Pretraining:
    """The method that is trained."""
    assert isinstance(parts.method, Pretraining)
    return parts.method


def whole_method_of(parts: Parts) -> Pretraining:
    """The method with all of its weights. Every process calls it."""
    return cast(Pretraining, parts.whole())


def announce(parts: Parts, beginning: Beginning, here: World) -> None:
    """Print, before the first step, what the run begins with and what it comes to."""
    method = method_of(parts)
    for line in beginning.lines:
        console.print(line)
    announce_numbers(parts, here)
    grid = method.student.grid
    millions = sum(parameter.numel() for parameter in method.student.parameters()) / 1e6
    views = f" in each of {method.views} views" if isinstance(method, PCAE) and method.views > 1 else ""
    pixels = " and pixels" if isinstance(method, PCAE) and method.pixel_weight else ""
    what = "in the teacher" if "teacher" in dict(method.named_children()) else "hidden"
    console.print(
        f"encoder of {millions:.1f} M parameters; tokens per image: {grid[0]} x {grid[1]} = {grid[0] * grid[1]}, "
        f"{method.n_visible} visible{views}; {' -> '.join(map(str, method.counts))} {what}; "
        f"predicted: {method.predicts}{pixels} of {method.counts[-1]}"
    )
