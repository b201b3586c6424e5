"""Our schemas say the same as the peer's about every keyword and array."""

import numpy as np
import pytest

from upramp import models
from upramp.models._schema import load_schema

MODELS = [
    "Level1bModel",
    "RampModel",
    "ImageModel",
    "CubeModel",
    "RampFitOutputModel",
    "MaskModel",
    "SaturationModel",
    "SuperBiasModel",
    "LinearityModel",
    "DarkModel",
    "DarkMIRIModel",
    "ResetModel",
    "RSCDModel",
    "GainModel",
    "ReadnoiseModel",
    "IPCModel",
]
# HDUs that are carried as they lie, without attributes; and objects of later stages.
CARRIED = ("MOVING_TARGET_POSITION", "CHEBY", "MSA_TARG_ACQ")
SIP = tuple(f"meta.wcsinfo.{name}_" for name in ("a", "b", "ap", "bp"))


def leaves(node, path=()):
    if "properties" in node and "datatype" not in node:
        for name, child in node["properties"].items():
            yield from leaves(child, (*path, name))
    else:
        yield ".".join(path), node


def allowed(node):
    values = list(node.get("enum", []))
    for choice in node.get("anyOf", []):
        values += choice.get("enum", [])
    return set(values)


@pytest.fixture(scope="module")
def peer():
    return pytest.importorskip("stdatamodels.jwst.datamodels")


@pytest.mark.parity
@pytest.mark.parametrize("name", MODELS)
def test_keywords_and_arrays_are_those_of_the_peer(peer, name):
    ours = load_schema(getattr(models, name).schema_name)
    missing = []
    for path, node in leaves(getattr(peer, name)().schema):
        if node.get("fits_hdu") in CARRIED or path == "meta.wcs" or path.startswith(SIP):
            continue
        if path in ours.arrays:
            spec = ours.arrays[path]
            assert spec.hdu == node["fits_hdu"]
            assert (spec.ndim, spec.max_ndim) == (node.get("ndim"), node.get("max_ndim")), path
            if spec.is_table:
                expected = [
                    (c["name"], f"U{c['datatype'][1]}" if isinstance(c["datatype"], list) else c["datatype"])
                    for c in node["datatype"]
                ]
                assert spec.dtype == np.dtype(expected)
            else:
                assert spec.dtype == np.dtype(node["datatype"])
                assert spec.default == node.get("default")
        elif path in ours.keywords:
            spec = ours.keywords[path]
            assert spec.card == node.get("fits_keyword")
            assert spec.hdu == node.get("fits_hdu", "PRIMARY")
            assert spec.fragment.get("type") == node.get("type"), path
            assert set(spec.fragment.get("enum", ())) == allowed(node), path
        else:
            missing.append(path)
    assert missing == []


@pytest.mark.parametrize("name", MODELS)
def test_array_axes_fit_their_dimensions(name):
    for spec in load_schema(getattr(models, name).schema_name).arrays.values():
        if not spec.is_table:
            assert spec.axes
            assert spec.ndim in (None, len(spec.axes))


def test_titles_fit_on_a_card():
    for spec in load_schema("core").keywords.values():
        assert 0 < len(spec.title) <= 47, spec


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        ("meta.exposure.nints", 3, 3.0),
        ("meta.exposure.nints", 3, True),
        ("meta.exposure.group_time", 2, "2"),
        ("meta.exposure.zero_frame", False, 0),
        ("meta.instrument.detector", "NRCA1", "NRCA9"),
        ("meta.cal_step.jump", "COMPLETE", "DONE"),
        ("meta.exposure.noutputs", 4, 3),
        ("meta.observation.date", "2023-01-01", 2023),
    ],
)
def test_values_are_checked(path, good, bad):
    spec = load_schema("core").keywords[path]
    assert spec.problem(good) is None
    assert spec.problem(bad)


def test_selectors_are_lists_of_names():
    spec = load_schema("dark").keywords["meta.exposure.p_readpatt"]
    assert spec.card == "P_READPA"
    assert spec.problem("RAPID|BRIGHT1|") is None
    assert spec.problem("RAPID") is not None


def test_compiled_once():
    assert load_schema("ramp") is load_schema("ramp")
