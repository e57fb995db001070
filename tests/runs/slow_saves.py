"""`pcae` whose disk takes its time: python -m tests.runs.slow_saves VERB ..."""

import time

import torch

from pcae.cli import main
from pcae.training import checkpoint

save_file = checkpoint.save_file


def slowly(*arguments, **options) -> None:
    time.sleep(3)
    save_file(*arguments, **options)


if __name__ == "__main__":
    torch.set_num_threads(1)
    checkpoint.save_file = slowly
    main()
