"""`pcae benchmark`: the speed of training, of reading images and of inference, all rows side by side in one run."""

from typing import Any

from pcae.benchmarking.speed import measure_speed
from pcae.benchmarking.table import cells
from pcae.settings.verbs.benchmark import BenchmarkConfig
from pcae.terminal import as_json, table


def run(config: BenchmarkConfig) -> None:
    """Measure and print."""
    show(measure_speed(config), config.json)


def show(found: dict[str, Any], in_json: bool) -> None:
    """Print the table."""
    if in_json:
        as_json(found)
    else:
        table(found["title"], *cells(found))
