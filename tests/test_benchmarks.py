"""The small benchmark runs, its report and table are complete, and a regression is noticed; further sections, small."""

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


def test_sections_that_are_not_measured_again_stay(quick, tmp_path):
    """``--only`` replaces its sections in the report, and keeps the others with their date."""
    earlier = quick[0] | {"date": "2001-02-03T04:05:06+00:00"}
    output = tmp_path / "quick.json"
    output.write_text(json.dumps(earlier))
    command = [sys.executable, "-m", "benchmarks", "--quick", "--no-peer", "--repeats", "1", "--cache", str(quick[2])]
    done = subprocess.run(
        [*command, "--output", str(output), "--only", "chain"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(output.read_text())
    assert list(report["sections"]) == list(earlier["sections"])
    dates = {name: section.get("date") for name, section in report["sections"].items()}
    assert dates == {"pipeline": earlier["date"], "chain": None, "kernels": earlier["date"]}
    assert report["sections"]["kernels"]["rows"] == earlier["sections"]["kernels"]["rows"]
    assert report["sections"]["chain"]["rows"] != earlier["sections"]["chain"]["rows"]
    assert report["date"] > earlier["date"]
    done = subprocess.run([*command, "--only", "large"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--quick has no section large; it has pipeline, chain, kernels" in done.stderr


def test_date_of_earlier_sections(quick, table):
    report = json.loads(json.dumps(quick[0]))
    report["sections"]["kernels"]["date"] = "2001-02-03T04:05:06+00:00"
    assert table.markdown(report).count("(measured 2001-02-03)") == 1


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


@pytest.fixture(scope="module")
def further(tmp_path_factory):
    """Callable: rows of the function of a section on small modes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        from benchmarks import report, shapes

        small = (
            shapes.Mode("few", "SUB160", 2, 6, snowballs=3),
            shapes.Mode("many", "SUB160", 4, 6, simulated=2, snowballs=3),
            shapes.Mode("mid", "SUB64", 3, 12, detector="MIRIMAGE", showers=1),
            shapes.Mode("waves", "SUB64", 2, 10, detector="MIRIMAGE", emi=8.0),
            shapes.Mode("slits", "SUB512", 1, 4, detector="NRS1"),
        )
        for mode in small:
            patch.setitem(shapes.MODES, mode.name, mode)
        folder = tmp_path_factory.mktemp("further")
        sessions = {}

        def rows(section, *arguments, peer="none"):
            if peer not in sessions:
                sessions[peer] = report.Session([mode.name for mode in small], folder, 1, peer, 1)
            return list(getattr(report, section)(sessions[peer], *arguments))

        yield rows


def test_large_events(further):
    rows = further("large_events", ("few", "many"), "mid")
    assert [(row.measure, row.mode) for row in rows] == [
        ("kernel jump, snowballs", "few"),
        ("kernel jump, showers", "mid"),
        ("file to files, snowballs", "few"),
        ("strun, snowballs", "few"),
        ("strun, snowballs", "many"),
    ]
    assert rows[0].note == "6 found" and int(rows[1].note.split()[0]) > 0
    assert all(row.seconds > 0 and row.floor > 0 and row.peer is None for row in rows)
    assert rows[-1].peak > rows[-1].peak_anonymous > 0
    assert rows[-1].note.endswith("x the peak of few")


def test_instruments(further):
    whole, command, longer = further("instruments", ("mid",), ("mid",))
    assert (whole.measure, command.measure, longer.measure) == ("file to files", "strun", "strun")
    assert command.peak_anonymous > 0 and command.peer_peak is None


def test_optional_steps(further):
    rows = further("optional_steps", ("waves",), "few", ("slits",))
    assert [row.measure for row in rows] == [
        "step emicorr", "step emicorr, sequential", "step charge_migration", "step persistence",
        "step clean_flicker_noise, median", "step clean_flicker_noise, fft",
    ]  # fmt: skip
    assert all(row.seconds > 0 and row.floor > 0 and row.peer is None for row in rows)


def test_fits_with_the_peer(further):
    pytest.importorskip("jwst", reason="the peer is not installed")
    rows = further("fits", "few", peer="run")
    assert [row.measure for row in rows] == [
        "likelihood fit", "Casertano fit, without jumps", "Casertano fit, with jumps",
    ]  # fmt: skip
    assert all(row.peer > 0 and row.peer_ratio == row.peer / row.seconds and row.peer_peak >= 0 for row in rows)


def test_parameters_of_a_variant(table, tmp_path):
    from benchmarks import ours, shapes

    mode = shapes.Mode("short", "SUB64P", 2, 3)
    case = shapes.Case(mode, tmp_path / "short_uncal.fits", tmp_path, tmp_path)
    assert case.name == "short" and case.steps == {} and len(ours.strun_command(case)) == 6
    variant = case.as_variant("likelihood")
    assert variant.name == "short likelihood"
    assert ours.strun_command(variant)[-2:] == ["--steps.jump.skip=True", "--steps.ramp_fit.algorithm=LIKELY"]


def test_showers_of_a_mode(table):
    """They are there, stay in the integration, and are the same each time."""
    from benchmarks import shapes

    data = np.full((2, 6, 80, 90), 1000, np.uint16)
    shapes._add_showers(data, 0)
    assert (data == 1000).all()
    shapes._add_showers(data, 3)
    assert (data[:, 0] == 1000).all() and data.max() > 1000 + shapes.SHOWER_LEVEL // 2
    assert (np.diff(data.astype(int), axis=1) >= 0).all()
    again = np.full_like(data, 1000)
    shapes._add_showers(again, 3)
    np.testing.assert_array_equal(again, data)
