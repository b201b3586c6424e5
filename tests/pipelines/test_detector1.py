"""The pipeline: which schedule it takes and why, what it saves, what it leaves alone."""

import functools
import logging
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import asdf
import numpy as np
import pytest
from astropy.io import fits
from tests.reference.small_exposure import make_small_exposure

from upramp.errors import ConfigError, UnsupportedModeError
from upramp.models import RampModel
from upramp.pipelines import Detector1Pipeline
from upramp.simulate import Window, build_crds_cache
from upramp.steps.jump import JumpStep


def arrays_of(path):
    """Arrays of a file by HDU."""
    with fits.open(path) as hdus:
        return {hdu.name: np.array(hdu.data) for hdu in hdus if hdu.data is not None and hdu.name != "ASDF"}


def assert_same_bits(first, second):
    one, other = arrays_of(first), arrays_of(second)
    assert list(one) == list(other)
    for name in one:
        assert one[name].tobytes() == other[name].tobytes(), name


def changed_reference(small, folder, reftype, change):
    path = Path(shutil.copy(small.references[reftype], folder / f"{reftype}.fits"))
    with fits.open(path, mode="update") as hdus:
        change(hdus)
    return str(path)


@pytest.fixture
def run(small, workdir, caplog):
    """Run the pipeline with the references of the small exposure; the log is in ``caplog``."""

    def run(data=None, steps=None, **pars):
        caplog.set_level(logging.INFO, logger="upramp")
        pars = {"steps": small.steps(**(steps or {})), "save_results": True, "configure_log": False} | pars
        return Detector1Pipeline.call(str(small.path) if data is None else data, **pars)

    return run


class SecondHalfBad(JumpStep):
    """What a user may make of a step: its result is changed."""

    def process(self, data):
        ramp = super().process(data)
        ramp.groupdq[:, 2:] |= 1
        return ramp


def _subclass(pipeline, monkeypatch):
    pipeline.jump = SecondHalfBad(name="jump", parent=pipeline, **_given(pipeline.jump))


def _replaced_process(pipeline, monkeypatch):
    pipeline.jump.process = functools.partial(SecondHalfBad.process, SecondHalfBad(**_given(pipeline.jump)))


def _replaced_run(pipeline, monkeypatch):
    run = pipeline.jump.run

    @functools.wraps(run)
    def with_bad_groups(data):
        ramp = run(data)
        ramp.groupdq[:, 2:] |= 1
        return ramp

    pipeline.jump.run = with_bad_groups


def _patched_class(pipeline, monkeypatch):
    process = JumpStep.process

    @functools.wraps(process)
    def with_bad_groups(self, data):
        ramp = process(self, data)
        ramp.groupdq[:, 2:] |= 1
        return ramp

    monkeypatch.setattr(JumpStep, "process", with_bad_groups)


def _given(step):
    return {"override_gain": step.override_gain, "override_readnoise": step.override_readnoise}


@pytest.mark.parametrize("change", [_subclass, _replaced_process, _replaced_run, _patched_class])
def test_changed_steps_are_what_runs(small, workdir, monkeypatch, caplog, change):
    caplog.set_level(logging.INFO, logger="upramp")
    pipeline = Detector1Pipeline(steps=small.steps())
    plain = pipeline.run(str(small.path))
    change(pipeline, monkeypatch)
    caplog.clear()
    changed = pipeline.run(str(small.path))
    assert "() of jump is not that of upramp)" in caplog.text
    assert changed.meta.cal_step.jump == "COMPLETE"
    hook = Detector1Pipeline(steps=small.steps(jump={"post_hooks": [_flag_second_half]}))
    monkeypatch.undo()
    expected = hook.run(str(small.path))
    np.testing.assert_array_equal(changed.data, expected.data)
    assert not np.array_equal(changed.data, plain.data, equal_nan=True)


def _flag_second_half(ramp):
    ramp.groupdq[:, 2:] |= 1


def test_a_changed_step_that_is_skipped_changes_no_schedule(small, workdir, caplog):
    caplog.set_level(logging.INFO, logger="upramp")

    class Changed(Detector1Pipeline):
        step_defs = Detector1Pipeline.step_defs | {"jump": SecondHalfBad}

    Changed.call(str(small.path), steps=small.steps(jump={"skip": True}), configure_log=False)
    assert "fused pass done" in caplog.text


