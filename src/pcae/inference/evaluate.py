"""How often a classifier is right, and how fast it is, at one or more drop ratios."""

from pathlib import Path
from statistics import median
from typing import Any

import torch

from pcae.data.images import Images
from pcae.data.tables.labelled import for_classifier
from pcae.data.tables.several_labels import with_label_sets
from pcae.data.tables.split_off import with_names
from pcae.data.unreadable import BadFiles
from pcae.evaluation.accuracy import Tally
from pcae.evaluation.average_precision import Ranked
from pcae.evaluation.cost import measure
from pcae.evaluation.throughput import large_batch, take_turns
from pcae.inference.answered_parts import answers_in_parts
from pcae.inference.evaluated import START, Evaluated
from pcae.inference.held_out import classify, judge
from pcae.inference.trained import open_shown, open_trained, say_left_out
from pcae.model.pretrained import Classifier, Pretrained, PretrainedFacts
from pcae.pages.mistakes import Mistakes, write_mistakes
from pcae.pictures.accuracy_speed import draw_curve
from pcae.pictures.confusion import draw_confusion
from pcae.settings.sources import in_words
from pcae.settings.verbs.evaluate import EvaluateConfig
from pcae.sharing.part_folder import check_folder
from pcae.tasks.dial import grid
from pcae.terminal import console, is_main_process
from pcae.training.distributed import World, open_world
from pcae.training.run_folder import VALIDATION
from pcae.writing import check_writable

PICTURES = (".png", ".svg", ".pdf")


def evaluate_classifier(config: EvaluateConfig, usual_picture: Path | None = None) -> Evaluated:
    """Evaluate and draw; processes share the images, and every one of them calls it.

    usual_picture: where accuracy against speed is drawn without `out`, if at all. Raises ValueError for what cannot be,
    and when too many images cannot be read.
    """
    check(config)
    with open_world(config.model.device) as world:
        model = world.main_first(lambda: open_trained(config.model, config.rule, world.device))
        chosen = chosen_ratios(config, model.facts)
        picture = picture_of(config, len(chosen), usual_picture)
        check_several(config, model.facts)
        models = {ratio: model.classifier(ratio) for ratio in chosen}
        bad_files = world.main_first(lambda: open_shown(config.data, config.shown, model, labels=True))
        bad_files.images = measured_images(config, bad_files.images, model.facts)
        costs = {ratio: cost_of(classifier, model) for ratio, classifier in models.items()}  # refused before any work
        batch = config.batch_size or large_batch(model.device)
        mistakes = None if config.mistakes is None else Mistakes(bad_files.images, model.facts)
        tallies = look_at(models, bad_files, model, config, batch, mistakes, world)
        rows = [{"drop_ratio": ratio, **said_of(tally, model), **costs[ratio]} for ratio, tally in tallies.items()]

        def finish() -> Evaluated:
            for size in sorted({1, batch}) if config.rounds else ():
                add_speeds(rows, models, size, model, config.rounds)
            found = described(config, model, rows)
            draw(config, picture, found, tallies[chosen[0]], model.facts.classes or [])
            if config.mistakes is not None and mistakes is not None:
                write_mistakes(config.mistakes, mistakes, found.weights, found.data, chosen[0])
                console.print(f"the most confident mistakes: {config.mistakes}")
            say_left_out(bad_files)
            return found

        return world.from_main(finish)  # speeds with nothing else running


def said_of(tally: Tally | Ranked, model: Pretrained) -> dict[str, Any]:
    """How good a classifier is, as a row has it."""
    return {**tally.numbers(), "images": tally.images, **tally.details(model.facts.classes or [])}


def chosen_ratios(config: EvaluateConfig, facts: PretrainedFacts) -> tuple[float, ...]:
    """The drop ratios that are measured; of a file of a reduction, its own beside 0."""
    if config.drop_ratio:
        return config.drop_ratio
    low, high = facts.drop_ratios
    return tuple(grid(low, high)) if config.rule.reduction is None else tuple(sorted({0.0, low}))


def look_at(
    models: dict[float, Classifier],
    bad_files: BadFiles,
    model: Pretrained,
    config: EvaluateConfig,
    batch: int,
    mistakes: Mistakes | None,
    world: World,
) -> dict[float, Tally | Ranked]:
    """How good each classifier is on the images. mistakes: takes in those of the first one."""
    first, workers, found = next(iter(models)), config.shown.workers, dict[float, Tally | Ranked]()
    for ratio, classifier in models.items():
        watch = mistakes.add if mistakes is not None and ratio == first else None
        if config.parts is None:
            found[ratio] = classify(classifier, bad_files, model.facts, world, workers, batch, watch)
            continue
        said = answers_in_parts(classifier, ratio, model, bad_files, config, config.parts, batch, world, watch)
        found[ratio] = judge(said, bad_files, model.facts, world)
    if mistakes is not None:
        mistakes.join(world.gather((mistakes.images, mistakes.wrong)))
    return found


