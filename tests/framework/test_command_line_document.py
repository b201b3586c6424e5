"""Every command of docs/command_line.md, in one process, for the CRDS client remembers the first cache it sees."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from upramp.cli import main

DOCUMENT = Path(__file__).parents[2] / "docs" / "command_line.md"

RUNNER = """
import contextlib, io, json, shlex, sys, traceback
from upramp import cli
from upramp.framework import strun

results = []
for line in json.load(sys.stdin):
    program, *arguments = shlex.split(line)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = {"strun": strun.main, "upramp": cli.main}[program](arguments)
        except SystemExit as stop:
            status = stop.code
    results.append([line, status, out.getvalue(), err.getvalue()])
json.dump(results, sys.stdout)
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Folder, and the outcome of every command: {line: (status, output, log)}."""
    folder = tmp_path_factory.mktemp("document")
    assert main(["simulate", str(folder), "--subarray", "SUB64P", "--nints", "1", "--ngroups", "4"]) == 0
    next(folder.glob("*_uncal.fits")).rename(folder / "x_uncal.fits")
    next((folder / "references").glob("*_gain.fits")).rename(folder / "gain.fits")
    text = DOCUMENT.read_text()
    for name, content in re.findall(r"^```ini\n# (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        (folder / name).write_text(content)
    lines = [line for block in re.findall(r"^```bash\n(.*?)^```$", text, re.M | re.S) for line in block.splitlines()]
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps(lines), capture_output=True, text=True, cwd=folder, timeout=300,
        env={"CRDS_PATH": str(folder / "crds"), **_environment()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, {line: outcome for line, *outcome in json.loads(done.stdout)}


def _environment():
    import os

    return {name: value for name, value in os.environ.items() if not name.startswith(("CRDS_", "STPIPE_"))}


def test_all_commands_succeed(results):
    _, outcomes = results
    assert len(outcomes) > 15
    assert {line: outcome for line, outcome in outcomes.items() if outcome[0] != 0} == {}


def test_files_that_they_make(results):
    folder, _ = results
    for name in (
        "x_rate.fits", "x_rateints.fits", "products/x_rate.fits", "flagged_dqinitstep.fits", "x_ramp.fits",
        "used.asdf", "plan.json", "again/x_rate.fits", "x_dqinitstep.fits",
    ):  # fmt: skip
        assert (folder / name).is_file(), name


def test_values_and_origins_are_as_the_text_says(results):
    folder, outcomes = results
    shown = next(out for line, (_, out, _) in outcomes.items() if line.startswith("upramp describe my.cfg"))
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "rejection_threshold float, min=0 sigma 4.5 (default 4.0) * command line Threshold for a jump" in lines
    assert any(
        line.startswith("expand_large_events boolean True (default False) * config_file jump.cfg") for line in lines
    )
    assert any(line.startswith("save_calibrated_ramp boolean True (default False) * file my.cfg") for line in lines)
    shown = outcomes["upramp describe calwebb_detector1 x_uncal.fits"][1]
    assert "CRDS jwst_nircam_pars-detector1pipeline_0000.asdf" in shown
    assert "rejection_threshold: 4.5" in (folder / "used.asdf").read_text()