def test_a_file_takes_the_fused_schedule(run, workdir, caplog):
    result = run()
    assert "Schedule: fused" in caplog.text
    assert sorted(path.name for path in workdir.iterdir()) == ["x_rate.fits", "x_rateints.fits"]
    assert result.meta.filename == "x_rate.fits"
    np.testing.assert_array_equal(result.data, fits.getdata("x_rate.fits", "SCI"))


def test_the_ramp_keeps_what_belongs_to_the_exposure(run, small, workdir):
    """Headers, tables and HDUs of one's own are the same in both schedules; the factor of the gain comes after it."""
    gain = changed_reference(small, workdir, "gain", lambda hdus: hdus[0].header.update(GAINFACT=2.0))
    exposure = Path(shutil.copy(small.path, workdir / "odd_uncal.fits"))
    model = RampModel()
    model.msa_targ_acq_table = model.get_default("msa_targ_acq_table")
    stars = fits.BinTableHDU(np.zeros(2, model.msa_targ_acq_table.dtype), name="MSA_TARG_ACQ")
    stars.header["NUMREFST"] = 2
    fits.append(exposure, stars.data, stars.header)
    steps = {"ramp_fit": {"override_gain": gain}, "gain_scale": {"override_gain": gain}, "jump": {"skip": True}}
    for own in (False, True):
        if own:
            fits.append(exposure, np.arange(6.0), fits.Header({"EXTNAME": "MINE"}))
        for schedule in ("auto", "stepwise"):
            run(str(exposure), steps, schedule=schedule, output_dir=schedule, save_calibrated_ramp=True)
        with fits.open("auto/odd_ramp.fits") as one, fits.open("stepwise/odd_ramp.fits") as other:
            assert [hdu.name for hdu in one] == [hdu.name for hdu in other]
            assert ("MINE" in one) == own and one["MSA_TARG_ACQ"].header["NUMREFST"] == 2
            assert "GAINFACT" not in one[0].header and "R_GAIN" not in one[0].header
            for first, second in zip(one, other, strict=True):
                names = {*first.header, *second.header} - {"DATE", "", "COMMENT"}
                if first.name != "ASDF":
                    assert [first.header.get(k) for k in names] == [second.header.get(k) for k in names], first.name
        with fits.open("auto/odd_rate.fits") as hdus:
            assert hdus[0].header["S_GANSCL"] == "COMPLETE" and hdus[0].header["R_GAIN"] == gain


@pytest.mark.parametrize(
    ("steps", "pars", "reason"),
    [
        ({}, {"schedule": "stepwise"}, "as asked for"),
        ({"jump": {"save_results": True}}, {}, "the result of jump is to be saved"),
        ({"linearity": {"output_file": "mine.fits"}}, {}, "the result of linearity is to be saved"),
        ({"superbias": {"post_hooks": ["true"]}}, {}, "superbias has hooks"),
        ({"ramp_fit": {"firstgroup": 1}}, {}, "ramp_fit uses part of the groups"),
        ({"ramp_fit": {"skip": True}}, {}, "ramp_fit is skipped"),
        ({"jump": {"find_showers": True}}, {}, "jump looks for showers"),
        ({"ramp_fit": {"save_opt": True}}, {}, "details of the fit are to be saved"),
    ],
    ids=["asked", "save_results", "output_file", "hooks", "firstgroup", "no-fit", "showers", "save_opt"],
)
def test_why_stepwise(run, caplog, steps, pars, reason):
    run(steps=steps, **pars)
    assert f"Schedule: stepwise ({reason})" in caplog.text
    if "schedule" not in pars:
        with pytest.raises(UnsupportedModeError, match=f"schedule=fused is not possible: {reason}"):
            run(steps=steps, schedule="fused")


@pytest.mark.parametrize(
    ("steps", "pars"),
    [({"ramp_fit": {"suppress_one_group": False}}, {}), ({}, {"save_calibrated_ramp": True})],
    ids=["single-groups", "ramp"],
)
def test_zeroframe_is_needed(small_zeroframe, caplog, steps, pars):
    caplog.set_level(logging.INFO, logger="upramp")
    Detector1Pipeline.call(str(small_zeroframe.path), steps=small_zeroframe.steps(**steps), configure_log=False, **pars)
    assert "Schedule: stepwise (the ZEROFRAME is needed)" in caplog.text


