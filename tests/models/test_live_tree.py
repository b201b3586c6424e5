"""What is written into the dictionaries of a model is in the model."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import yaml

from upramp import models


def image():
    model = models.ImageModel(np.ones((2, 3), np.float32))
    model.meta.exposure = {"nints": 2, "ngroups": 5}
    return model


def test_writing_and_deleting():
    model = image()
    model.meta.instance["telescope"] = "JWST"
    model.instance["meta"]["exposure"]["nints"] = 3
    model.meta.exposure.instance.update(nframes=4, mine={"deep": [1]})
    assert (model.meta.telescope, model.meta.exposure.nints, model.meta.exposure.nframes) == ("JWST", 3, 4)
    assert model.meta.exposure.mine.deep == [1]
    model.instance["data"] = np.full((2, 3), 7)
    assert (model.data == 7).all() and model.data.dtype == np.float32
    tree = model.meta.exposure.instance
    tree["mine"]["deep"] = 5
    assert tree.pop("ngroups") == 5 and "ngroups" not in tree
    del tree["nints"]
    tree |= {"groupgap": 1}
    assert tree == model.meta.exposure.instance == {"nframes": 4, "mine": {"deep": 5}, "groupgap": 1}
    with pytest.raises(KeyError):
        del tree["nints"]
    tree.clear()
    assert model.meta.exposure.instance == {}
    del model.instance["data"]
    assert model.data is None


def test_what_the_model_refuses_does_not_show():
    model = image()
    tree = model.meta.exposure.instance
    with pytest.warns(models.ValidationWarning):
        tree["nints"] = "three"
    assert tree["nints"] == model.meta.exposure.nints == 2
    tree["nints"] = None
    assert "nints" not in tree and model.meta.exposure.nints is None


def test_copies_are_plain_and_apart():
    model = image()
    tree = model.instance
    for other in (tree.copy(), copy.copy(tree), copy.deepcopy(tree), pickle.loads(pickle.dumps(tree))):
        assert type(other) is dict and type(other["meta"]) is dict
        other["meta"]["exposure"]["nints"] = 9
    assert model.meta.exposure.nints == 2


def test_a_tree_makes_the_same_model_again():
    model = image()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = models.ImageModel(model.instance)
    assert again.meta.exposure == model.meta.exposure and (again.data == 1).all()


@pytest.mark.parametrize("dump", [yaml.dump, yaml.safe_dump])
def test_as_yaml(dump):
    text = dump(image().meta.exposure.instance)
    assert yaml.safe_load(text) == {"nints": 2, "ngroups": 5}
