"""`pcae` in float64, so that only the mathematics can differ: python -m tests.runs.exact VERB ..."""

import torch

from pcae.cli import main

if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    main()
