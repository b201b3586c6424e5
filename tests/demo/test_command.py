"""The command ``upramp demo``, end to end on a small exposure."""

import contextlib
import io
import re

import numpy as np
import pytest
from astropy.io import fits

from upramp.cli import main
from upramp.demo import command
from upramp.demo.measures import Calibration, count_cosmic_rays, measure_slopes
from upramp.demo.picture import choose_ramp
from upramp.demo.strun_run import StrunError, run_strun

SMALL = ["--subarray", "SUB160", "--ngroups", "8"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder of a demo that has run, the stem of its files, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "120")
        patch.setenv("CRDS_CONTEXT", "jwst_0001.pmap")  # must not reach the run
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            assert main(["demo", str(folder), *SMALL]) == 0
    (raw,) = folder.glob("*_uncal.fits")
    return folder, raw.with_name(raw.name.removesuffix("_uncal.fits")), printed.getvalue()


def test_products(demo):
    folder, stem, printed = demo
    for suffix, shape in (("rate", (160, 160)), ("rateints", (2, 160, 160)), ("ramp", (2, 8, 160, 160))):
        path = folder / f"{stem.name}_{suffix}.fits"
        assert f"Product: {path}" in printed
        assert fits.getdata(path, "SCI").shape == shape
    assert fits.getheader(folder / f"{stem.name}_rate.fits")["S_RAMP"] == "COMPLETE"
    assert "Step Detector1Pipeline done" in (folder / "strun.log").read_text()
    assert not list(folder.glob(".*"))


def test_picture(demo):
    from matplotlib.image import imread

    _, stem, printed = demo
    assert f"Picture: {stem}.png" in printed
    picture = imread(f"{stem}.png")
    assert min(picture.shape[:2]) > 500
    assert len(np.unique(picture[..., :3].reshape(-1, 3), axis=0)) > 100


def test_slopes_agree_with_the_truth(demo):
    slopes = measure_slopes(Calibration.read(demo[1]))
    assert slopes.used > 0.99 * 160 * 160
    assert abs(slopes.bias) < max(0.005 * slopes.mean_rate, 5 * slopes.bias_error)
    assert abs(slopes.pull_median) < 0.05
    assert 0.9 < slopes.pull_std < 1.2
    assert 0.9 < slopes.pull_width < 1.2


def test_cosmic_rays_are_found(demo):
    rays = count_cosmic_rays(Calibration.read(demo[1]))
    assert rays.injected >= rays.visible >= rays.clear > 5
    assert rays.completeness > 0.95
    assert rays.false < 3e-4 * rays.samples  # a threshold of 4 sigma on differences from a median of a few


def test_summary_says_what_was_measured(demo):
    printed, calibration = demo[2], Calibration.read(demo[1])
    rays = count_cosmic_rays(calibration)
    assert re.search(rf"cosmic rays injected.*\b{rays.injected}\b", printed)
    assert re.search(rf"found.*\b{rays.found}\b", printed)
    assert re.search(r"calibration.*\d s.*in one pass", printed)
    assert "±" in printed


def test_ramp_of_the_picture_has_one_flag(demo):
    calibration = Calibration.read(demo[1])
    i, group, y, x = choose_ramp(calibration)
    assert list(np.flatnonzero(calibration.groupdq[i, :, y, x])) == [group]


def test_stepwise_gives_the_time_of_every_step_and_the_same_slopes(demo, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main(["demo", str(tmp_path), *SMALL, "--schedule", "stepwise"]) == 0
    printed = capsys.readouterr().out
    for step in ("saturation", "linearity", "jump", "ramp_fit"):
        assert re.search(rf"{step}\b.*\d\.\d\d s", printed)
    assert "pip install matplotlib" in printed
    assert not list(tmp_path.glob("*.png"))
    name = f"{demo[1].name}_rate.fits"
    for extension in ("SCI", "ERR", "DQ"):
        fused, stepwise = (fits.getdata(folder / name, extension) for folder in (demo[0], tmp_path))
        assert fused.tobytes() == stepwise.tobytes()


def test_failure_shows_the_end_of_the_log(tmp_path):
    with pytest.raises(StrunError, match=r"status 1; its log is .*strun\.log(.|\n)*missing_uncal\.fits"):
        run_strun(["jump", str(tmp_path / "missing_uncal.fits")], tmp_path, tmp_path / "strun.log")
    assert "missing_uncal.fits" in (tmp_path / "strun.log").read_text()


def test_bad_option(tmp_path, capsys):
    assert main(["demo", str(tmp_path), "--subarray", "SUB1"]) == 1
    assert "expected one of" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
