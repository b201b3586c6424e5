"""calwebb_image2: from the command line, on models and associations; steps that are not there are refused by name."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.reference.small_exposure import make_small_exposure

from upramp.errors import FileFormatError, UnsupportedModeError
from upramp.framework.strun import main
from upramp.models import CubeModel, ImageModel
from upramp.models.association import Association
from upramp.pipelines import Detector1Pipeline, Image2Pipeline
from upramp.simulate import build_crds_cache, make_image_references

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A small exposure after stage 1 (folder with x_rate.fits and x_rateints.fits), and the references of stage 2."""
    folder = tmp_path_factory.mktemp("image")
    small = make_small_exposure(folder, flat_spread=0.05)
    Detector1Pipeline(save_results=True, output_dir=str(folder), steps=small.steps()).run(str(small.path))
    references = make_image_references(small.config, folder / "references")
    return folder, small, {kind: str(path) for kind, path in references.items()}


def steps(references, **changes):
    kinds = {
        "assign_wcs": ("distortion", "filteroffset"),
        "flat_field": ("flat",),
        "photom": ("photom", "area"),
    }
    pars = {step: {f"override_{kind}": references[kind] for kind in types} for step, types in kinds.items()}
    for step, values in changes.items():
        pars[step] = pars.get(step, {}) | values
    return pars


def options(pars, prefix="--steps"):
    return [f"{prefix}.{step}.{key}={value}" for step, values in pars.items() for key, value in values.items()]


def test_with_an_offline_cache(image, workdir):
    folder, small, references = image
    build_crds_cache(workdir / "crds", [*small.references.values(), *references.values()])
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CRDS_")}
    for name in ("rate", "rateints"):
        command = [sys.executable, "-m", "upramp.framework.strun", "calwebb_image2", str(folder / f"x_{name}.fits")]
        environment["CRDS_PATH"] = str(workdir / "crds")
        subprocess.run(command, env=environment, check=True, capture_output=True)
    with (
        ImageModel("x_cal.fits") as cal,
        CubeModel("x_calints.fits") as calints,
        ImageModel(folder / "x_rate.fits") as r,
    ):
        for product in (cal, calints):
            status = product.meta.cal_step
            assert status.assign_wcs == status.flat_field == status.photom == "COMPLETE"
            assert product.meta.bunit_data == product.meta.bunit_err == "MJy/sr"
            assert product.meta.ref_file.flat.name == "crds://jwst_nircam_flat_0000.fits"
            assert product.meta.ref_file.distortion.name == "crds://jwst_nircam_distortion_0000.asdf"
            assert product.area.shape == product.shape[-2:]
        assert cal.meta.cal_step.resample == "SKIPPED" and cal.meta.cal_step.bkg_subtract is None
        assert calints.meta.cal_step.resample is None and calints.shape[0] == 2
        # The response is undone: what is left of the sky is as even as the noise lets it be.
        good = np.isfinite(cal.data)
        np.testing.assert_allclose(
            cal.data[good], (r.data * 0.45 / small_response(image))[good], rtol=1e-5
        )  # the factor of F444W
        # The pointing: the middle of the image is at the target.
        middle = [(n - 1) / 2 for n in cal.shape[::-1]]
        offset = cal.meta.instrument.filter == "F444W"
        assert offset
        np.testing.assert_allclose(cal.meta.wcs(*middle), (80.0, -69.5), atol=2e-5)
        assert cal.meta.wcsinfo.s_region.startswith("POLYGON ICRS  ")


def small_response(image):
    from upramp.models import FlatModel

    with FlatModel(image[2]["flat"]) as flat:
        return np.where(flat.dq & 2**18, 1, flat.data)


def test_models_are_left_as_they_are(image):
    folder, _, references = image
    rate = ImageModel(folder / "x_rate.fits")
    before = {name: getattr(rate, name).copy() for name in ("data", "err", "dq", "var_poisson", "var_rnoise")}
    (result,) = Image2Pipeline(steps=steps(references)).run(rate)
    assert result.meta.filename == "x_cal.fits" and rate.meta.filename == "x_rate.fits"
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(rate, name), array)
    assert rate.meta.wcs is None and rate.meta.cal_step.flat_field is None and rate.var_flat is None
    assert not list(Path().iterdir())


def test_inverse_undoes(image):
    folder, _, references = image
    (there,) = Image2Pipeline(steps=steps(references)).run(str(folder / "x_rate.fits"))
    undo = steps(references, flat_field={"inverse": True}, photom={"inverse": True}, assign_wcs={"skip": True})
    (back,) = Image2Pipeline(steps=undo).run(there)
    with ImageModel(folder / "x_rate.fits") as rate:
        good = np.isfinite(back.data)
        assert good.sum() > 50
        np.testing.assert_allclose(back.data[good], rate.data[good], rtol=1e-5)
    assert back.meta.bunit_data == "DN/s" and back.meta.cal_step.assign_wcs == "SKIPPED"


