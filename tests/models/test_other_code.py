"""Code that was written for the models of the reference pipeline: own classes, hooks, history, errors."""

import copy
import io
from pathlib import Path

import asdf
import numpy as np
import pytest
import yaml
from asdf.exceptions import ValidationError
from astropy import units
from astropy.io import fits
from astropy.modeling.models import Identity

from upramp import models
from upramp.errors import InvalidMetadataError, ShapeError

CORE = "http://upramp.test/schemas/names"
TALLY = {
    "id": "http://upramp.test/schemas/tally",
    "allOf": [
        {"$ref": "names"},
        {"$ref": "http://stsci.edu/schemas/jwst_datamodel/core.schema"},
        {
            "type": "object",
            "properties": {
                "meta": {
                    "type": "object",
                    "properties": {
                        "observer": {
                            "type": "object",
                            "properties": {"name": {"type": "string"}},
                            "required": ["name"],
                        },
                    },
                },
                "tally": {"title": "Counts", "datatype": "float32", "ndim": 2, "default": 3.0},
                "data": {"title": "Values", "fits_hdu": "SCI", "datatype": "float32", "ndim": 2, "default": 0.0},
            },
        },
    ],
}


@pytest.fixture(scope="module")
def tally_model():
    names = {"properties": {"meta": {"properties": {"nickname": {"type": "string", "default": "none"}}}}}
    texts = {CORE: yaml.safe_dump(names), TALLY["id"]: yaml.safe_dump(TALLY)}
    with asdf.config_context() as config:
        config.add_resource_mapping({uri: text.encode() for uri, text in texts.items()})

        class TallyModel(models.JwstDataModel):
            schema_url = TALLY["id"]

            def get_primary_array_name(self):
                return "tally"

            def on_init(self, init):
                super().on_init(init)
                self.meta.made = True

            def on_save(self, path=None):
                super().on_save(path)
                self.meta.saved = True

        yield TallyModel


def test_a_schema_that_is_registered_with_asdf(tally_model):
    model = tally_model((2, 3))
    assert model.shape == (2, 3)
    assert (model.tally == 3).all()
    assert model.data is None
    assert model.get_default("data").shape == (2, 3)
    assert model.meta.nickname is None
    assert model.meta.get_default("nickname") == "none"
    assert model.meta.get_default("observer") == {}
    with pytest.raises(AttributeError, match="nosuch"):
        model.meta.get_default("nosuch")
    model.meta.instrument.name = "MIRI"


def test_hooks_and_names_that_must_be_there(tally_model, tmp_path):
    model = tally_model((2, 3))
    assert model.meta.made
    with pytest.raises(ValidationError, match="'name' is a required property"):
        model.save(tmp_path / "x.fits")
    assert not list(tmp_path.iterdir())
    model.meta.observer.name = "Hooke"
    model.save(tmp_path / "x.fits")
    assert model.meta.saved


@pytest.mark.parametrize("suffix", ["fits", "asdf"])
def test_arrays_without_hdu(tally_model, tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    model = tally_model(np.arange(6.0).reshape(2, 3))
    model.meta.observer.name = "Hooke"
    model["free"] = np.arange(400, dtype=np.uint16)
    model.save(path)
    with tally_model(path) as read:
        assert read.tally.dtype == np.float32
        np.testing.assert_array_equal(read.tally, model.tally)
        np.testing.assert_array_equal(read["free"], np.arange(400))
    if suffix == "fits":
        with fits.open(path) as hdus:
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "ASDF"]
            with asdf.open(io.BytesIO(hdus["ASDF"].data.tobytes())) as document:
                np.testing.assert_array_equal(document["tally"], model.tally)


def test_groups_that_are_required_and_absent(tally_model):
    with pytest.warns(models.ValidationWarning, match="'name' is a required property"):
        tally_model().validate()


def test_invalid_values_are_errors_of_asdf_too(tmp_path):
    strict = models.ImageModel((2, 2), strict_validation=True)
    for error in (ValidationError, InvalidMetadataError, ValueError):
        with pytest.raises(error, match="'HUBBLE'"):
            strict.meta.instrument.name = "HUBBLE"
    image = models.ImageModel((2, 2), validate_on_assignment=False)
    image.meta.instrument.name = "HUBBLE"
    with pytest.warns(models.ValidationWarning, match="'HUBBLE'"):
        image.validate()
    with pytest.raises(ValidationError, match="'HUBBLE'"):
        image.save(tmp_path / "x.fits")
    with pytest.warns(models.ValidationWarning):
        image.save(tmp_path / "x.asdf")
    with pytest.raises(ValidationError), models.open(tmp_path / "x.asdf", strict_validation=True):
        pass


