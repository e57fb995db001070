"""What a run came to, in two sentences and the next command: is it learning, compared with what, what now."""

import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pcae.evaluation.estimates import in_percent
from pcae.methods.collapse import find_faults
from pcae.methods.health import most_directions
from pcae.pages.run_data import RunData, numbers_of, steps_of
from pcae.settings.sources import each, given_in
from pcae.settings.values import flatten

FEW_IMAGES = 300
"""The fewest images that pre-training was seen to help on (307: docs/lab-notebook.md)."""
FEW_STEPS = 500
"""Steps within which features may be worse than at the start, in runs that come to something (docs/lab-notebook.md)."""
GAIN = 0.01
"""Share of held-out images by which neighbours must be better than at the start, to be called better."""
LABELLED = "LABELLED"
"""Stands for images with labels, in commands for runs that know none."""


@dataclass(frozen=True)
class Verdict:
    """A judgement of a run. says: two sentences. command: what to run next; None where nothing of the kind helps."""

    tone: Literal["good", "unsure", "bad"]
    name: str
    says: str
    command: str | None


def verdict_of(run: RunData) -> Verdict:
    """The first judgement that fits: what is wrong before what is short, what is short before what is well."""
    pretraining = (of_fault, of_few_images, of_state, of_probe, of_health)
    rules = pretraining if run.verb == "pretrain" else (of_fault, of_end, of_held_out)
    found = next(verdict for rule in rules if (verdict := rule(run)) is not None)
    return replace(found, command=None) if given_in(run.config.data) else found


def of_fault(run: RunData) -> Verdict | None:
    """What is wrong by the loss, by the last look at the features, and by the images."""
    faults = faults_of(run)
    return next((judge(run, faults[name]) for name, judge in FAULTS.items() if name in faults), None)


def faults_of(run: RunData) -> dict[str, str]:
    """What is wrong, by name, in words."""
    curves, found = run.metrics.curves, dict(run.metrics.warnings)
    faults = {name: found[name] for name in ("blank", "constant") if name in found}
    if "health/student_std" in curves:
        first = {name: curve.values[0] for name, curve in curves.items()} | {"skipped": 0, "step": 0}
        now = {"skipped": 0} | {name: curve.last for name, curve in curves.items()} | {"step": run.step}
        faults |= find_faults([first, now], flatten(run.config) | {"steps": steps_of(run) or run.step})
    return faults | ({"diverged": "the loss is not finite any more"} if not_finite(run) else {})


def not_finite(run: RunData) -> bool:
    """Whether the last loss is no number."""
    return "loss" in run.metrics.curves and not math.isfinite(run.metrics.curves["loss"].last)


def diverged(run: RunData, fault: str) -> Verdict:
    """The judgement of a run whose numbers broke."""
    why = fault.partition(". Try")[0].partition(": it has")[0]
    says = f"It has diverged: {why}. Its weights are of no use; start anew at a quarter of the rate."
    return Verdict("bad", "diverged", says, slower(run))


def nothing_to_see(run: RunData, fault: str) -> Verdict:
    """The judgement of images that hold nothing."""
    return Verdict("bad", "nothing to see", f"Nothing can be learned here: {fault}.", command("check-data", run))


def collapsed(run: RunData, fault: str) -> Verdict:
    """The judgement of a run to which all images look the same."""
    says = f"Compared with the start it has unlearned to tell images apart: {fault}."
    return Verdict("bad", "collapsed", says, slower(run, "steadier"))


def position_only(run: RunData, fault: str) -> Verdict:
    """The judgement of a run whose targets say nothing of images."""
    begun = run.config.init is not None  # whose patches' scale is what it is
    changed = again(run, *(("wider", "--crop-scale 0.2 1") if begun else ("scaled", "--patch-scale 3")))
    return Verdict("bad", "position only", f"It learns places, not content: {fault}.", changed)


def scores_flat(run: RunData, fault: str) -> Verdict:
    """The judgement of a run that drops tokens by chance."""
    return Verdict("unsure", "scores flat", f"{capital(fault)}.", slower(run))


FAULTS: dict[str, Callable[[RunData, str], Verdict]] = {
    "diverged": diverged,
    "skipped": diverged,
    "blank": nothing_to_see,
    "constant": nothing_to_see,
    "collapse": collapsed,
    "position": position_only,
    "scores": scores_flat,
}
"""The judgement of each fault, the worst first."""


def of_few_images(run: RunData) -> Verdict | None:
    """Whether there are fewer images than pre-training was ever seen to help on."""
    images = run.header.get("settings", {}).get("images") or numbers_of(run).get("images")
    if images is None or images >= FEW_IMAGES or gain_of(run) > GAIN:
        return None
    says = (
        f"{images:,} images are too few to learn from alone; the fewest that pre-training was seen to help on are "
        f"{FEW_IMAGES}. Begin with weights that others trained, and see what going on from them is worth."
    )
    return Verdict("unsure", "too few images", says, f"pcae worth {LABELLED} --weights timm:vit_small_patch16_224.dino")


def of_state(run: RunData) -> Verdict | None:
    """Whether it is under way, or was too short to say anything."""
    so_far = compared(run)
    if run.summary is None:
        return under_way(run, so_far)
    if run.step >= FEW_STEPS or gain_of(run) > GAIN:
        return None
    says = (
        f"Too short to tell: {run.step:,} steps, where features are often worse than random ones in the first "
        f"{FEW_STEPS} before they get better. {so_far}"
    )
    return Verdict("unsure", "too short", says, again(run, "longer", f"--steps {max(4 * run.step, 2 * FEW_STEPS)}"))


