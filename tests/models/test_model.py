"""Attributes, arrays, copies, updates."""

import copy
import pickle

import numpy as np
import pytest
from astropy.io import fits

from upramp import models
from upramp.errors import InvalidMetadataError, MissingKeywordError, ShapeError


def test_construction():
    assert models.RampModel((1, 2, 3, 4)).data.shape == (1, 2, 3, 4)
    assert models.SaturationModel((3, 4)).data[0, 0] == 100000
    assert models.RampModel().shape is None
    model = models.ImageModel(np.zeros((3, 4), ">f8"), dq=np.ones((3, 4), "i8"))
    assert model.data.dtype == np.float32
    assert model.data.dtype.isnative
    assert model.dq.dtype == np.uint32
    assert models.ImageModel({"meta": {"filename": "x.fits"}}).meta.filename == "x.fits"
    with pytest.raises(TypeError, match="cannot be made from a list"):
        models.ImageModel([1, 2])
    with pytest.raises(TypeError, match="no primary array"):
        models.RampFitOutputModel((1, 2))


def test_an_array_that_a_model_does_not_have_is_kept_in_memory(tmp_path, caplog):
    """As with the reference's models: the ramp had an err once, which scripts still give."""
    model = models.RampModel(data=np.ones((1, 2, 3, 4)), err=np.full((1, 2, 3, 4), 5.0))
    assert "RampModel has no array 'err'" in caplog.text
    assert model.err[0, 1, 2, 3] == 5
    model.save(tmp_path / "x.fits")
    with fits.open(tmp_path / "x.fits") as hdus:
        assert "ERR" not in hdus


def test_flags_given_with_their_table_are_translated():
    rows = np.array([(0, 1, "DO_NOT_USE", ""), (1, 2, "DEAD", "")], models.MaskModel().get_dtype("dq_def"))
    model = models.MaskModel(dq=np.array([[0, 1], [2, 3]]), dq_def=rows)
    np.testing.assert_array_equal(model.dq, [[0, 1], [1024, 1025]])


def test_scalars():
    model = models.RampModel()
    exposure = model.meta.exposure
    assert exposure.nints is None
    exposure.nints = np.int16(4)
    assert type(model.meta.exposure.nints) is int
    assert model["meta.exposure.nints"] == 4
    model["meta.exposure.ngroups"] = 5
    assert exposure.ngroups == 5
    with pytest.raises(AttributeError, match="No attribute 'nosuch'"):
        _ = exposure.nosuch
    with pytest.raises(KeyError):
        _ = model["meta.nosuch"]
    assert not hasattr(exposure, "nosuch")
    assert hasattr(exposure, "frame_time")
    assert not exposure.hasattr("frame_time")
    exposure.nints = None
    assert exposure.nints is None
    del exposure.ngroups
    assert exposure.ngroups is None
    with pytest.raises(AttributeError):
        del exposure.ngroups


def test_invalid_values_warn_and_leave_the_old_one():
    model = models.RampModel()
    model.meta.instrument.detector = "NRCA1"
    with pytest.warns(models.ValidationWarning, match="'NRCX'"):
        model.meta.instrument.detector = "NRCX"
    assert model.meta.instrument.detector == "NRCA1"


def test_free_attributes():
    model = models.RampModel()
    model.meta.mine = {"a": 1, "b": {"c": [1, {"d": 2}]}}
    assert model.meta.mine.b.c[1]["d"] == 2
    assert model["meta.mine.b.c.0"] == 1
    model.cal_logs = {}
    assert getattr(model, "cal_logs", None) is not None
    model.cal_logs["jump"] = ["one", "two"]
    assert model.cal_logs.jump == ["one", "two"]
    assert "jump" in model.cal_logs
    assert dict(model.cal_logs.items()) == {"jump": ["one", "two"]}
    flat = model.to_flat_dict()
    assert flat["meta.mine.b.c.1.d"] == 2
    assert flat["cal_logs.jump.1"] == "two"
    model.cal_logs = None
    with pytest.raises(AttributeError):
        _ = model.cal_logs


def test_arrays_are_checked_when_set():
    model = models.RampModel((1, 2, 3, 4))
    with pytest.raises(ShapeError, match=r"data has 3 dimensions; expected 4; its shape is \(1, 2, 3\)"):
        model.data = np.zeros((1, 2, 3))
    with pytest.raises(ValueError, match="dimensions"):
        model.pixeldq = np.zeros(3)
    model.pixeldq = np.full((3, 4), -1)
    assert model.pixeldq[0, 0] == 2**32 - 1
    image = models.ImageModel((3, 4))
    with pytest.raises(ShapeError, match="at most 3"):
        image.var_poisson = np.zeros((1, 1, 3, 4))


def test_arrays_are_compared_when_saved(tmp_path):
    model = models.RampModel((1, 2, 3, 4))
    model.pixeldq = np.zeros((1, 1))
    with pytest.raises(ShapeError, match=r"pixeldq has shape \(1, 1\), that is 1 along the row axis; data has 3"):
        model.save(tmp_path / "x.fits")
    assert list(tmp_path.iterdir()) == []


