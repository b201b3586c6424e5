"""A small exposure, an empty folder to work in, and no CRDS."""

import pytest
from tests.reference.small_exposure import make_small_exposure


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A small exposure; the files are not to be changed."""
    return make_small_exposure(tmp_path_factory.mktemp("exposure"))


@pytest.fixture(scope="session")
def small_zeroframe(tmp_path_factory):
    """The same with a ZEROFRAME."""
    return make_small_exposure(tmp_path_factory.mktemp("zeroframe"), zero_frame=True)


@pytest.fixture(autouse=True)
def workdir(tmp_path, monkeypatch):
    """The current folder, empty; CRDS is out of reach."""
    for name in ("CRDS_SERVER_URL", "CRDS_CONTEXT", "STPIPE_DISABLE_CRDS_STEPPARS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CRDS_PATH", str(tmp_path / "no-crds-here"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