def of_probe(run: RunData) -> Verdict | None:
    """What labels say of the features, against those of the start and raw pixels."""
    if "probe/knn" not in run.metrics.curves:
        return None
    probed = shlex.quote(str(run.config.health.knn_data or LABELLED))
    if gain_of(run) > GAIN:
        where = shlex.quote(f"{run.folder}-classifier")
        says = f"It has learned what labels ask for. {compared(run)}"
        return Verdict("good", "healthy", says, f"pcae finetune {probed} --weights {at(run)} --out {where}")
    says = f"It has not learned what these labels ask for. {compared(run)}"
    return Verdict("unsure", "no gain", says, f"pcae worth {probed} --weights {at(run)}")


def of_health(run: RunData) -> Verdict:
    """What can be said without labels."""
    says = f"Nothing looks wrong; whether the features are good for your task, only labels can say. {compared(run)}"
    return Verdict("good", "healthy", says, f"pcae probe {LABELLED} --weights {at(run)}")


def gain_of(run: RunData) -> float:
    """Share of held-out images that neighbours sort right now, less that at the start; 0 where nobody knows."""
    curve = run.metrics.curves.get("probe/knn")
    return 0.0 if curve is None else curve.last - curve.values[0]


def compared(run: RunData) -> str:
    """The sentence that holds the features against those of the start: by labels, by rank, or by the loss."""
    curves = run.metrics.curves
    if "probe/knn" in curves:
        begun = "the weights that it began with" if getattr(run.config, "init", None) else "random weights"
        pixels = run.metrics.last().get("probe/knn_pixels")
        more = f", raw pixels {pixels:.1%}" if pixels is not None else ""
        now, start = curves["probe/knn"].last, curves["probe/knn"].values[0]
        return f"Nearest neighbours sort {now:.1%} of the held-out images right, by {begun} {start:.1%}{more}."
    if "health/student_rank" in curves:
        rank = curves["health/student_rank"]
        most = most_directions(10**9, run.config.encoder.width)
        return f"Images differ in {rank.last:.0f} directions of at most {most}, at the start in {rank.values[0]:.0f}."
    if "loss" in curves:
        return (
            f"The loss went from {curves['loss'].values[0]:.3g} to {curves['loss'].last:.3g}, which says little alone."
        )
    return "Nothing was written down yet."


def of_end(run: RunData) -> Verdict | None:
    """Whether a classifier or detector is still under way."""
    return under_way(run, held_out(run)) if run.summary is None else None


def under_way(run: RunData, so_far: str) -> Verdict:
    """The judgement of a run that is not finished."""
    steps = steps_of(run)
    of = f" of {steps:,}" if steps else ""
    says = f"Not finished: step {run.step:,}{of}, and nothing looks wrong. {so_far}"
    return Verdict("unsure", "under way", says, like(run, run.folder))


def of_held_out(run: RunData) -> Verdict:
    """What held-out images say of a finished classifier or detector."""
    numbers = numbers_of(run)
    if run.verb == "detect train":
        return Verdict("good", "finished", held_out(run), f"{command('detect evaluate', run)} --weights {at(run)}")
    evaluate = f"{command('evaluate', run)} --weights {at(run)} --mistakes mistakes.html"
    least = ((numbers.get("intervals") or {}).get("top1") or (numbers.get("top1", 1.0),))[0]
    if "top1" in numbers and least <= most_frequent(run):
        says = f"It is not surely better than always naming the most frequent class. {held_out(run)}"
        return Verdict("unsure", "no better", says, evaluate)
    return Verdict("good", "healthy", f"It tells the classes apart. {held_out(run)}", evaluate)


def held_out(run: RunData) -> str:
    """The sentence on what held-out images say so far."""
    numbers = numbers_of(run)
    if "top1" in numbers:
        interval = (numbers.get("intervals") or {}).get("top1")
        share, often = in_percent(numbers["top1"], interval), most_frequent(run)
        more = f"; always naming the most frequent class would be right for {often:.1%}" if often else ""
        return f"{share} of the held-out images are sorted right{more}."
    for name, what in (("map", "Mean average precision"), ("mask_ap", "Mask AP"), ("box_ap", "Box AP")):
        if name in numbers:
            return f"{what} on the held-out images is {numbers[name]:.1%}."
    return "No held-out images were looked at yet."


def most_frequent(run: RunData) -> float:
    """Share of the held-out images that are of their most frequent class; 0 where nobody says."""
    counts = [said["images"] for said in ((run.summary or {}).get("by_class") or {}).values()]
    return max(counts) / sum(counts) if sum(counts) else 0.0


def at(run: RunData) -> str:
    """The run folder as a word of a command."""
    return shlex.quote(str(run.folder))


def like(run: RunData, out: Path) -> str:
    """The command of a run with the same settings; into its own folder it goes on."""
    return f"pcae {run.verb} --config {shlex.quote(str(run.folder / 'config.yaml'))} --out {shlex.quote(str(out))}"


def again(run: RunData, suffix: str, changes: str) -> str:
    """The command of a run like this one into a folder beside, with other settings."""
    return f"{like(run, Path(f'{run.folder}-{suffix}'))} {changes}"


def slower(run: RunData, suffix: str = "slower") -> str:
    """The same at a quarter of the learning rate."""
    return again(run, suffix, f"--base-lr {run.config.optimizer.base_lr / 4:g}")


def command(verb: str, run: RunData) -> str:
    """A verb on the run's data."""
    return " ".join(["pcae", verb, *(shlex.quote(str(one)) for one in each(run.config.data))])


def capital(text: str) -> str:
    """A sentence's beginning."""
    return text[:1].upper() + text[1:]
