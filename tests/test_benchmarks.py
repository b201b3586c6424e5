"""The small benchmark runs, its report and table are complete, and a regression is noticed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from upramp.models import RampModel
from upramp.simulate import SimulationConfig, simulate_exposure, write_exposure

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """(report, what was printed, cache folder) of a quick run without the peer."""
    folder = tmp_path_factory.mktemp("benchmarks")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--no-peer", "--repeats", "1", "--cache", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "quick.json").read_text()), done.stdout, folder


@pytest.fixture
def table(monkeypatch):
    """The module that makes tables; the folder of the benchmarks is not installed."""
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import table

    return table


def test_report(quick):
    report, printed, _ = quick
    rows = [row for section in report["sections"].values() for row in section["rows"]]
    measured = {row["measure"] for row in rows}
    assert {"file to files", "chain, arrays to arrays", "kernel jump", "kernel ramp_fit"} <= measured
    for row in rows:
        assert row["seconds"] > 0 and row["floor"] > 0 and row["peak"] >= 0
        assert row["floor_ratio"] == row["seconds"] / row["floor"]
        assert row["peer"] is None and row["peer_ratio"] is None
        assert f"{row['measure']} | {row['mode']}" in printed
    assert report["machine"]["cores"] >= 1


def test_readme_table(quick, table, tmp_path):
    report = quick[0]
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    table.write_readme(page, report)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith(f"{table.END}\nafter\n") and "old" not in text
    assert text.count("| kernel ") == 8
    page.write_text("nothing")
    with pytest.raises(ValueError, match="has no lines"):
        table.write_readme(page, report)
    assert page.read_text() == "nothing"


def test_regressions(quick, table):
    report = quick[0]
    recorded = table.ratios(report)
    assert table.regressions(report, recorded) == []
    what = "kernel jump, nircam_tso_4x5"
    recorded[what]["floor_ratio"] /= 2
    (line,) = table.regressions(report, recorded)
    assert line.startswith(f"{what}: floor ratio is")


def test_repeated_integrations(table, tmp_path):
    """An exposure made longer by repetition is read like any other."""
    from benchmarks.shapes import Mode, _repeat_integrations

    mode = Mode("short", "SUB64P", 2, 3)
    assert mode.config == SimulationConfig(nints=2, ngroups=3, subarray="SUB64P", star_count=40)
    source = write_exposure(simulate_exposure(mode.config), tmp_path / "short_uncal.fits")
    long = tmp_path / "long_uncal.fits"
    _repeat_integrations(source, long, Mode("long", "SUB64P", 5, 3, simulated=2))
    short_ramp, long_ramp = RampModel(str(source)), RampModel(str(long))
    assert long_ramp.shape == (5, 3, 64, 64)
    assert long_ramp.meta.exposure.nints == 5 and len(long_ramp.int_times) == 5
    np.testing.assert_array_equal(long_ramp.data, short_ramp.data[[0, 1, 0, 1, 0]])
    assert [path.name for path in tmp_path.iterdir() if "skeleton" in path.name] == []