def test_a_group_takes_no_number():
    image = models.ImageModel()
    image.meta.exposure.nints = 3
    with pytest.warns(models.ValidationWarning, match="group of metadata"):
        image.meta.exposure = "long"
    assert image.meta.exposure.nints == 3


def test_history_as_entries(tmp_path):
    image = models.ImageModel((2, 2))
    image.history.append("flat fielded")
    image.history.append({"description": "by hand", "time": "late"})
    image.history.extend(["twice"])
    assert image.history[0]["description"] == "flat fielded"
    assert [entry["description"] for entry in image.history] == ["flat fielded", "by hand", "twice"]
    assert image.history == ["flat fielded", "by hand", "twice"]
    assert image.history == [{"description": text} for text in ("flat fielded", "by hand", "twice")]
    assert image.history != ["flat fielded"]
    image.history[1] = "by machine"
    del image.history[2]
    image.save(tmp_path / "x.fits")
    with fits.open(tmp_path / "x.fits") as hdus:
        assert list(hdus[0].header["HISTORY"]) == ["flat fielded", "by machine"]
    image.save(tmp_path / "x.asdf")
    with asdf.open(tmp_path / "x.asdf") as document:
        assert [entry["description"] for entry in document["history"]["entries"]] == ["flat fielded", "by machine"]


def test_models_are_equal_where_their_arrays_are_the_same():
    image = models.ImageModel(np.ones((2, 2)))
    other = image.copy()
    assert image != other
    other.data = image.data
    assert image == other
    other.meta.telescope = "JWST"
    assert image != other
    assert models.ImageModel() != 3
    assert "data" in image
    assert "meta.telescope" not in image
    assert "err" not in image


def test_further_properties():
    image = models.ImageModel((2, 3), strict_validation=True)
    image.add_schema_entry("meta.mine.colour", {"enum": ["red", "blue"]})
    assert image.meta.mine.colour is None
    image.meta.mine.colour = "red"
    with pytest.raises(InvalidMetadataError, match="green"):
        image.meta.mine.colour = "green"
    image.extend_schema({"properties": {"extra": {"datatype": "int16", "default": 7}}})
    assert image.get_default("extra").tolist() == [[7, 7, 7], [7, 7, 7]]
    assert not hasattr(models.ImageModel().meta, "mine")


def test_update_leaves_groups_out_that_the_model_does_not_have():
    image = models.ImageModel()
    image.add_schema_entry("meta.mine.colour", {"type": "string", "fits_keyword": "COLOUR"})
    image.meta.mine.colour, image.meta.telescope = "red", "JWST"
    other = models.ImageModel()
    other.update(image)
    assert other.meta.telescope == "JWST"
    assert not hasattr(other.meta, "mine")


@pytest.mark.parametrize("suffix", ["fits", "asdf"])
def test_metadata_of_a_file(tmp_path, suffix):
    image = models.ImageModel((2, 2))
    image.meta.instrument.name = "MIRI"
    image.meta.mine = [1, {"a": 2}]
    image.cal_logs = {"jump": ["one", "two"], "ramp_fit": ["three"]}
    path = Path(image.save(tmp_path / f"x.{suffix}"))
    flat = models.read_metadata(str(path))
    assert flat["meta.instrument.name"] == "MIRI"
    assert flat["meta.filename"] == path.name
    assert flat["meta.mine.1.a"] == 2
    assert flat["cal_logs"] == "one\ntwo\nthree\n"
    assert "data" not in flat
    tree = models.read_metadata(path, flatten=False)
    assert tree["meta"]["instrument"] == {"name": "MIRI"}
    with pytest.raises(ValueError, match="NoSuchModel not found"):
        models.read_metadata(path, model_type="NoSuchModel")
    with pytest.raises(TypeError):
        models.read_metadata(image)


