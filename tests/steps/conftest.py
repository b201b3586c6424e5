"""A small exposure, an empty folder to work in, and no CRDS."""

import pytest
from tests.reference.small_exposure import make_small_exposure

from upramp.models import RampModel


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A small exposure; the files are not to be changed."""
    return make_small_exposure(tmp_path_factory.mktemp("exposure"))


@pytest.fixture
def ramp(small):
    """The exposure as a ramp."""
    return RampModel(small.path)


@pytest.fixture(autouse=True)
def workdir(tmp_path, monkeypatch):
    """The current folder, empty; CRDS is out of reach."""
    monkeypatch.delenv("CRDS_SERVER_URL", raising=False)
    monkeypatch.setenv("CRDS_PATH", str(tmp_path / "no-crds-here"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
