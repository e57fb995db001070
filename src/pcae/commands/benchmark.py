"""`pcae benchmark`: the speed of training, of reading images and of inference, all rows side by side in one run."""

from typing import Any

from pcae.benchmarking.speed import measure_speed
from pcae.benchmarking.table import cells
from pcae.settings.verbs.benchmark import BenchmarkConfig
from pcae.terminal import answer, table


def run(config: BenchmarkConfig) -> None:
    """Measure and print."""
    answer(measure_speed(config), config.json, show)


def show(found: dict[str, Any]) -> None:
    """Print the table."""
    table(found["title"], *cells(found))