def test_tables_are_cast():
    model = models.CubeModel((2, 3, 4))
    names = [name.upper() for name in model.get_dtype("int_times").names]
    rows = np.zeros(2, [(name, "f4") for name in reversed(names)])
    rows["INTEGRATION_NUMBER"] = [1, 2]
    model.int_times = rows
    assert model.int_times.dtype == model.get_dtype("int_times")
    assert list(model.int_times["integration_number"]) == [1, 2]
    with pytest.raises(ShapeError, match="has the columns"):
        model.int_times = rows[names[:3]]


def test_metadata_are_a_mapping_of_paths():
    peer = pytest.importorskip("stdatamodels.jwst.datamodels")
    ours, theirs = models.ImageModel((2, 2)), peer.ImageModel((2, 2))
    for model in (ours, theirs):
        model.meta.date = "2026-01-01T00:00:00.000"
        model.meta.instrument.name = "MIRI"
        model.meta.exposure.read_times = [[1, 2], [3]]
    assert dict(ours.meta.items()) == dict(theirs.meta.items())
    assert sorted(ours.meta) == sorted(theirs.meta) == sorted(ours.meta.keys())
    assert dict(ours.meta)["exposure.read_times"] == [[1, 2], [3]]
    assert ours.meta.wcsinfo and theirs.meta.wcsinfo  # groups are there, if empty
    assert len(ours.meta) == 4 and "MIRI" in ours.meta.values()
    assert ours.meta["instrument.name"] == "MIRI"


@pytest.mark.parametrize("touch", [False, True])
def test_models_of_files_are_pickled_with_their_contents(uncal, tmp_path, touch):
    model = models.open(uncal)
    with fits.open(model.save(tmp_path / "x_uncal.fits"), mode="append") as hdus:
        hdus.append(fits.CompImageHDU(np.arange(600.0).reshape(20, 30), name="MORE"))
        hdus[0].header["MYKEY"] = 5
    model = models.open(tmp_path / "x_uncal.fits")
    if touch:
        model.data[0, 0, 0, 0] = 77
    pickled = pickle.dumps(model)
    model.save(tmp_path / "expected.fits")
    (tmp_path / "x_uncal.fits").unlink()
    again = pickle.loads(pickled)
    assert type(again) is models.Level1bModel
    assert (again.data[0, 0, 0, 0] == 77) == touch
    again.save(tmp_path / "again.fits")
    ignored = {"ignore_keywords": ["FILENAME", "DATE"], "ignore_hdus": ["ASDF"]}
    assert fits.FITSDiff(tmp_path / "expected.fits", tmp_path / "again.fits", **ignored).identical


def test_the_name_of_a_saved_file_is_text(tmp_path):
    assert models.ImageModel((2, 2)).save(tmp_path / "x_rate.fits") == str(tmp_path / "x_rate.fits")


def test_columns_are_attributes_of_tables(uncal, tmp_path):
    for model in (models.open(uncal), models.open(models.RampModel(uncal).save(tmp_path / "x_ramp.asdf"))):
        rows = model.int_times
        np.testing.assert_array_equal(rows.int_start_MJD_UTC, rows["int_start_MJD_UTC"])
        np.testing.assert_array_equal(rows.field("int_end_MJD_UTC"), rows["int_end_MJD_UTC"])
        assert rows[0].integration_number == rows["integration_number"][0]
        rows.integration_number[:] = 7  # the model's own table
        assert set(model.int_times["integration_number"]) == {7}
        assert rows.names == rows.columns.names == list(rows.dtype.names) and "int_mid_MJD_UTC" in rows.columns.names
        assert rows[:1].columns["integration_number"].format == "J"


def test_columns_of_tables_with_text_and_arrays():
    rows = models.NrcImgPhotomModel(phot_table=[("F200W", "CLEAR", 1.5, 0.1)]).phot_table
    assert rows.columns.names == rows.names == ["filter", "pupil", "photmjsr", "uncertainty"]
    assert models.RampModel().get_default("int_times").columns.names[0] == "integration_number"


def test_defaults():
    model = models.RampModel((2, 3, 4, 5))
    assert model.get_default("zeroframe").shape == (2, 4, 5)
    assert model.get_default("pixeldq").shape == (4, 5)
    assert model.get_dtype("groupdq") == np.uint8
    assert len(model.get_default("int_times")) == 0
    model.int_times = np.zeros(3)
    assert model.int_times["int_start_MJD_UTC"].tolist() == [0, 0, 0]
    assert model.zeroframe is None
    assert models.CubeModel((2, 4, 5)).err.shape == (2, 4, 5)
    assert models.ImageModel((4, 5)).err is None
    linearity = models.LinearityModel(np.zeros((3, 4, 5)))
    assert linearity.shape == (3, 4, 5)
    assert linearity.dq.shape == (4, 5)


