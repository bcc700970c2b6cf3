"""Memory: large tables from the system's allocator instead of Arrow's own, which asks for huge pages."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa


@contextmanager
def plain_memory() -> Iterator[None]:
    """Let Arrow take memory from the system's allocator within the block.

    Its own allocator asks for huge pages. Where memory is scattered the system makes them by moving others, which took longer than reading and deciding
    together; and what its own allocator has once held it keeps.
    """
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)
