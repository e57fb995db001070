"""Tensors that come and go leave their memory to the next ones."""

import subprocess
import sys

import pytest

TENSORS = """
import resource, torch
from pcae.training.allocator import keep_freed_memory

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def new_pages_of_three():
    for _ in range(12):  # the first ones lie side by side, until what is free is large enough for the next
        torch.ones(20_000_000)
    before = pages()
    for _ in range(3):
        torch.ones(20_000_000)
    return pages() - before

left = new_pages_of_three()
keep_freed_memory()
print(left, new_pages_of_three())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_a_large_tensor_gets_the_memory_of_the_one_before():
    """80 MB are 19,532 pages; without the setting each tensor's are new ones."""
    done = subprocess.run([sys.executable, "-c", TENSORS], capture_output=True, check=True)
    left, kept = map(int, done.stdout.split())
    assert left > 3 * 19_000 and kept < 1_000