def test_zeroframe_is_needed_where_a_ramp_is_one_group(tmp_path, caplog):
    """Nothing is suppressed then: pixels that saturate in the only group have the slope of the ZEROFRAME."""
    caplog.set_level(logging.INFO, logger="upramp")
    changes = {"readpatt": "MEDIUM8", "ngroups": 1, "star_flux": (1e8, 1e9), "zero_frame": True}
    exposure = make_small_exposure(tmp_path, **changes)
    rate = Detector1Pipeline.call(str(exposure.path), steps=exposure.steps(), configure_log=False)
    assert "Schedule: stepwise (the ZEROFRAME is needed)" in caplog.text
    with RampModel(exposure.path) as ramp:
        del ramp.zeroframe
        without = Detector1Pipeline.call(ramp, steps=exposure.steps(), configure_log=False)
    rescued = np.isnan(without.data) & ~np.isnan(rate.data)
    assert rescued.any()
    assert np.all(rate.data[rescued] > 0)
    np.testing.assert_array_equal(rate.data[~rescued], without.data[~rescued])


def test_zeroframe_is_needed_by_the_likelihood_of_averaged_groups(small_zeroframe, tmp_path, caplog):
    """A first group of a single read is not split."""
    caplog.set_level(logging.INFO, logger="upramp")
    averaged = make_small_exposure(tmp_path / "averaged", zero_frame=True, readpatt="SHALLOW4")
    for exposure, schedule in ((averaged, "stepwise (the ZEROFRAME is needed)"), (small_zeroframe, "fused")):
        caplog.clear()
        steps = exposure.steps(ramp_fit={"algorithm": "LIKELY"})
        rate = Detector1Pipeline.call(str(exposure.path), steps=steps, configure_log=False)
        assert f"Schedule: {schedule}" in caplog.text
        assert np.isfinite(rate.data).any()


def test_a_model_in_memory_stays_as_it_is(run, small, caplog):
    ramp = RampModel(small.path)
    ramp.data = ramp.data + 0
    before = ramp.data.copy()
    result = run(ramp)
    assert "Schedule: stepwise (the input is not a raw exposure on disk)" in caplog.text
    np.testing.assert_array_equal(ramp.data, before)
    assert not ramp.groupdq.any() and ramp.meta.cal_step.dq_init is None
    from_file = run(small.path)
    np.testing.assert_array_equal(result.data, from_file.data)


def test_schedules_agree_bit_by_bit(run):
    for schedule in ("fused", "stepwise"):
        run(schedule=schedule, output_dir=schedule, save_calibrated_ramp=True)
    for name in ("x_rate.fits", "x_rateints.fits", "x_ramp.fits"):
        assert_same_bits(Path("fused", name), Path("stepwise", name))
    with fits.open("fused/x_rate.fits") as fused, fits.open("stepwise/x_rate.fits") as stepwise:
        different = {"DATE"}
        headers = [
            [card for card in hdus[0].header.cards if card.keyword not in different] for hdus in (fused, stepwise)
        ]
        assert list(map(str, headers[0])) == list(map(str, headers[1]))


LARGE_EVENTS = {"window": Window(945, 945, 64, 48), "snowballs": 2, "snowball_radius": 3.0}


@pytest.mark.parametrize("schedule", ["fused", "stepwise"])
def test_large_events(tmp_path, workdir, schedule):
    """Counts and flags; group flags of so many integrations are in a file of their own between the passes."""
    small = make_small_exposure(tmp_path / "exposure", nints=6, **LARGE_EVENTS)
    for name, large in (("with", True), ("without", False)):
        steps = small.steps(jump={"expand_large_events": large, "edge_size": 5})
        pars = {"schedule": schedule, "save_results": True, "output_dir": name, "configure_log": False}
        Detector1Pipeline.call(str(small.path), steps=steps, **pars)
        ramp = pars | {"output_dir": f"{name}-ramp", "save_calibrated_ramp": True}
        Detector1Pipeline.call(str(small.path), steps=steps, **ramp)
        for kind in ("rate", "rateints"):
            assert_same_bits(f"{name}/x_{kind}.fits", f"{name}-ramp/x_{kind}.fits")
    assert sorted(path.name for path in Path("with").iterdir()) == ["x_rate.fits", "x_rateints.fits"]
    headers = {name: fits.getheader(f"{name}/x_rate.fits") for name in ("with", "without")}
    assert headers["with"]["EXTNCRS"] > headers["without"]["EXTNCRS"] == 0
    assert headers["with"]["PRIMECRS"] == headers["without"]["PRIMECRS"] > 0
    flags = {name: fits.getdata(f"{name}-ramp/x_ramp.fits", "GROUPDQ") for name in ("with", "without")}
    assert np.count_nonzero(flags["with"] & 4) > np.count_nonzero(flags["without"] & 4)


