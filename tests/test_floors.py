"""Imports only go down."""

import os
import subprocess
import sys
from pathlib import Path


def test_imports_only_go_down():
    """import-linter knows the floors from pyproject.toml."""
    linter = Path(sys.executable).parent / "lint-imports"
    root = Path(__file__).parents[1]
    done = subprocess.run([linter, "--no-cache"], cwd=root, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_public_names_are_there():
    import pcae

    for name in pcae.__all__:
        assert getattr(pcae, name).__doc__
