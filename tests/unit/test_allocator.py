"""The allocator's settings, seen in processes of their own: they hold for a whole process and for good."""

from __future__ import annotations

import subprocess
import sys

THREADS = """
import ctypes, threading
from edgeseal.adapters import allocator
allocator.share_one_heap()
together = threading.Barrier(4)
def work():
    together.wait()
    kept = [bytes(10_000) for _ in range(10)]
    together.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
ctypes.CDLL(None).malloc_stats()
"""
BLOCKS = """
import resource
from edgeseal.adapters import allocator
allocator.keep_freed(4 << 20, 64 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50): [bytes(135_000) for _ in range(64)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)


def test_threads_have_no_heaps_of_their_own() -> None:
    assert run(THREADS).stderr.count("Arena ") == 1
    assert run(THREADS.replace("allocator.share_one_heap()", "")).stderr.count("Arena ") > 1


def test_what_was_freed_is_used_again() -> None:
    pages = 64 * 135_000 // 4096  # of one round of fifty
    assert int(run(BLOCKS).stdout) < 3 * pages
    assert int(run(BLOCKS.replace("allocator.keep_freed(4 << 20, 64 << 20)", "")).stdout) > 10 * pages