def test_large_events_agree_bit_by_bit(tmp_path, workdir):
    small = make_small_exposure(tmp_path / "exposure", nints=3, **LARGE_EVENTS)
    for schedule in ("fused", "stepwise"):
        steps = small.steps(jump={"expand_large_events": True, "edge_size": 5})
        pars = {"save_results": True, "save_calibrated_ramp": True, "output_dir": schedule, "configure_log": False}
        Detector1Pipeline.call(str(small.path), steps=steps, schedule=schedule, **pars)
    for kind in ("rate", "rateints", "ramp"):
        assert_same_bits(f"fused/x_{kind}.fits", f"stepwise/x_{kind}.fits")
    counts = [fits.getheader(f"{schedule}/x_rate.fits")["EXTNCRS"] for schedule in ("fused", "stepwise")]
    assert counts[0] == counts[1] > 0


def test_likelihood_in_both_schedules(run, workdir, caplog):
    likely = {"ramp_fit": {"algorithm": "LIKELY"}}
    for schedule in ("fused", "stepwise"):
        run(schedule=schedule, steps=likely, output_dir=schedule)
    for name in ("x_rate.fits", "x_rateints.fits"):
        assert_same_bits(Path("fused", name), Path("stepwise", name))
    run(steps={"ramp_fit": {"algorithm": "LIKELY", "save_opt": True}}, output_dir="details")
    names = sorted(path.name for path in Path("details").iterdir())
    assert names == ["x_likely_chisq.fits", "x_rate.fits", "x_rateints.fits"]
    assert_same_bits(Path("fused", "x_rate.fits"), Path("details", "x_rate.fits"))


def test_charge_migration_in_both_schedules(run):
    steps = {"charge_migration": {"skip": False, "signal_threshold": 300.0}}
    for schedule in ("fused", "stepwise"):
        run(schedule=schedule, output_dir=schedule, save_calibrated_ramp=True, steps=steps)
    for name in ("x_rate.fits", "x_rateints.fits", "x_ramp.fits"):
        assert_same_bits(Path("fused", name), Path("stepwise", name))
    assert fits.getheader("fused/x_rate.fits")["S_CHGMIG"] == "COMPLETE"
    flagged = fits.getdata("fused/x_ramp.fits", "GROUPDQ") & 128 != 0
    assert 0.01 < flagged.mean() < 0.9


def test_persistence_in_both_schedules(run, workdir):
    steps = {"persistence": {"skip": False, "persistence_time": 20, "dn_threshold": 300.0}}
    for schedule in ("fused", "stepwise"):
        steps["persistence"]["save_persistence"] = f"{schedule}.asdf"
        run(schedule=schedule, output_dir=schedule, save_calibrated_ramp=True, steps=steps)
    for name in ("x_rate.fits", "x_rateints.fits", "x_ramp.fits"):
        assert_same_bits(Path("fused", name), Path("stepwise", name))
    assert fits.getheader("fused/x_rate.fits")["S_PERSIS"] == "COMPLETE"
    assert 0.01 < (fits.getdata("fused/x_ramp.fits", "GROUPDQ") & 32 != 0).mean() < 0.9
    times = []
    for schedule in ("fused", "stepwise"):
        with asdf.open(f"{schedule}.asdf", memmap=False, lazy_load=False) as file:
            times.append(file["NRCBLONG"])
    np.testing.assert_equal(times[0], times[1])
    assert len(times[0]["rows"]) > 0


def test_fused_in_memory(run, workdir):
    rate = run(save_results=False, schedule="fused")
    assert list(workdir.iterdir()) == []
    run(schedule="stepwise")
    np.testing.assert_array_equal(rate.data, fits.getdata("x_rate.fits", "SCI"))