def check_several(config: EvaluateConfig, facts: PretrainedFacts) -> None:
    """Raise ValueError for a confusion matrix of a classifier that does not choose one class."""
    if config.confusion is not None and facts.multi_label:
        raise ValueError(
            f"confusion {str(config.confusion)!r} is of classifiers that choose one class; these weights say of each "
            "class whether it is there: use --mistakes PAGE.html"
        )


def measured_images(config: EvaluateConfig, images: Images, facts: PretrainedFacts) -> Images:
    """The images that count, with labels by the places of the classifier's classes."""
    images = images if config.only is None else with_names(images, config.only, config.data)
    classes = facts.classes or []
    if facts.multi_label:
        return with_label_sets(images, config.data, classes)
    counted = for_classifier(images, classes, config.data)
    if not set(images.classes) <= set(classes) and is_main_process():
        console.print(f"the classifier's classes have no names; it is taken that 0 is {images.classes[0]!r} and so on")
    return counted


def remark_on(config: EvaluateConfig) -> str:
    """That the images may be those of the training, where the run held some of its data out and these are not asked
    for."""
    names = Path(config.model.weights) / VALIDATION
    if config.only is not None or not names.is_file():
        return ""
    return f"the run held images of its own data out; on these data, --only {names} measures those alone"


def described(config: EvaluateConfig, model: Pretrained, rows: list[dict[str, Any]]) -> Evaluated:
    """The rows with what they are of."""
    facts = model.facts
    return Evaluated(
        weights=config.model.weights,
        data=in_words(config.data),
        model=facts.encoder.model,
        **vars(facts.rule),
        device=str(model.device),
        precision="fp32",
        threads=torch.get_num_threads(),
        rows=rows,
        classes=len(facts.classes or ()),
        remark=remark_on(config),
    )


def check(config: EvaluateConfig) -> None:
    """Raise ValueError for what cannot be, before any work."""
    ratios = config.drop_ratio or ()
    if len(set(ratios)) < len(ratios):
        raise ValueError(f"drop_ratio names a ratio twice: {' '.join(f'{ratio:g}' for ratio in ratios)}")
    if config.parts is not None:
        check_folder(config.parts, config.data)
    for path in (config.out, config.confusion):
        if path is not None:
            check_writable(path, *PICTURES)
    if config.mistakes is not None:
        check_writable(config.mistakes, ".html")


def picture_of(config: EvaluateConfig, ratios: int, usual: Path | None) -> Path | None:
    """Where accuracy against speed is drawn. Raises ValueError when it is asked for and cannot be."""
    drawn = ratios > 1 and config.rounds > 0
    if config.out is not None and not drawn:
        raise ValueError(f"out {str(config.out)!r} is a picture of two drop ratios or more, with --rounds 1 or more")
    path = config.out or usual
    if path is None or not drawn:
        return None
    check_writable(path, *PICTURES)
    return path


def cost_of(classifier: Classifier, model: Pretrained) -> dict[str, Any]:
    """Multiply-accumulates and tokens, read off the running model with one image."""
    pixels = torch.zeros(1, *shape_of(model), dtype=torch.uint8, device=model.device)
    with torch.no_grad():
        cost = measure(classifier, classifier.reduced.vit.blocks, pixels)
    return {"gmacs": cost.gmacs, "tokens": cost.tokens}


def shape_of(model: Pretrained) -> tuple[int, int, int]:
    """Channels, height and width of an image."""
    return model.facts.encoder.channels or 3, *model.facts.encoder.image_size


def add_speeds(
    rows: list[dict[str, Any]], models: dict[float, Classifier], batch: int, model: Pretrained, rounds: int
) -> None:
    """Put images per second at a batch size into the rows: median, least and most."""
    noise = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (batch, *shape_of(model)), dtype=torch.uint8, generator=noise)
    seconds = take_turns(models, pixels.to(model.device), rounds)
    for row in rows:
        speeds = sorted(batch / spent for spent in seconds[row["drop_ratio"]])
        key = f"{START}{batch}"
        row |= {key: median(speeds), f"{key}_least": speeds[0], f"{key}_most": speeds[-1]}


def draw(
    config: EvaluateConfig, picture: Path | None, found: Evaluated, first: Tally | Ranked, classes: list[str]
) -> None:
    """Draw accuracy against speed, and the confusion matrix of the first ratio where asked."""
    if picture is not None:
        share = "map" if isinstance(first, Ranked) else "top1"
        ratios, accuracies = ([row[key] for row in found.rows] for key in ("drop_ratio", share))
        draw_curve(picture, ratios, accuracies, {f"batch {size}": values for size, values in found.speeds.items()})
        console.print(f"accuracy against speed: {picture}")
    if config.confusion is not None and isinstance(first, Tally):
        draw_confusion(config.confusion, first.confusion, classes)
        console.print(f"confusion matrix: {config.confusion}")
