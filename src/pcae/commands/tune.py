"""`pcae tune`: the reduction that costs a classifier least at a speed, on this machine."""

from pcae.benchmarking.tune import tune
from pcae.results import print_result
from pcae.terminal import command

run = command(tune, print_result)
"""Search and print."""