def test_result_of_a_sub_step_is_saved(run, workdir):
    run(steps={"jump": {"save_results": True}, "dark_current": {"output_dir": "d", "save_results": True}})
    assert sorted(path.name for path in workdir.iterdir()) == ["d", "x_jump.fits", "x_rate.fits", "x_rateints.fits"]
    header = fits.getheader("x_jump.fits")
    assert (header["S_JUMP"], header["S_DARK"], header.get("S_RAMP")) == ("COMPLETE", "COMPLETE", None)
    assert fits.getheader("d/x_dark_current.fits")["S_DARK"] == "COMPLETE"


def test_hook_replaces_the_ramp(run, tmp_path, monkeypatch):
    (tmp_path / "hooks_of_a_test.py").write_text(
        "def double(model):\n    model.data = 2 * model.data\n    return model\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plain = run(save_results=False)
    doubled = run(save_results=False, steps={"jump": {"post_hooks": ["hooks_of_a_test.double"]}})
    good = (plain.dq == 0) & (doubled.dq == 0)
    assert good.sum() > 50
    # Not exactly twice: integrations with jumps are combined with the weights of the brighter source.
    assert np.median(doubled.data[good] / plain.data[good]) == pytest.approx(2, rel=1e-3)


@pytest.mark.parametrize("schedule", ["fused", "stepwise"])
def test_status_of_every_step_is_recorded(run, schedule):
    run(schedule=schedule, steps={"superbias": {"skip": True}})
    header = fits.getheader("x_rate.fits")
    skipped = {"S_GRPSCL", "S_IPC", "S_SUPERB", "S_CHGMIG", "S_PCTFRM", "S_CLNFNS", "S_PERSIS", "S_GANSCL"}
    complete = {"S_DQINIT", "S_SATURA", "S_REFPIX", "S_LINEAR", "S_DARK", "S_JUMP", "S_RAMP"}
    assert {key: header.get(key) for key in skipped} == dict.fromkeys(skipped, "SKIPPED")
    assert {key: header.get(key) for key in complete} == dict.fromkeys(complete, "COMPLETE")


def test_without_ramp_fit_the_result_is_the_ramp(run, workdir):
    result = run(steps={"ramp_fit": {"skip": True}})
    assert isinstance(result, RampModel)
    assert [path.name for path in workdir.iterdir()] == ["x_ramp.fits"]
    header = fits.getheader("x_ramp.fits")
    assert (header["S_RAMP"], header["S_GANSCL"]) == ("SKIPPED", "SKIPPED")


def test_every_pixel_unusable_is_done_step_by_step(run, small, tmp_path, caplog):
    """A group that nobody can use changes the fit of all pixels; the fused pass notices it at the end only."""

    def change(hdus):
        del hdus["DQ_DEF"]  # without a table the flags are the standard ones
        hdus["DQ"].data[:] |= 1

    mask = changed_reference(small, tmp_path, "mask", change)
    result = run(steps={"dq_init": {"override_mask": mask}})
    assert "Starting again step by step" in caplog.text
    assert np.isnan(result.data).all()
    assert (result.dq & 1).all()
    assert sorted(path.name for path in Path().iterdir()) == ["x_rate.fits", "x_rateints.fits"]


def test_everything_saturated_from_the_start_gives_no_product(run, small, tmp_path, workdir, caplog):
    def change(hdus):
        hdus["SCI"].data[:] = 1
        hdus["DQ"].data[:] = 0

    saturation = changed_reference(small, tmp_path, "saturation", change)
    result = run(steps={"saturation": {"override_saturation": saturation}})
    assert result is None
    assert "No ramp can be fitted" in caplog.text
    assert list(workdir.iterdir()) == []


def test_pixelwise_ipc_is_done_step_by_step(run, small, tmp_path, caplog):
    path = tmp_path / "ipc.fits"
    kernel = np.zeros((3, 3, 12, 16), np.float32)
    kernel[1, 1] = 1
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(kernel, name="SCI")])
    hdus[0].header.update(DATAMODL="IPCModel", REFTYPE="IPC", INSTRUME="NIRCAM")
    hdus.writeto(path)
    result = run(steps={"ipc": {"skip": False, "override_ipc": str(path)}})
    assert "every pixel has an IPC kernel of its own" in caplog.text
    assert result.meta.cal_step.ipc == "COMPLETE"
    np.testing.assert_array_equal(result.data, run().data)