def test_association(image, workdir):
    folder, _, references = image
    shutil.copy(folder / "x_rate.fits", "one_rate.fits")
    shutil.copy(folder / "x_rateints.fits", "two_rateints.fits")
    write_association("both_asn.json", ("first", "one_rate.fits"), ("second", "two_rateints.fits"))
    assert main(["calwebb_image2", "both_asn.json", "--output_dir=out", *options(steps(references))]) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["first_cal.fits", "second_calints.fits"]
    with ImageModel("out/first_cal.fits") as cal:
        assert (cal.meta.asn.pool_name, cal.meta.asn.table_name) == ("mine", "both_asn.json")
    with pytest.raises(UnsupportedModeError, match="2 products"):
        Image2Pipeline(output_file="x", steps=steps(references)).run("both_asn.json")


def write_association(path, *products):
    tree = {
        "asn_pool": "mine",
        "products": [
            {"name": name, "members": [{"expname": str(file), "exptype": "science"}]} for name, file in products
        ],
    }
    Path(path).write_text(json.dumps(tree))
    return tree


def test_what_is_not_there_is_refused_by_name(image):
    folder, _, references = image
    rate = str(folder / "x_rate.fits")
    for step in ("resample", "bkg_subtract"):
        with pytest.raises(UnsupportedModeError, match=f"{step}: this step is not implemented"):
            Image2Pipeline(steps=steps(references, **{step: {"skip": False}})).run(rate)
    tree = write_association("asn.json", ("p", rate))
    tree["products"][0]["members"].append({"expname": "b.fits", "exptype": "background"})
    Path("asn.json").write_text(json.dumps(tree))
    with pytest.raises(UnsupportedModeError, match=r"background exposures.*--steps.bkg_subtract.skip=true"):
        Image2Pipeline(steps=steps(references)).run("asn.json")
    pars = steps(references, bkg_subtract={"skip": True})
    assert len(Image2Pipeline.call("asn.json", steps=pars)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not an association"),
        ("[]", "not an association"),
        ('{"products": []}', "no products"),
        ('{"products": [{"name": "a"}]}', "KeyError: 'members'"),
        ('{"products": [{"name": "a", "members": [{"expname": "x.fits"}]}]}', "KeyError: 'exptype'"),
    ],
)
def test_bad_associations(content, message):
    Path("bad.json").write_text(content)
    with pytest.raises(FileFormatError, match=message):
        Association.read("bad.json")


def test_a_product_without_one_science_exposure():
    tree = {"products": [{"name": "a", "members": [{"expname": "x.fits", "exptype": "background"}]}]}
    Path("none.json").write_text(json.dumps(tree))
    with pytest.raises(FileFormatError, match="0 members of exptype science"):
        Image2Pipeline().run("none.json")


def test_ramps_are_refused(image):
    with pytest.raises(TypeError, match="takes an ImageModel or a CubeModel"):
        Image2Pipeline(steps=steps(image[2])).run(str(image[1].path))


def test_the_pipeline_of_the_paper(image, monkeypatch):
    """sloper, wcs, flat: as printed, on the command line and from Python."""
    folder, small, references = image
    monkeypatch.syspath_prepend(str(EXAMPLES))
    shutil.copy(small.path, "input_uncal.fits")
    pars = {"wcs": steps(references)["assign_wcs"], "flat": steps(references)["flat_field"]}
    arguments = [*options(pars), *options(small.steps(), "--steps.sloper.steps")]
    assert main(["sloper_wcs_flat.MyPipeline", "input_uncal.fits", "--output_file=myimage.fits", *arguments]) == 0
    with ImageModel("myimage_mypipeline.fits") as product, ImageModel(folder / "x_rate.fits") as rate:
        good = np.isfinite(product.data)
        np.testing.assert_allclose(product.data[good], (rate.data / small_response(image))[good], rtol=1e-6)
        np.testing.assert_allclose(product.meta.wcs(7.5, 5.5), (80.0, -69.5), atol=2e-5)
        assert product.meta.cal_step.assign_wcs == product.meta.cal_step.flat_field == "COMPLETE"
    from sloper_wcs_flat import MyPipeline

    result = MyPipeline(steps={"sloper": {"steps": small.steps()}, **pars}).run("input_uncal.fits")
    assert result.meta.cal_step.ramp_fit == result.meta.cal_step.flat_field == "COMPLETE"
