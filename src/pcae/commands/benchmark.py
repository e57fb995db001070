"""`pcae benchmark`: the speed of training, of reading images and of inference, all rows side by side in one run."""

from pcae.benchmarking.speed import check, measure
from pcae.benchmarking.table import cells, write
from pcae.settings.verbs.benchmark import BenchmarkConfig
from pcae.terminal import as_json, console, table
from pcae.training.distributed import pick_device


def run(config: BenchmarkConfig) -> None:
    """Measure, print and write."""
    check(config)
    console.print("measuring, all rows taking turns: nothing else should run now")
    found = measure(config, pick_device(config.device))
    if config.out is not None:
        write(config.out, found)
    if config.json:
        as_json(found)
    else:
        table(found["title"], *cells(found))
