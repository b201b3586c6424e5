"""Validation switches, required metadata, schemas of users, and looking into a model."""

import warnings

import numpy as np
import pytest

from upramp import models
from upramp.errors import InvalidMetadataError, MissingKeywordError, SchemaError, ShapeError

OWN = {
    "title": "Of a user",
    "type": "object",
    "properties": {
        "meta": {
            "type": "object",
            "properties": {"limit": {"title": "A limit", "type": "number", "fits_keyword": "MYLIMIT"}},
        },
        "data": {"title": "Values", "fits_hdu": "SCI", "datatype": "float32", "ndim": 2, "default": 0},
    },
}


@pytest.fixture(params=["argument", "environment"])
def switched(request, monkeypatch):
    """Make an ImageModel with a switch, by either of the two ways."""

    def make(name, value):
        if request.param == "argument":
            return models.ImageModel(np.ones((2, 2)), **{name: value})
        monkeypatch.setenv(name.upper(), str(value))
        return models.ImageModel(np.ones((2, 2)))

    return make


def test_invalid_values_are_kept(switched, tmp_path):
    image = switched("pass_invalid_values", True)
    with pytest.warns(models.ValidationWarning, match="It is kept"):
        image.meta.exposure.nints = "many"
    assert image.meta.exposure.nints == "many"
    with pytest.raises(InvalidMetadataError, match="nints"):
        image.save(tmp_path / "x.fits")
    assert not list(tmp_path.iterdir())


def test_a_group_is_taken_as_a_whole_or_not_at_all():
    image = models.ImageModel((2, 2))
    image.meta.exposure = {"nints": 2, "ngroups": 5}
    with pytest.warns(models.ValidationWarning, match=r"meta\.exposure\.ngroups is left as it was"):
        image.meta.exposure = {"nints": 3, "ngroups": "five"}
    assert image.meta.exposure.instance == {"nints": 2, "ngroups": 5}
    image.meta.exposure = {"nints": 3, "ngroups": None}
    assert image.meta.exposure.instance == {"nints": 3}


def test_a_mask_is_not_lost():
    image = models.ImageModel((2, 2))
    with pytest.raises(TypeError, match="data is a masked array, whose mask would be lost"):
        image.data = np.ma.masked_array(np.ones((2, 2)), [[0, 1], [0, 0]])
    image.data = np.ma.masked_array(np.ones((2, 2)))
    assert type(image.data) is np.ndarray


def test_strict(switched):
    image = switched("strict_validation", True)
    with pytest.raises(InvalidMetadataError, match="'many' of meta.exposure.nints"):
        image.meta.exposure.nints = "many"
    assert image.meta.exposure.nints is None


def test_nothing_is_looked_at_when_it_is_set(switched, tmp_path):
    image = switched("validate_on_assignment", False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image.meta.exposure.nints = "many"
    assert image.meta.exposure.nints == "many"
    with pytest.raises(InvalidMetadataError, match="nints"):
        image.save(tmp_path / "x.fits")


def test_an_argument_counts_more_than_the_environment(monkeypatch):
    monkeypatch.setenv("STRICT_VALIDATION", "yes")
    with pytest.warns(models.ValidationWarning):
        models.ImageModel(strict_validation=False).meta.exposure.nints = "many"
    monkeypatch.setenv("STRICT_VALIDATION", "perhaps")
    with pytest.raises(ValueError, match="perhaps"):
        models.ImageModel()


def test_required_metadata():
    with pytest.warns(models.ValidationWarning, match="missing values for .*'pedigree'"):
        models.MaskModel(np.zeros((2, 2))).validate()
    with pytest.raises(MissingKeywordError, match="'useafter'"):
        models.MaskModel(np.zeros((2, 2)), strict_validation=True).validate()


def test_a_schema_as_dict_and_as_file(tmp_path):
    import yaml

    (tmp_path / "own.yaml").write_text(yaml.safe_dump(OWN))
    for schema in (OWN, tmp_path / "own.yaml", str(tmp_path / "own.yaml")):
        model = models.DataModel(schema=schema)
        model.data = np.ones((2, 3))
        model.meta.limit = 2.5
        path = model.save(tmp_path / "own.fits")
        read = models.DataModel(path, schema=schema)
        assert read.meta.limit == 2.5
        assert read.data.dtype == np.float32
        with pytest.raises(ShapeError):
            read.data = np.ones(3)


def test_bad_schemas(tmp_path):
    (tmp_path / "broken.yaml").write_text("properties: [")
    (tmp_path / "list.yaml").write_text("- 1")
    (tmp_path / "lost.yaml").write_text("allOf: [{$ref: nowhere.yaml}]")
    for name in ("broken.yaml", "list.yaml"):
        with pytest.raises(SchemaError, match=name):
            models.DataModel(schema=tmp_path / name)
    for name, absent in (("lost.yaml", "nowhere.yaml"), ("absent.yaml", "absent.yaml")):
        with pytest.raises(FileNotFoundError, match=absent):
            models.DataModel(schema=tmp_path / name)
    wrong_type = {"type": "object", "properties": {"data": {"title": "Values", "datatype": "float99"}}}
    with pytest.raises(SchemaError, match="float99"):
        models.DataModel(schema=wrong_type)


def test_looking_into_a_model(capsys):
    image = models.ImageModel(np.ones((2, 2)))
    image.meta.exposure.nints = 3
    image.info(max_rows=None)
    assert "nints (int): 3" in capsys.readouterr().out
    assert "nints" in repr(image.search("nints"))
    assert image.search("nints").nodes == [3]
    assert image.find_fits_keyword("date-obs") == ["meta.observation.date"]
    assert image.find_fits_keyword("NOSUCH") == []
    paths = [path for path, _ in image.search_schema("NINTS")]
    assert "meta.exposure.nints" in paths
    assert image.search_schema("no such text") == []


def test_arrays_of_one_model_are_compared(tmp_path):
    ramp = models.RampModel(np.zeros((1, 2, 3, 4)))
    ramp.groupdq = np.zeros((1, 2, 3, 5))
    with pytest.raises(ShapeError, match="groupdq.*5 along"):
        ramp.validate()
    with pytest.raises(ShapeError):
        ramp.save(tmp_path / "x.fits")
    assert not list(tmp_path.iterdir())
