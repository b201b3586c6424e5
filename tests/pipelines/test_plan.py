"""Plans of a run: what they say, and the same run again, here and elsewhere, from nothing but the plan."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

from upramp.cli import main


def _command(capsys, *arguments, status=0):
    try:
        found = main([str(argument) for argument in arguments])
    except SystemExit as stop:
        found = stop.code
    captured = capsys.readouterr()
    assert found == status, captured.out + captured.err
    return captured.out


def _words(text):
    return " ".join(text.split())


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A simulated exposure with its offline CRDS cache, and the plan and products that a process made there."""
    folder = tmp_path_factory.mktemp("simulated")
    assert main(["simulate", str(folder), "--subarray", "SUB64P", "--nints", "1", "--ngroups", "4"]) == 0
    (raw,) = folder.glob("*_uncal.fits")
    code = f"""
import sys
from upramp.cli import main
from upramp.framework import strun
options = ["--steps.jump.rejection_threshold=5", "--log-level=warning"]
status = main(["plan", {raw.name!r}, *options, "--save", "plan.json"])
sys.exit(status or strun.main(["calwebb_detector1", {raw.name!r}, *options]))
"""
    environment = os.environ | {"CRDS_PATH": str(folder / "crds")}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return raw, done.stdout


def test_what_a_plan_says(simulated):
    raw, text = simulated
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0].startswith("upramp.pipelines.Detector1Pipeline 'Detector1Pipeline' of upramp")
    pars = "CRDS jwst_nircam_pars-detector1pipeline_0000.asdf"
    assert f"ipc skip skip=True ({pars})" in lines
    assert "reset skip not for this exposure" in lines
    assert lines.index("jump run") < lines.index("ramp_fit run") < lines.index("gain_scale run")
    assert "steps.jump.rejection_threshold = 5.0 (command line)" in lines
    assert any(line.startswith("gain: ") and "(CRDS) sha256" in line for line in lines)
    assert lines[-2:] == [raw.name.replace("uncal", "rate"), raw.name.replace("uncal", "rateints")]
    tree = json.loads((raw.parent / "plan.json").read_text())
    assert tree["parameters"]["steps"]["ipc"]["skip"] == {"value": True, "origin": pars}
    assert {one["type"] for one in tree["references"]} >= {"mask", "dark", "gain"}
    assert all(len(one["sha256"]) == 64 for one in tree["references"])


@pytest.fixture
def elsewhere(simulated, workdir):
    """Another folder with the plan, the exposure and the references, which CRDS_PATH does not reach."""
    raw, _ = simulated
    for path in (raw, raw.parent / "plan.json", *(raw.parent / "crds" / "references" / "jwst" / "nircam").iterdir()):
        shutil.copy(path, workdir)
    tree = json.loads(Path("plan.json").read_text())
    for one in tree["references"]:
        one["path"] = one["path"].replace(str(raw.parent), "/another/machine")
    Path("plan.json").write_text(json.dumps(tree))
    return workdir


def test_replay_elsewhere_makes_the_same_products(simulated, elsewhere, capsys):
    raw, _ = simulated
    _command(capsys, "run-plan", "plan.json", raw.name, "--output_dir=out", "--log-level=warning")
    for kind in ("rate", "rateints"):
        name = raw.name.replace("uncal", kind)
        difference = fits.FITSDiff(raw.parent / name, f"out/{name}", ignore_keywords=["DATE"], ignore_hdus=["ASDF"])
        assert difference.identical, difference.report()
    assert fits.getval(f"out/{name}", "R_GAIN") == "crds://jwst_nircam_gain_0000.fits"


def test_references_that_changed_or_are_gone_are_listed_before_any_work(simulated, elsewhere, capsys):
    raw, _ = simulated
    with Path("jwst_nircam_gain_0000.fits").open("ab") as file:
        file.write(b"x")
    Path("jwst_nircam_dark_0000.fits").unlink()
    text = _words(_command(capsys, "run-plan", "plan.json", raw.name, status=1))
    assert "ERROR RUNNING STEP 'Detector1Pipeline': References of the plan are missing or have changed: dark: " in text
    joined = text.replace(" ", "")  # the box breaks long paths
    assert "jwst_nircam_dark_0000.fitsismissing" in joined and "jwst_nircam_gain_0000.fitshaschanged(sha256" in joined
    assert "usage" not in text and not list(elsewhere.glob("*_rate*"))


def test_another_exposure(simulated, elsewhere, capsys):
    raw, _ = simulated
    with fits.open(raw.name) as hdus:
        hdus["SCI"].data[0, -1] += 1
        hdus.writeto("other_uncal.fits")
    _command(capsys, "run-plan", "plan.json", "other_uncal.fits", "--log-file=log", "--output_dir=out")
    assert "is not the exposure that the plan was made for" in Path("log").read_text()
    tree = json.loads(Path("plan.json").read_text())
    tree["input"]["path"] = str(elsewhere / "other_uncal.fits")
    Path("plan.json").write_text(json.dumps(tree))
    assert "has changed since the plan was made" in _words(_command(capsys, "run-plan", "plan.json", status=1))
    Path("other_uncal.fits").unlink()
    assert "does not exist" in _words(_command(capsys, "run-plan", "plan.json", status=1))


@pytest.mark.parametrize("kind", ["json", "yaml", "asdf"])
def test_references_by_hand(small, capsys, kind):
    text = _command(capsys, "plan", small.path, *small.options(), "--save", f"p.{kind}", "--disable-crds-steppars")
    assert f"mask: {small.references['mask']}  (override of Detector1Pipeline.dq_init)  sha256 " in text
    _command(capsys, "run-plan", f"p.{kind}", "--steps.jump.skip=true", "--save-parameters=q.asdf")
    assert "skip: true" in Path("q.asdf").read_text()
    with fits.open(small.path.name.replace("uncal", "rate")) as hdus:
        assert hdus[0].header["R_MASK"] == str(small.references["mask"]) and hdus[0].header["S_JUMP"] == "SKIPPED"


def test_a_plan_lists_what_is_missing(small, capsys):
    text = _command(capsys, "plan", small.path, "calwebb_detector1", "--save", "p.yaml", status=255)
    assert "gain: MISSING: CRDS is not set up" in text and "Missing reference files for NIRCAM" in text
    options = [option for option in small.options() if "override_dark" not in option]
    missing = ["--steps.dark_current.override_dark=gone.fits"]
    text = _command(capsys, "plan", small.path, "calwebb_detector1", *options, *missing, status=1)
    assert "dark: MISSING:" in text and "gain: MISSING" not in text
    text = _command(capsys, "run-plan", "p.yaml", small.path, status=1)
    assert "Missing reference files" in text


def test_what_is_no_plan(small, capsys):
    Path("a.cfg").write_text("class = jump\n")
    assert main(["run-plan", "a.cfg"]) == 1 and "is not a plan" in capsys.readouterr().err
    assert main(["run-plan", "gone.json"]) == 1 and "does not exist" in capsys.readouterr().err
    for content, message in [
        ('{"upramp_plan": ', "damaged plan"),
        ('{"upramp_plan": 1, "class": "jump"}', "damaged plan, without a proper name, software, input"),
        ('{"upramp_plan": 7}', "this version of upramp reads 1"),
        ("upramp_plan: [", "damaged plan"),
    ]:
        Path("b.json").write_text(content)
        assert main(["run-plan", "b.json"]) == 1 and message in capsys.readouterr().err
    assert "saved as .json, .yaml or .asdf" in _command(
        capsys, "plan", small.path, *small.options(), "--save", "p.txt", status=1
    )
