"""The real client selects the simulated references, with nothing but CRDS_PATH set."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from astropy.io import fits

from upramp.errors import ReferenceFileError
from upramp.simulate import SimulationConfig, build_crds_cache, make_references
from upramp.simulate.crds_cache import OTHER_TYPES

_QUESTION = """
import json, sys
import crds
print(json.dumps([
    crds.getreferences(parameters, reftypes=types, observatory="jwst") for parameters, types in json.load(sys.stdin)
]))
"""


def ask_client(cache, questions):
    """Answers of the real client, from a process that has only CRDS_PATH set."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CRDS_")}
    done = subprocess.run(
        [sys.executable, "-c", _QUESTION],
        input=json.dumps(questions),
        env=environment | {"CRDS_PATH": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # The client misses the peer where that is not installed.
    expected = 1 if find_spec("jwst") is None else 0
    assert done.stderr.lower().count("warning") == done.stderr.count("Calibration SW not found") == expected
    return json.loads(done.stdout.splitlines()[-1])


def parameters(config):
    return {
        "meta.instrument.name": "NIRCAM",
        "meta.instrument.detector": config.detector,
        "meta.instrument.filter": "F444W",
        "meta.subarray.name": config.subarray,
        "meta.exposure.readpatt": config.readpatt,
        "meta.exposure.noutputs": config.outputs,
        "meta.exposure.type": config.exposure_type,
        "meta.visit.tsovisit": False,
        "meta.observation.date": "2024-03-01",
        "meta.observation.time": "12:00:00.000",
    }


def test_selection(tmp_path):
    """Files of a subarray before those of the full frame; N/A for what is not there."""
    small = SimulationConfig(subarray="SUB64P", ngroups=2)
    other = replace(small, detector="NRCB1")
    references = make_references(small, tmp_path / "references")
    whole = make_references(other, tmp_path / "whole")
    for reftype in ("mask", "gain", "superbias"):
        # Only the keywords matter to the rules.
        fits.setval(whole[reftype], "SUBARRAY", value="FULL")
    both = make_references(other, tmp_path / "both")["mask"]
    names = build_crds_cache(tmp_path / "crds", [*references.values(), *whole.values(), both], link=True)
    absent = [*OTHER_TYPES, "ipc", "pars-jumpstep"]
    answers = ask_client(
        tmp_path / "crds",
        [
            (parameters(small), list(references)),
            (parameters(other), ["mask", "gain", "superbias", "dark"]),
            (parameters(replace(other, subarray="FULL")), ["mask", "gain"]),
            (parameters(small), absent),
        ],
    )
    selected = [{reftype: Path(path).name for reftype, path in answer.items()} for answer in answers]
    assert selected[0] == {reftype: names[str(path)] for reftype, path in references.items()}
    assert selected[1] == {"mask": names[str(both)]} | {
        reftype: names[str(whole[reftype])] for reftype in ("gain", "superbias", "dark")
    }
    assert selected[2] == {reftype: names[str(whole[reftype])] for reftype in ("mask", "gain")}
    assert set(answers[3]) == set(absent)
    assert all("N/A" in path.upper() for path in answers[3].values())


def test_types_that_only_some_readouts_have(tmp_path):
    """A folder for both readouts of NIRSpec: refpix is N/A for the traditional one."""
    path = tmp_path / "refpix.fits"
    fits.PrimaryHDU().writeto(path)
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.update({"REFTYPE": "REFPIX", "INSTRUME": "NIRSPEC", "DETECTOR": "NRS1"})
        hdus[0].header.update({"READPATT": "NRSIRS2RAPID", "USEAFTER": "2022-01-01T00:00:00"})
    names = build_crds_cache(tmp_path / "crds", [path])
    one = {
        "meta.instrument.name": "NIRSPEC",
        "meta.instrument.detector": "NRS1",
        "meta.observation.date": "2024-03-01",
        "meta.observation.time": "12:00:00.000",
    }
    questions = [(one | {"meta.exposure.readpatt": pattern}, ["refpix"]) for pattern in ("NRSIRS2RAPID", "NRSRAPID")]
    irs2, traditional = ask_client(tmp_path / "crds", questions)
    assert Path(irs2["refpix"]).name == names[str(path)]
    assert "N/A" in traditional["refpix"].upper()


def test_two_files_for_the_same_exposure(tmp_path):
    config = SimulationConfig(subarray="SUB64P", ngroups=2)
    first = make_references(config, tmp_path / "a")["gain"]
    second = make_references(config, tmp_path / "b")["gain"]
    with pytest.raises(ReferenceFileError, match="both match"):
        build_crds_cache(tmp_path / "crds", [first, second])


def test_files_that_no_rule_can_be_made_of(tmp_path):
    path = tmp_path / "x.fits"
    fits.PrimaryHDU().writeto(path)
    with pytest.raises(ReferenceFileError, match="REFTYPE, INSTRUME, USEAFTER"):
        build_crds_cache(tmp_path / "crds", [path])
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.update({"REFTYPE": "TSOPHOT", "INSTRUME": "NIRCAM", "USEAFTER": "2022-01-01T00:00:00"})
    with pytest.raises(ReferenceFileError, match="'tsophot'"):
        build_crds_cache(tmp_path / "crds", [path])
