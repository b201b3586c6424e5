"""How the tests are shared out when several processes run them (``pytest -n 2 --dist loadgroup``)."""

import pytest

# Costly runs of both pipelines, which tests of several files look at.
SHARED_RUNS = ("small_runs", "full_runs", "miri_runs", "snowball_runs")


@pytest.hookimpl(tryfirst=True)  # xdist looks at the groups in the same hook
def pytest_collection_modifyitems(items):
    """Tests that share runs stay in one process, and so do those of a file, which share its fixtures."""
    for item in items:
        shared = [name for name in SHARED_RUNS if name in getattr(item, "fixturenames", ())]
        item.add_marker(pytest.mark.xdist_group(shared[0] if shared else str(item.path)))