def test_copies_are_independent(uncal):
    model = models.RampModel(uncal)
    model.meta.mine = {"a": [1]}
    twin = model.copy()
    assert twin._slots["data"].file_array is not None, "a mapped array needs no copy"
    twin.data[0, 0, 0, 0] = -1
    twin.meta.exposure.nints = 9
    twin.meta.mine.a.append(2)
    assert model.data[0, 0, 0, 0] != -1
    assert model.meta.exposure.nints == 2
    assert model.meta.mine.a == [1]
    third = copy.deepcopy(model)
    third.data[:] = 0
    assert model.data.any()


def test_models_from_models(uncal):
    raw = models.open(uncal)
    same = models.open(raw)
    assert type(same) is models.Level1bModel
    assert same.data is raw.data
    same.meta.filename = "other.fits"
    assert raw.meta.filename == "other.fits"
    ramp = models.RampModel(raw)
    assert ramp.data.dtype == np.float32
    np.testing.assert_array_equal(ramp.data, raw.data)
    assert ramp.meta.model_type == "RampModel"
    assert raw.meta.model_type == "Level1bModel"
    ramp.meta.exposure.nints = 7
    assert raw.meta.exposure.nints == 2
    with pytest.raises(ShapeError, match="cannot become a ImageModel"):
        models.ImageModel(raw)


def test_update(nircam_uncal):
    raw = models.open(nircam_uncal)
    raw.meta.mine = 1
    raw.cal_logs = {"jump": ["x"]}
    image = models.ImageModel()
    date = image.meta.date
    image.cal_logs = {"refpix": ["y"]}
    image.update(raw)
    assert image.meta.filename == raw.meta.filename
    assert image.meta.date == date
    assert image.meta.model_type == "ImageModel"
    assert image.meta.wcsinfo.crval1 == raw.meta.wcsinfo.crval1
    assert image.cal_logs.jump == ["x"]
    assert image.cal_logs.refpix == ["y"]
    assert not image.meta.hasattr("mine")
    assert not image.has_array("data")
    science = models.ImageModel()
    science.update(raw, only="SCI")
    assert science.meta.wcsinfo.crval1 is not None
    assert science.meta.instrument.name is None
    fit = models.RampFitOutputModel()
    fit.update({"meta": {"instrument": {"name": "NIRCAM"}, "extra": 3, "date": "never"}})
    assert fit.meta.instrument.name == "NIRCAM"
    assert fit.meta.extra == 3
    assert fit.meta.date != "never"


def test_crds_parameters(nircam_uncal):
    parameters = models.open(nircam_uncal).get_crds_parameters()
    assert parameters["meta.instrument.detector"] == "NRCA2"
    assert parameters["meta.exposure.ngroups"] == 10
    assert all(isinstance(value, (str, int, float, bool)) for value in parameters.values())


def test_consistency(uncal, fgs_uncal):
    models.open(fgs_uncal).check_consistency()
    model = models.RampModel(uncal)
    model.check_consistency()
    model.meta.exposure.ngroups = 4
    with pytest.raises(ShapeError, match=r"NGROUPS says 4, but the array \(2, 3, 4, 5\) has 3"):
        model.check_consistency()
    model.meta.exposure.ngroups = 3
    model.meta.exposure.nints = 20
    with pytest.raises(ShapeError, match="NINTS"):
        model.check_consistency()
    model.meta.exposure.integration_start, model.meta.exposure.integration_end = 5, 6
    model.check_consistency()
    model.meta.exposure.ngroups = None
    with pytest.raises(MissingKeywordError, match="NGROUPS"):
        model.check_consistency()


def test_saving_an_invalid_tree_fails(tmp_path):
    model = models.ImageModel((3, 4))
    model._values["meta.instrument.name"] = "HUBBLE"
    with pytest.raises(InvalidMetadataError, match=r"meta\.instrument\.name: 'HUBBLE'"):
        model.save(tmp_path / "x.fits")
    assert list(tmp_path.iterdir()) == []


def test_saving_objects_fails(tmp_path):
    model = models.ImageModel((3, 4))
    model.meta.mine = object()
    with pytest.raises(InvalidMetadataError, match="cannot be saved: <object"):
        model.save(tmp_path / "x.fits")
    assert list(tmp_path.iterdir()) == []


def test_context_manager(uncal):
    with models.open(uncal) as model:
        pass
    assert model.data.shape == (2, 3, 4, 5)


def test_repr(uncal):
    assert repr(models.open(uncal)) == "<Level1bModel(2, 3, 4, 5) from small_uncal.fits>"


def test_a_generic_model_keeps_the_arrays_of_another(tmp_path):
    ramp = models.RampModel(np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4))
    ramp.groupdq[0, 1] = 4
    generic = models.JwstDataModel(ramp)
    assert generic.shape == ramp.shape and generic.groupdq is not None
    generic.save(tmp_path / "generic.fits")
    for found in (models.RampModel(generic), models.RampModel(tmp_path / "generic.fits")):
        np.testing.assert_array_equal(found.data, ramp.data)
        np.testing.assert_array_equal(found.groupdq, ramp.groupdq)
