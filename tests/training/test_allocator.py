"""Tensors that come and go leave their memory to the next ones."""

import subprocess
import sys

import pytest

TENSORS = """
import resource, sys, torch
from pcae.training.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def new_pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(12):  # the first ones lie side by side, until what is free is large enough for the next
    torch.ones(20_000_000)
before = new_pages()
for _ in range(3):
    torch.ones(20_000_000)
print(new_pages() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_a_large_tensor_gets_the_memory_of_the_one_before():
    """80 MB are 19,532 pages; without the setting each tensor's are new ones."""
    pages = {
        word: int(subprocess.run([sys.executable, "-c", TENSORS, word], capture_output=True, check=True).stdout)
        for word in ("keep", "leave")
    }
    assert pages["leave"] > 3 * 19_000 and pages["keep"] < 1_000
