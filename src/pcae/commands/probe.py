"""`pcae probe`: how good an encoder's features are, by k nearest neighbours, a linear and an attentive probe."""

from pcae.inference.probe import Found, Row, check, measure
from pcae.inference.trained import open_trained
from pcae.settings.values import to_plain
from pcae.settings.verbs.probe import ProbeConfig
from pcae.terminal import as_json, console, table


def run(config: ProbeConfig) -> None:
    """Probe and print."""
    check(config)
    report(config, measure(config, open_trained(config.model)))


def report(config: ProbeConfig, found: Found) -> None:
    """Print the accuracies, and what could not be read."""
    rows, train, test, seconds, bad_files = found
    images, classes = {"train": len(train.images), "test": len(test.images)}, train.images.classes
    if config.json:
        as_json(
            {
                "images": images,
                "classes": list(classes),
                "encoding_seconds": seconds,
                "probes": rows,
                "bad_files": bad_files[0].by_name() | bad_files[1].by_name(),
                "settings": to_plain(config),
            }
        )
    else:
        title = f"{images['train']} training and {images['test']} test images of {len(classes)} classes"
        table(title, ["probe", "features", "learning rate", "top-1 in %"], [shown(row) for row in rows])
    for unreadable in bad_files:
        if unreadable.found:
            console.print(f"{unreadable.describe()}; they were left out")


def shown(row: Row) -> list[str]:
    """A row of the table."""
    name = f"kNN, k={row['k']}" if row["probe"] == "knn" else row["probe"]
    rate = f"{row['learning_rate']:g}" if "learning_rate" in row else ""
    return [name, row["features"], rate, f"{100 * row['accuracy']:.1f}"]
