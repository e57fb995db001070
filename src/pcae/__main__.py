"""`python -m pcae`, so that `torchrun -m pcae ...` works."""

from pcae.cli import main

main()
