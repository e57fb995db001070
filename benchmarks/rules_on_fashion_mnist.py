"""What each rule of dropping tokens costs in accuracy at one measured speed, on Fashion-MNIST, over three seeds.

    python benchmarks/rules_on_fashion_mnist.py RUNS [--seeds 0 1 2] [--faster 1.5] [--batch 256] [--rounds 3]

RUNS holds the classifiers of benchmarks/fashion_mnist_downstream.py: A, fine-tuned with all tokens, and C, by the
dial. For each rule the drop ratio is looked for at which it is so many times as fast as the whole model, measured in
turns on A0; then all classifiers answer for the 10,000 test images. Prints JSON, for rules that are faster than the
whole model at all: points lost against the same network at drop ratio 0, mean over the seeds and its standard error.
What was measured is kept in RUNS and not measured again.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor

import pcae
from pcae.benchmarking.bench import Bench
from pcae.benchmarking.candidates import WHOLE, Candidate
from pcae.data.batches import whole_loader
from pcae.data.tables.labelled import open_labelled
from pcae.settings.trained import Rule, TrainedConfig
from pcae.settings.verbs.tune import TuneConfig

CRITERIA = ("mean-similarity", "random", "token-importance", "saliency", "decomposition", "bipartite")
FOLDS = ("append", "merge")
OTHER = [("mean-similarity", "leave"), ("mean-similarity", "pool")]
BETTER = [("mean-similarity", fold) for fold in ("append", "pool", "merge")] + [("bipartite", "merge")]
"""Rules that are tried at other places, too."""
TRIES = 3
"""Times that a drop ratio is corrected."""


def rules() -> list[Rule]:
    """All criteria and folds after blocks 0, 7, 10 of 12; the better ones before the MLP there, and in all blocks but
    the last."""
    pairs = [(criterion, fold) for criterion in CRITERIA for fold in FOLDS] + OTHER
    usual = [Rule(criterion=criterion, fold=fold) for criterion, fold in pairs]
    better = [Rule(criterion=criterion, fold=fold, before_mlp=True) for criterion, fold in BETTER]
    return usual + better + [replace(rule, after=(0, 1, 2, 3, 4)) for rule in better]


def test_images() -> tuple[Tensor, Tensor]:
    """Pixels and labels of the test split."""
    _, test = open_labelled("fashion-mnist")
    loader = whole_loader(test, (28, 28), None, 100, 0, 1.0)
    return torch.cat([batch.pixels for batch in loader]), torch.as_tensor(test.labels)


def bench_of(run: Path, said: argparse.Namespace, pixels: Tensor, labels: Tensor) -> Bench:
    """A classifier and the images."""
    config = TuneConfig(data="fashion-mnist", model=TrainedConfig(weights=str(run)), batch_size=said.batch)
    return Bench(pcae.load(run), config, pixels, labels, run)


def at_speed(bench: Bench, faster: float, rounds: int) -> list[tuple[Candidate, float]]:
    """Each rule at the drop ratio that comes nearest to the speed, and the speed that was measured there."""
    left, nearest = [bench.at(rule, faster) for rule in rules()], {}
    for _ in range(TRIES):
        speeds, _ = bench.speeds(dict.fromkeys(left), rounds)
        for one, speed in speeds.items():
            known = nearest.get(one.rule)
            if known is None or abs(speed / faster - 1) < abs(known[1] / faster - 1):
                nearest[one.rule] = (one, speed)
        left = [bench.at(one.rule, faster * bench.allowed(one) / speed) for one, speed in speeds.items()]
    return [*nearest.values()]


def kept_speeds(said: argparse.Namespace, bench: Bench) -> list[tuple[Candidate, float]]:
    """The same, from the file in RUNS where it is there."""
    place = said.runs / f"speeds-{said.faster:g}-{said.batch}.json"
    if not place.is_file():
        found = [[one.said(), speed] for one, speed in at_speed(bench, said.faster, said.rounds)]
        place.write_text(json.dumps(found))
    found = [(candidate_of(one), speed) for one, speed in json.loads(place.read_text())]
    return [(one, speed) for one, speed in found if speed > 1 and one.rule in rules()]


def candidate_of(said: dict[str, Any]) -> Candidate:
    """The candidate that a file says."""
    after = None if said["after"] is None else tuple(said["after"])
    rule = Rule(criterion=said["criterion"], fold=said["fold"], after=after, before_mlp=said["before_mlp"])
    return Candidate(rule, said["drop_ratio"])


def share(run: Path, bench: Bench, one: Candidate) -> float:
    """The share of right answers, kept in the run's folder."""
    place, key = run / "shares.json", json.dumps(one.said())
    known = json.loads(place.read_text()) if place.is_file() else {}
    if key not in known:
        known[key] = bench.score(one)
        place.write_text(json.dumps(known))
    return known[key]


def lost(whole: list[float], reduced: list[float]) -> dict[str, Any]:
    """Points lost over the seeds."""
    points = [100 * (a - b) for a, b in zip(whole, reduced, strict=True)]
    error = stdev(points) / len(points) ** 0.5 if len(points) > 1 else None
    return {"points": round(mean(points), 3), "standard_error": error and round(error, 3)}


def main() -> None:
    """Measure what is not known yet, and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("runs", type=Path)
    words.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words.add_argument("--faster", type=float, default=1.5)
    words.add_argument("--batch", type=int, default=256)
    words.add_argument("--rounds", type=int, default=3)
    said = words.parse_args()
    pixels, labels = test_images()
    found = kept_speeds(said, bench_of(said.runs / "A0", said, pixels, labels))
    names = {kind: [said.runs / f"{kind}{seed}" for seed in said.seeds] for kind in "AC"}
    benches = {run: bench_of(run, said, pixels, labels) for runs in names.values() for run in runs}

    def shares(kind: str, one: Candidate) -> list[float]:
        return [share(run, benches[run], one) for run in names[kind]]

    rows = [
        {
            **one.said(),
            "times_as_fast": round(speed, 3),
            "macs_allow": round(benches[names["A"][0]].allowed(one), 3),
            "without_training": lost(shares("A", WHOLE), shares("A", one)),
            "with_the_dial": lost(shares("C", WHOLE), shares("C", one)),
        }
        for one, speed in found
    ]
    whole = {kind: shares(kind, WHOLE) for kind in names}
    asked = {"seeds": said.seeds, "faster": said.faster, "batch": said.batch, "threads": torch.get_num_threads()}
    print(json.dumps(asked | {"whole": whole, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