def test_names_of_types():
    with pytest.raises(ValueError, match='"meta" has no datatype'):
        models.ImageModel().get_dtype("meta")
    with pytest.raises(AttributeError, match='no attribute "nosuch"'):
        models.ImageModel().get_default("nosuch")
    assert str(models.ImageModel()) == "<ImageModel>"
    assert models.ReferenceFileModel is models.ReferenceModel
    ramp = models.SuperstripeRampModel((4, 2, 3, 3))
    assert ramp.get_default("pixeldq") is None
    ramp.meta.subarray.num_superstripe = 2
    assert ramp.get_default("pixeldq").shape == (2, 3, 3)


def test_options_of_the_other_models_are_taken(tmp_path):
    options = {"validate_arrays": True, "ignore_missing_extensions": False, "ignore_unrecognized_tag": True}
    image = models.ImageModel((2, 2), strict_validation=True, **options)
    assert set(image.instance) == {"data", "meta"}
    path = image.save(tmp_path / "x.fits")
    assert models.open(path, **options).shape == (2, 2)


@pytest.mark.parametrize("cls", [models.JwstDataModel, models.ImageModel])
def test_what_is_no_wcs(cls):
    image = cls()
    for value in (1, np.ones(3), "TAN"):
        with pytest.warns(models.ValidationWarning, match="no object of the kind wcs"):
            image.meta.wcs = value
    assert image.meta.wcs is None
    thing = object()
    image.meta.wcs = thing
    assert image.meta.wcs is thing


def test_automatic_arrays_count_from_the_beginning():
    flat = models.FlatModel((2, 2))
    assert flat.hasattr("dq") and "err" in flat
    later = models.FlatModel()
    later.data = np.ones((2, 2))
    assert "dq" not in later


def test_tables_from_tuples(tmp_path):
    rows = [(0, 1, "DO_NOT_USE", "never"), (1, 2, "DEAD", "no signal")]
    flat = models.FlatModel(data=np.ones((2, 2)), dq_def=rows)
    assert flat.dq_def["NAME"].tolist() == ["DO_NOT_USE", "DEAD"]
    with models.FlatModel(flat.save(tmp_path / "flat.fits")) as read:
        assert read.dq_def["VALUE"].tolist() == [1, 2]
    with pytest.raises(ShapeError, match="rows of 3 values"):
        flat.dq_def = [row[:3] for row in rows]


def test_columns_whose_elements_are_arrays(tmp_path):
    dtype = models.Level1bModel().get_dtype("moving_target")
    rows = np.zeros(1, [(name, dtype[name], 4) for name in dtype.names if name != "mt_v2"])
    rows["mt_v3"] = [[1, 2, 3, 4]]
    raw = models.Level1bModel()
    raw.moving_target = rows
    assert raw.moving_target["mt_v3"].shape == (1, 4)
    assert np.isnan(raw.moving_target["mt_v2"]).all()
    with models.Level1bModel(raw.save(tmp_path / "x.fits")) as read:
        assert read.moving_target["mt_v3"].tolist() == [[1, 2, 3, 4]]
        assert read.moving_target["time"].shape == (1, 4)
    with fits.open(tmp_path / "x.fits") as hdus:
        assert hdus["MOVING_TARGET_POSITION"].data["time"].shape == (1, 4)


def test_cards_that_nobody_knows_are_lists(tmp_path):
    path = models.ImageModel((2, 2)).save(tmp_path / "x.fits")
    fits.setval(path, "FOO", value="BAR")
    assert models.open(path).extra_fits.PRIMARY.header == [["FOO", "BAR", ""]]


def test_flat_dictionaries_without_arrays():
    image = models.ImageModel((2, 2))
    image["free"] = np.ones(3)
    assert "free" in image.to_flat_dict()
    assert not {"free", "data"} & set(image.to_flat_dict(include_arrays=False))


def test_a_class_without_asdf_extension(tmp_path):
    class Bare(models.ImageModel):
        def __init__(self, init=None, **options):
            super().__init__(init, **options)
            self._no_asdf_extension = True

    with fits.open(Bare((2, 2)).save(tmp_path / "x.fits")) as hdus:
        assert "ASDF" not in hdus


def test_names_of_flags():
    flags = models.dqflags
    assert flags.dqflags_to_mnemonics(np.uint32(7), flags.pixel) == {"DO_NOT_USE", "SATURATED", "JUMP_DET"}
    assert flags.dqflags_to_mnemonics(0, flags.group) == set()
    assert models.ImageModel(fits.HDUList()).shape is None


