"""The command line: what is written, what is printed, what is refused."""

import shlex
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from upramp import __version__
from upramp.cli import main

SMALL = ["--subarray", "SUB64P", "--ngroups", "3", "--nints", "1"]


def test_version_and_help(capsys):
    for option, expected in (("--version", f"upramp {__version__}"), ("--help", "simulate")):
        with pytest.raises(SystemExit) as exit_info:
            main([option])
        assert exit_info.value.code == 0
        assert expected in capsys.readouterr().out


def test_help_imports_no_array_library():
    code = "import sys, upramp.cli\nprint('numpy' in sys.modules, 'numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_simulate_writes_everything(tmp_path, capsys):
    assert main(["simulate", str(tmp_path / "out"), *SMALL, "--zero-frame", "--seed", "7"]) == 0
    command = capsys.readouterr().out.splitlines()[-1]
    assignment, program, pipeline, raw = shlex.split(command)
    assert assignment == f"CRDS_PATH={tmp_path / 'out' / 'crds'}"
    assert (program, pipeline) == ("strun", "calwebb_detector1")
    assert fits.getheader(raw)["NGROUPS"] == 3
    assert (tmp_path / "out" / "crds" / "config" / "jwst" / "server_config").is_file()
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {raw.rpartition("/")[2], raw.rpartition("/")[2].replace("uncal", "truth"), "references", "crds"}


def test_nothing_is_overwritten_unasked(tmp_path, capsys):
    assert main(["simulate", str(tmp_path), *SMALL]) == 0
    capsys.readouterr()
    assert main(["simulate", str(tmp_path), *SMALL]) == 1
    assert "exists" in capsys.readouterr().err
    assert main(["simulate", str(tmp_path), *SMALL, "--overwrite"]) == 0


def test_effects_by_option(tmp_path):
    options = ["--no-effects", "--bias-level", "1234", "--window", "11", "21", "24", "16", "--subarray", "GENERIC"]
    assert main(["simulate", str(tmp_path), *SMALL, *options]) == 0
    (raw,) = tmp_path.glob("*_uncal.fits")
    data = fits.getdata(raw)
    assert data.shape == (1, 3, 16, 24)
    assert not data.any()  # --no-effects wins over a size

    assert main(["simulate", str(tmp_path / "sky"), *SMALL, "--no-poisson", "--no-read-noise", "--no-stars"]) == 0
    (raw,) = (tmp_path / "sky").glob("*_uncal.fits")
    assert np.ptp(fits.getdata(raw).astype(int)) > 100


def test_bad_option_says_what_is_expected(tmp_path, capsys):
    assert main(["simulate", str(tmp_path), "--detector", "NRCX"]) == 1
    assert "expected one of NRCA1" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["dance"])


def test_exposures_of_two_detectors_share_a_folder(tmp_path):
    for detector in ("NRCB1", "NRCB2"):
        assert main(["simulate", str(tmp_path), *SMALL, "--detector", detector]) == 0
    assert len(list(tmp_path.glob("*_uncal.fits"))) == 2
    cached = {fits.getheader(path)["DETECTOR"] for path in (tmp_path / "crds").rglob("*mask*.fits")}
    assert cached == {"NRCB1", "NRCB2"}
