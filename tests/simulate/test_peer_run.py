"""The peer's pipeline calibrates a simulated exposure: references from the cache, rates that agree with the truth."""

import os
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

pytest.importorskip("jwst", reason="the peer is not installed")

_RUN = """
import sys
from jwst.pipeline import Detector1Pipeline
Detector1Pipeline.call(sys.argv[1], save_results=True, output_dir=sys.argv[2])
"""


@pytest.mark.parity
def test_rates_agree_with_the_truth(simulated, tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CRDS_")}
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(simulated.raw), str(tmp_path)],
        env=environment | {"CRDS_PATH": str(simulated.cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    log = done.stdout + done.stderr
    assert done.returncode == 0, log
    assert "WARNING" not in log and "ERROR" not in log, log
    with fits.open(tmp_path / "x_rate.fits") as hdus:
        header, rate, error, dq = hdus[0].header, hdus["SCI"].data, hdus["ERR"].data, hdus["DQ"].data
    for reftype, keyword in (("mask", "R_MASK"), ("dark", "R_DARK"), ("gain", "R_GAIN"), ("linearity", "R_LINEAR")):
        assert header[keyword] == "crds://" + simulated.names[str(simulated.references[reftype])]
    assert header["S_IPC"] == "SKIPPED"
    assert header["S_RAMP"] == "COMPLETE"
    truth = simulated.exposure.truth
    good = (dq == 0) & (truth.maps.dq == 0) & (truth.saturation_group.min(axis=0) == simulated.config.ngroups)
    pull = (rate - truth.rate)[good] / error[good]
    assert good.mean() > 0.95
    assert abs(np.median(pull)) < 0.05
    assert 0.95 < pull.std() < 1.08
    hits = truth.cosmic_rays[truth.cosmic_rays["primary"] & (truth.cosmic_rays["group"] > 0)]
    large = hits[hits["charge"] > 30 * simulated.config.read_noise]
    found = (dq[large["y"], large["x"]] & 4) != 0
    assert found.mean() > 0.8