PARAMETERS = """
name = "Detector1Pipeline"
class = "upramp.pipelines.Detector1Pipeline"
[steps]
  [[emicorr]]
    skip = True
  [[reset]]
  [[lastframe]]
    skip = False
  [[persistence]]
    skip = True
    persistence_time = 2000
  [[charge_migration]]
    skip = {skip}
    signal_threshold = 20000
"""


def test_parameter_files_may_name_every_step(run, tmp_path):
    path = tmp_path / "pars.cfg"
    for skip, status in ((True, "SKIPPED"), (False, "COMPLETE")):
        path.write_text(PARAMETERS.format(skip=skip))
        run(config_file=str(path))
        assert fits.getheader("x_rate.fits")["S_CHGMIG"] == status
    path.write_text(PARAMETERS.format(skip=True).replace("persistence_time", "persistence_tim"))
    with pytest.raises(ConfigError, match="persistence_tim"):
        run(config_file=str(path))


_COUNTED = """
import sys
import crds
from upramp.pipelines import Detector1Pipeline
questions, ask = [], crds.getrecommendations
crds.getrecommendations = lambda *args, **keywords: questions.append(keywords["reftypes"]) or ask(*args, **keywords)
Detector1Pipeline.call(sys.argv[1], schedule=sys.argv[2], steps={"ipc": {"skip": True}}, save_results=True)
print([any(name.startswith("pars-") for name in types) for types in questions])
"""


@pytest.mark.parametrize("schedule", ["fused", "stepwise"])
@pytest.mark.parametrize("changes", [{}, {"detector": "MIRIMAGE"}], ids=["NIRCam", "MIRI"])
def test_crds_is_asked_for_parameters_and_for_references_and_no_more(tmp_path, workdir, changes, schedule):
    """What the steps write into the metadata does not make it another exposure."""
    small = make_small_exposure(tmp_path, **changes)
    build_crds_cache(workdir / "crds", small.references.values())
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CRDS_")}
    command = [sys.executable, "-c", _COUNTED, str(small.path), schedule]
    environment["CRDS_PATH"] = str(workdir / "crds")
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[True, False]"


_WITHOUT_LINUX = """
import mmap, os, sys
del os.sched_getaffinity, os.posix_fallocate, mmap.MADV_HUGEPAGE, mmap.MADV_NOHUGEPAGE
from upramp.framework.strun import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems are without these anyway")
def test_without_what_only_linux_has(run, small, workdir):
    run()
    for name in ("rate", "rateints"):
        Path(f"x_{name}.fits").rename(f"{name}.fits")
    command = [sys.executable, "-c", _WITHOUT_LINUX, "calwebb_detector1", str(small.path), *small.options()]
    subprocess.run(command, check=True, capture_output=True)
    for name in ("rate", "rateints"):
        assert_same_bits(f"{name}.fits", f"x_{name}.fits")


def test_several_exposures_at_once_are_refused(run, small):
    with pytest.raises(TypeError, match=r"Input must be a file path or a model; Detector1Pipeline got a list"):
        run([str(small.path)])


def test_results_of_processes_come_back(small, workdir):
    pars = {"steps": small.steps(), "save_results": True, "configure_log": False}
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result = pool.apply(Detector1Pipeline.call, (str(small.path),), pars)
    np.testing.assert_array_equal(result.data, fits.getdata("x_rate.fits", "SCI"))


def test_steps_of_the_reference_pipeline_may_be_members(small, workdir, caplog):
    caplog.set_level(logging.INFO)
    theirs = pytest.importorskip("jwst.refpix", reason="the peer is not installed").RefPixStep

    class Mixed(Detector1Pipeline):
        step_defs = Detector1Pipeline.step_defs | {"refpix": theirs}

    mixed = Mixed.call(str(small.path), steps=small.steps(), configure_log=False)
    ours = Detector1Pipeline.call(str(small.path), steps=small.steps(), schedule="stepwise", configure_log=False)
    assert "process() of refpix is not that of upramp" in caplog.text
    assert mixed.meta.cal_step.refpix == "COMPLETE"
    np.testing.assert_allclose(mixed.data, ours.data, rtol=1e-6)
    np.testing.assert_array_equal(mixed.dq, ours.dq)
