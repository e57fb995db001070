"""What rules of dropping tokens cost once a network has learned with them, on Fashion-MNIST, over three seeds.

    python benchmarks/rules_learned.py RUNS [--seeds 0 1 2] [--no-epoch]

RUNS holds pre-trained networks and classifiers of benchmarks/fashion_mnist_downstream.py (pre, A), which are made where
they are missing. For each seed: the dial `0:0.4` learned with matched and merged tokens before the MLP; and one more
epoch of A, fine-tuned with all tokens, by each rule at the drop ratio at which it runs 1.5 times as fast
(docs/results/rules-on-fashion-mnist.json), and by none. Prints JSON: accuracy on the 10,000 test images, and points
lost against the same network with all tokens (the dial) or against the further epoch with all tokens, over the seeds.
Finished runs in RUNS are not run again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from fashion_mnist_downstream import paired

import pcae
from pcae.data.tables.labelled import open_labelled
from pcae.data.unreadable import BadFiles
from pcae.inference.held_out import classify
from pcae.settings.trained import Rule
from pcae.training.distributed import World

BEST = Rule(criterion="bipartite", fold="merge", before_mlp=True)
RULES = {
    "none": (Rule(), 0.0),
    "mean-similarity append": (Rule(), 0.33),
    "mean-similarity merge": (Rule(fold="merge"), 0.37),
    "bipartite merge": (Rule(criterion="bipartite", fold="merge"), 0.36),
    "bipartite merge before the MLP": (BEST, 0.31),
    "token-importance append": (Rule(criterion="token-importance"), 0.47),
}
"""By name, the rule and the drop ratio at which it runs 1.5 times as fast."""
SHARED: dict[str, Any] = {"recipe": "finetune-fashion-mnist", "evaluate_every": "2ep", "device": "cpu"}


def right(run: Path, rule: Rule, ratios: list[float]) -> dict[str, float]:
    """The share of right answers by drop ratio, kept in the run's folder."""
    kept = run / "learned.json"
    if kept.is_file():
        return json.loads(kept.read_text())
    model, (_, test) = pcae.load(run), open_labelled("fashion-mnist")
    world, found = World(0, 1, torch.device("cpu")), {}
    for ratio in ratios:
        classifier = model.classifier(ratio, **vars(rule))
        tally = classify(classifier, BadFiles(test, 0.0), model.facts, world, batch_size=250)
        found[f"{ratio:g}"] = tally.numbers()["top1"]
    kept.write_text(json.dumps(found))
    return found


def measure() -> None:
    """Train what is missing, and print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("runs", type=Path)
    words.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words.add_argument("--no-epoch", action="store_true", help="the dial alone")
    words.add_argument("--pre", type=int, help="all fine-tunings begin with the network pre-trained with this seed")
    said = words.parse_args()
    dial: list[dict[str, float]] = []
    epoch: dict[str, list[float]] = {name: [] for name in RULES}
    for seed in said.seeds:
        begun = seed if said.pre is None else said.pre
        pre, first = said.runs / f"pre{begun}", said.runs / f"A{seed}"
        pcae.pretrain("fashion-mnist", pre, recipe="sample", steps=14_000, seed=begun, device="cpu")
        if not said.no_epoch:
            pcae.finetune("fashion-mnist", first, weights=str(pre), drop_ratio=0.0, seed=seed, **SHARED)
        by_dial = {"criterion": BEST.criterion, "fold": BEST.fold, "before_mlp": True, "drop_ratio": "0:0.4"}
        learned = said.runs / f"D{seed}"
        pcae.finetune("fashion-mnist", learned, weights=str(pre), seed=seed, **SHARED, **by_dial)
        dial.append(right(learned, BEST, [0.0, RULES["bipartite merge before the MLP"][1], 0.4]))
        for number, (name, (rule, ratio)) in enumerate({} if said.no_epoch else RULES.items()):
            run = said.runs / f"E{number}-{seed}"
            how = {"criterion": rule.criterion, "fold": rule.fold, "before_mlp": rule.before_mlp, "drop_ratio": ratio}
            pcae.finetune("fashion-mnist", run, weights=str(first), epochs=1, seed=seed, **SHARED, **how)
            epoch[name].append(right(run, rule, [ratio])[f"{ratio:g}"])
    found: dict[str, Any] = {"seeds": said.seeds, "torch": torch.__version__, "dial": dial, "after an epoch": epoch}
    for ratio in list(dial[0])[1:]:
        found[f"dial, lost at {ratio}"] = paired([row["0"] for row in dial], [row[ratio] for row in dial])
    found["lost after an epoch"] = {name: paired(epoch["none"], shares) for name, shares in epoch.items() if shares}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    measure()
