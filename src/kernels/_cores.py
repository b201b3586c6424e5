"""How many cores there are to use."""

import os

__all__ = ["available_cores"]


def available_cores():
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS does not bind processes to cores
