"""`pcae probe`: how good an encoder's features are, by k nearest neighbours, a linear and an attentive probe."""

from typing import Any

from pcae.inference.probe import ProbeResults, probe_features
from pcae.settings.verbs.probe import ProbeConfig
from pcae.terminal import answer, table


def run(config: ProbeConfig) -> None:
    """Probe, and print the accuracies."""
    answer(probe_features(config), config.json, show)


def show(found: ProbeResults) -> None:
    """Print the accuracies."""
    images = f"{found.images['train']} training and {found.images['test']} test images"
    columns = ["probe", "features", "learning rate", "top-1 in %"]
    table(f"{images} of {len(found.classes)} classes", columns, [shown(row) for row in found.probes])


def shown(row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    name = f"kNN, k={row['k']}" if row["probe"] == "knn" else row["probe"]
    rate = f"{row['learning_rate']:g}" if "learning_rate" in row else ""
    return [name, row["features"], rate, f"{100 * row['accuracy']:.1f}"]
