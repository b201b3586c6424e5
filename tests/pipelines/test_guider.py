"""calwebb_guider on the real acquisition of a guide star, without CRDS."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from upramp.errors import ShapeError, UnsupportedModeError
from upramp.framework.strun import main
from upramp.models import FlatModel, GainModel, GuiderCalModel, GuiderRawModel, Level1bModel, MaskModel, ReadnoiseModel
from upramp.pipelines import GuiderPipeline
from upramp.steps import DQInitStep, FlatFieldStep, GuiderCdsStep

EXPOSURE = Path(__file__).parents[1] / "data" / "jw01019001001_gs-acq1_2022117003102_uncal.fits"
SIDE = 128


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """Names of references by type: they begin four pixels before the exposure."""
    folder = tmp_path_factory.mktemp("references")
    rng = np.random.default_rng(4)
    frame = (SIDE + 4, SIDE + 4)
    models = {
        "mask": MaskModel((rng.random(frame) < 0.01).astype(np.uint32)),
        "gain": GainModel(rng.uniform(1.5, 1.9, frame).astype(np.float32)),
        "readnoise": ReadnoiseModel(rng.uniform(8, 12, frame).astype(np.float32)),
        "flat": FlatModel(rng.uniform(0.9, 1.1, frame).astype(np.float32)),
    }
    for name, model in models.items():
        model.meta.instrument = {"name": "FGS", "detector": "GUIDER2"}
        model.meta.subarray = {"xstart": 883, "ystart": 1018, "xsize": frame[1], "ysize": frame[0]}
        model.save(folder / f"{name}.fits")
    return {name: str(folder / f"{name}.fits") for name in models}


@pytest.fixture
def steps(references):
    """Parameters of the steps."""
    kinds = {"dq_init": ("mask",), "guider_cds": ("gain", "readnoise"), "flat_field": ("flat",)}
    return {step: {f"override_{kind}": references[kind] for kind in of_step} for step, of_step in kinds.items()}


def test_by_alias(steps, workdir):
    options = [f"--steps.{step}.{key}={value}" for step, pars in steps.items() for key, value in pars.items()]
    assert main(["calwebb_guider", str(EXPOSURE), f"--output_dir={workdir}", *options]) == 0
    (path,) = workdir.glob("*.fits")
    assert path.name == EXPOSURE.name.replace("_uncal", "_cal")
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "ERR", "DQ", "ASDF"]
        assert hdus["SCI"].shape == hdus["ERR"].shape == (6, SIDE, SIDE) and hdus["DQ"].shape == (SIDE, SIDE)
        header = hdus[0].header
        assert (header["DATAMODL"], hdus["SCI"].header["BUNIT"]) == ("GuiderCalModel", "DN/s")
        assert {header[key] for key in ("S_DQINIT", "S_GUICDS", "S_FLAT")} == {"COMPLETE"}
        assert header["R_FLAT"].endswith("flat.fits")


def test_numbers(steps, references):
    result = GuiderPipeline(steps=steps).run(str(EXPOSURE))
    raw = fits.getdata(EXPOSURE, "SCI").astype(np.float32)
    flat = FlatModel(references["flat"]).data[4:, 4:]
    expected = (raw[:, 1] - raw[:, 0]) / np.float32(0.364) / flat
    np.testing.assert_allclose(result.data, expected, rtol=1e-6)
    np.testing.assert_array_equal(result.dq, MaskModel(references["mask"]).dq[4:, 4:])
    assert (result.err > 0).all()


def test_a_model_is_left_alone_and_raw_models_are_taken(steps):
    for model in (Level1bModel(EXPOSURE), GuiderRawModel(EXPOSURE)):
        before = model.data.copy()
        result = GuiderPipeline(steps=steps).run(model)
        assert isinstance(result, GuiderCalModel)
        np.testing.assert_array_equal(model.data, before)
        assert model.meta.cal_step.dq_init is None
    with_skips = {"dq_init": {"skip": True}, "guider_cds": {"skip": True}, "flat_field": steps["flat_field"]}
    again = GuiderPipeline(steps=with_skips).run(result)
    assert again.meta.cal_step.flat_field == "COMPLETE" and again.meta.cal_step.guider_cds == "SKIPPED"


@pytest.mark.parametrize(
    ("step", "key", "reason"),
    [
        ("dq_init", "mask", "No MASK"),
        ("guider_cds", "gain", "No GAIN"),
        ("guider_cds", "readnoise", "No READNOISE"),
        ("flat_field", "flat", "No FLAT"),
    ],
)
def test_without_reference_the_step_says_so(steps, caplog, step, key, reason):
    steps[step][f"override_{key}"] = "N/A"
    if step == "guider_cds":
        steps["flat_field"] = {"skip": True}
    result = GuiderPipeline(steps=steps).run(str(EXPOSURE))
    assert result.meta.cal_step[step] == "SKIPPED" and reason in caplog.text


def test_flats_of_spectra_may_be_named_in_parameters(references, steps):
    rates = GuiderCdsStep(**steps["guider_cds"]).run(str(EXPOSURE))
    named = dict.fromkeys(("override_fflat", "override_sflat", "override_dflat"), "N/A")
    result = FlatFieldStep(**steps["flat_field"], **named).run(rates)
    assert result.meta.cal_step.flat_field == "COMPLETE"
    np.testing.assert_array_equal(result.data, FlatFieldStep(**steps["flat_field"]).run(rates).data)


def test_flat_of_the_user(references, steps, caplog):
    rates = GuiderCdsStep(**steps["guider_cds"]).run(str(EXPOSURE))
    same = FlatFieldStep(user_supplied_flat=references["flat"]).run(rates)
    np.testing.assert_array_equal(same.data, FlatFieldStep(**steps["flat_field"]).run(rates).data)
    assert same.meta.ref_file.flat.name == "flat.fits"
    small = FlatModel(np.ones((8, 8), np.float32))
    small.save("small.fits")
    skipped = FlatFieldStep(user_supplied_flat="small.fits").run(rates)
    assert skipped.meta.cal_step.flat_field == "SKIPPED" and "smaller than the exposure" in caplog.text
    np.testing.assert_array_equal(skipped.data, rates.data)


def test_stacked_strips_get_the_mean_of_references(references, tmp_path):
    raw = GuiderRawModel(np.full((2, 2, 20, 30), 100, np.float32))
    raw.data[:, 1] += 50
    raw.meta.exposure.type, raw.meta.exposure.group_time = "FGS_ID-STACK", 2.0
    raw.meta.instrument.name = "FGS"
    raw.meta.subarray = {"xstart": 1, "ystart": 1, "xsize": 30, "ysize": 20}
    overrides = {f"override_{kind}": references[kind] for kind in ("gain", "readnoise")}
    result = GuiderCdsStep(**overrides).run(raw)
    gain, noise = GainModel(references["gain"]).data.mean(), ReadnoiseModel(references["readnoise"]).data.mean()
    np.testing.assert_allclose(result.err, np.sqrt(2 * (noise / 2) ** 2 + 50 / (gain * 2)), rtol=1e-6)


def test_refusals(steps, references):
    raw = GuiderRawModel(EXPOSURE)
    raw.meta.exposure.type = "FGS_IMAGE"
    with pytest.raises(UnsupportedModeError, match="EXP_TYPE is FGS_IMAGE; guider_cds takes FGS_ID-IMAGE"):
        GuiderCdsStep(**steps["guider_cds"]).run(raw)
    with pytest.raises(TypeError, match="got a GuiderRawModel. Expected an ImageModel, CubeModel or GuiderCalModel"):
        FlatFieldStep(**steps["flat_field"]).run(raw)
    short = GuiderRawModel(raw.data[:, :1])
    short.update(GuiderRawModel(EXPOSURE))
    with pytest.raises(ShapeError, match="needs 2 groups"):
        GuiderCdsStep(**steps["guider_cds"]).run(short)


def test_flags_of_the_user(steps, workdir):
    flags = np.zeros((SIDE, SIDE), np.uint32)
    flags[3, 4] = 2048
    fits.PrimaryHDU(flags).writeto("mine.fits")
    result = DQInitStep(**steps["dq_init"], user_supplied_dq="mine.fits").run(str(EXPOSURE))
    assert isinstance(result, GuiderRawModel) and result.dq[3, 4] & 2048