def test_a_copy_of_python_is_independent():
    model = models.ImageModel((2, 2))
    model.meta.instrument.name = "NIRCAM"
    for other in (copy.copy(model), copy.deepcopy(model), model.copy(memo={})):
        other.data[0, 0] = 5
        other.meta.instrument.name = "MIRI"
        other.add_history_entry(description="x")
        assert (model.data[0, 0], model.meta.instrument.name, len(model.history)) == (0, "NIRCAM", 0)
    emi = models.EmiModel()
    emi.frequencies = {"Hz10": {"frequency": 10.0}}
    copy.copy(emi).frequencies["Hz10"]["frequency"] = 1.0
    assert emi.frequencies["Hz10"]["frequency"] == 10.0


@pytest.mark.parametrize("ending", ["fits", "asdf"])
def test_an_extra_hdu_without_data_is_saved(tmp_path, ending):
    model = models.ImageModel((2, 2))
    model.extra_fits = {"FOO": {"header": [["A", 1, ""]]}, "SCI": {"header": [["B", 2, ""]]}}
    model.save(tmp_path / f"a.{ending}")
    models.open(tmp_path / f"a.{ending}").save(tmp_path / "b.fits")
    assert fits.getval(tmp_path / "b.fits", "A", "FOO") == 1 and fits.getval(tmp_path / "b.fits", "B", "SCI") == 2
    assert models.open(tmp_path / "b.fits").extra_fits.FOO.header == [["A", 1, ""]]


@pytest.mark.parametrize("ending", ["fits", "asdf"])
def test_quantities_keep_their_unit(tmp_path, ending):
    model = models.ImageModel((2, 2))
    model.meta.one, model.meta.some = 3 * units.Jy, [1.0, 2.0] * units.s
    meta = models.open(model.save(tmp_path / f"a.{ending}")).meta
    assert meta.one == 3 * units.Jy and meta.some.unit == units.s and list(meta.some.value) == [1, 2]


def test_distortion_and_filter_offsets_take_keywords(tmp_path):
    model = models.DistortionModel(None, Identity(2), input_units=units.pix, output_units=units.arcsec)
    meta = models.open(model.save(tmp_path / "d.asdf")).meta
    assert (str(meta.input_units), str(meta.output_units), meta.reftype) == ("pix", "arcsec", "distortion")
    assert models.FilteroffsetModel(filters=[{"filter": "F200W"}], instrument="NIRCAM").meta.instrument.name == "NIRCAM"
    with pytest.raises(ValueError, match="specify the instrument"):
        models.FilteroffsetModel(filters=[{"filter": "F200W"}])


def test_a_schema_without_file_name():
    schema = {"type": "object", "properties": {"meta": {"type": "object", "properties": {}}}}
    assert repr(models.DataModel(schema=schema)) == "<DataModel>"


def test_names_of_arguments_are_those_of_the_reference_pipeline(tmp_path):
    model = models.ImageModel((2, 2))
    model.update(d={"meta": {"instrument": {"name": "MIRI"}}})
    assert model.find_fits_keyword(keyword="INSTRUME", return_result=True) == ["meta.instrument.name"]
    assert model.get_dtype(attr="data") == model.get_default(attr="data").dtype and model.hasattr(attr="meta")
    model.add_schema_entry(position="meta.mine", new_schema={"type": "number"})
    model.to_fits(init=str(tmp_path / "a.fits"))
    assert models.read_metadata(fname=tmp_path / "a.fits")["meta.instrument.name"] == "MIRI"


def test_the_name_of_a_class_of_several_packages_is_none(tmp_path):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((3, 4), np.float32), name="SCI")]).writeto(
        tmp_path / "a.fits"
    )
    fits.setval(tmp_path / "a.fits", "DATAMODL", value="DataModel")
    with pytest.warns(models.NoTypeWarning, match="^model_type not found"):
        model = models.open(tmp_path / "a.fits")
    assert type(model) is models.ImageModel and model.data.shape == (3, 4)


def test_names_are_offered_for_completion():
    model = models.RampModel((1, 2, 3, 4))
    model.meta.mine = 1
    assert {"data", "groupdq", "meta", "save", "shape"} <= set(dir(model))
    assert {"exposure", "instrument", "filename", "mine", "keys"} <= set(dir(model.meta))
    assert {"nints", "type"} <= set(dir(model.meta.exposure)) and "exposure" not in dir(model.meta.exposure)
