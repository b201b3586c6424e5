"""The exposures that ``pytest benchmarks`` measures; the folder with them is kept between runs."""

import pytest

from .shapes import DEFAULT_CACHE, prepare

MODES = ("nircam_full_2x10", "nircam_sub160_4x7", "nircam_tso_120x5")


def pytest_addoption(parser):
    parser.addoption("--benchmark-cache", default=DEFAULT_CACHE, help="folder for exposures and references")


@pytest.fixture(scope="session")
def cases(request):
    """Cases by name, all with one CRDS cache."""
    return prepare(MODES, request.config.getoption("--benchmark-cache"))


@pytest.fixture(params=MODES)
def case(request, cases):
    """One case after the other."""
    return cases[request.param]
