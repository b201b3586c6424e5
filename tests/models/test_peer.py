"""Every model is the same for the reference pipeline and for us: in files, handed over as objects, in steps."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from upramp import models
from upramp.errors import ShapeError
from upramp.models import peer as exchange
from upramp.models._schema import load_schema
from upramp.simulate.crds_cache import build_crds_cache

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore::UserWarning")]
peer = pytest.importorskip("stdatamodels.jwst.datamodels")

LENGTHS = {"integration": 2, "group": 3, "row": 4, "column": 8, "refout_column": 2, "coefficient": 3, "stripe": 2}
OTHER_NAMES = {"DataModel": "JwstDataModel", "ReferenceModel": "ReferenceFileModel"}
NOT_FILLED = ("meta.model_type", "meta.date", "meta.telescope")  # set by the models themselves
# Of documents, not of files with HDUs.
ASDF_ONLY = {"DistortionModel", "FilteroffsetModel", "EmiModel", "SIRSKernelModel", "JwstDataModel"}
NAMES = sorted(name for name in models.__all__ if name.endswith("Model") and name not in ASDF_ONLY)
SAVED = {"", "DATE", "FILENAME"}  # titles of sections; when and as what a file was saved
STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|[PG]COUNT|BSCALE|BZERO|EXT(NAME|VER)|T(TYPE|FORM|ZERO|UNIT)\d+"
)
SKIPPED = re.compile(r"TSCAL\d+|TFIELDS")  # 1, or the number of columns


def value_for(spec, rng):
    """A permitted value of a keyword, or None where that takes more than a type."""
    fragment = spec.fragment
    if fragment.get("enum"):
        return fragment["enum"][int(rng.integers(len(fragment["enum"])))]
    if {"pattern", "anyOf"} & fragment.keys():
        return None
    return {
        "string": f"it's {rng.integers(1000)} / b",
        "integer": int(rng.integers(-5, 1000)),
        "number": float(rng.normal() * 10.0 ** rng.integers(-12, 12)),
        "boolean": bool(rng.integers(2)),
    }.get(fragment.get("type"))


def table_for(spec, rng):
    rows = np.zeros(3, spec.dtype)
    for name in spec.columns:
        base, shape = rows.dtype[name].base, rows[name].shape
        if base.kind == "U":
            rows[name] = rng.choice(["a", "F200W", "x y"], shape)
        else:
            rows[name] = rng.integers(0, 100, shape) if base.kind in "iu" else rng.normal(size=shape)
    if spec.name == "dq_def":
        rows["VALUE"], rows["NAME"] = [1, 2, 8], ["DO_NOT_USE", "HOT", "DEAD"]
    exchanged = [(n, f"S{d.itemsize // 4}" if (d := spec.dtype[n].base).kind == "U" else d) for n in spec.columns]
    return rows.astype(exchanged)


def filled(name, only_some=True):
    """The peer's model with every array of its schema, and with values of many keywords."""
    schema, rng = load_schema(getattr(models, name).schema_name), np.random.default_rng(len(name))
    model = getattr(peer, OTHER_NAMES.get(name, name))()
    for spec in schema.arrays.values():
        if spec.is_table:
            if spec.columns:
                setattr(model, spec.name, table_for(spec, rng))
            continue
        shape = tuple(LENGTHS.get(axis, 2) for axis in spec.axes)
        values = rng.integers(0, 200, shape) if spec.dtype.kind in "iu" else rng.normal(size=shape)
        setattr(model, spec.name, values.astype(spec.dtype))
    if "dq_def" in schema.arrays and "dq" in schema.arrays:
        model.dq = rng.choice([0, 1, 2048, 1025, 3073], model.dq.shape)
    for number, (path, spec) in enumerate(schema.keywords.items()):
        # A peer's schema need not have all that ours takes in every model; unknown names would be free attributes.
        wanted = not only_some or number % 7 == 0
        if wanted and spec.card and model.find_fits_keyword(spec.card) and path not in NOT_FILLED:
            value = value_for(spec, rng)
            if value is not None and path in model.find_fits_keyword(spec.card):
                model[path] = value
    model.add_history_entry("made for a test")
    return model


def contents(path):
    """All that a file says, HDU by HDU: cards without titles of sections, and data."""
    found = []
    with fits.open(path) as hdus:
        hdus.verify("exception")
        for hdu in hdus:
            if hdu.name == "ASDF":
                continue
            cards = [(c.keyword, str(c.value).strip()) for c in hdu.header.cards]
            cards = sorted(c for c in cards if c[0] not in SAVED and not SKIPPED.match(c[0]))
            if hdu.name == "MSA_TARG_ACQ":  # the schema knows the units, which theirs writes only if they were there
                cards = [c for c in cards if not c[0].startswith("TUNIT")]
            laid_out = [c for c in cards if STRUCTURE.fullmatch(c[0])]
            data = b"" if hdu.data is None else hdu.data.tobytes()
            found.append((hdu.name, [c for c in cards if not STRUCTURE.fullmatch(c[0])], laid_out, data))
    return found


def assert_same(old, new, *, in_order=True):
    if not in_order:
        old, new = sorted(old), sorted(new)
    assert [hdu[0] for hdu in old] == [hdu[0] for hdu in new]
    for first, second in zip(old, new, strict=True):
        assert first == second, first[0]


@pytest.mark.parametrize("name", NAMES)
def test_files_survive_both_ways(name, tmp_path):
    theirs = filled(name, only_some=name != "ImageModel")
    theirs.save(tmp_path / "theirs.fits")
    original = contents(tmp_path / "theirs.fits")
    ours = models.open(tmp_path / "theirs.fits")
    assert type(ours) is getattr(models, name)
    ours.save(tmp_path / "ours.fits")
    # Tables of the guiders have keywords below meta, and come early for us.
    assert_same(original, contents(tmp_path / "ours.fits"), in_order=not name.startswith("Guider"))
    peer.open(tmp_path / "ours.fits").save(tmp_path / "again.fits")
    assert_same(original, contents(tmp_path / "again.fits"))


@pytest.mark.parametrize("name", NAMES)
def test_objects_are_exchanged_without_loss(name, tmp_path):
    theirs = filled(name)
    theirs.meta.mine = {"free": [1, {"deep": "x"}]}
    ours = exchange.from_peer(theirs)
    assert type(ours) is getattr(models, name)
    assert ours.history == ["made for a test"]
    back = exchange.to_peer(ours)
    assert type(back) is type(theirs)
    assert back.meta.mine.free.instance == [1, {"deep": "x"}]
    theirs.save(tmp_path / "theirs.fits")
    back.save(tmp_path / "back.fits")
    assert_same(contents(tmp_path / "theirs.fits"), contents(tmp_path / "back.fits"))


def test_real_files(nircam_uncal, fgs_uncal, superbias_file, ipc_file, tmp_path):
    for path in (nircam_uncal, fgs_uncal, superbias_file, ipc_file):
        theirs = peer.open(path)
        theirs.save(tmp_path / "theirs.fits")
        back = exchange.to_peer(exchange.from_peer(peer.open(path)))
        back.save(tmp_path / "back.fits")
        assert_same(contents(tmp_path / "theirs.fits"), contents(tmp_path / "back.fits"))


def test_what_cannot_be_exchanged_is_named():
    with pytest.raises(TypeError, match="there is no model MultiSlitModel here"):
        exchange.from_peer(peer.MultiSlitModel())

    class MineModel(models.ImageModel):
        pass

    with pytest.raises(TypeError, match="has no MineModel"):
        exchange.to_peer(MineModel((2, 2)))


def test_steps_take_their_models_and_return_such():
    from upramp.steps.gain_scale import GainScaleStep

    theirs = peer.ImageModel(np.ones((3, 4), "f4"))
    theirs.err = np.ones((3, 4), "f4")
    theirs.meta.exposure.gain_factor = 2.5
    result = GainScaleStep(override_gain="N/A").run(theirs)
    assert type(result) is peer.ImageModel
    assert result.meta.cal_step.gain_scale == "COMPLETE"
    np.testing.assert_array_equal(result.data, np.full((3, 4), 2.5, "f4"))
    assert (theirs.data == 1).all() and theirs.meta.cal_step.gain_scale is None


def test_a_step_of_ones_own_may_work_on_their_models(tmp_path):
    from upramp.framework import Step

    class Mine(Step):
        class_alias = "mine"

        def process(self, data):
            assert isinstance(data, str | peer.ImageModel), data
            with peer.open(data) as image:
                return image.copy()

    theirs = peer.ImageModel(np.ones((3, 4), "f4"))
    theirs.save(tmp_path / "x_rate.fits")
    for data in (theirs, str(tmp_path / "x_rate.fits")):
        result = Mine(save_results=True, output_dir=str(tmp_path)).run(data)
        assert type(result) is peer.ImageModel and (result.data == 1).all()
        assert any("Run of" in line for line in result.cal_logs.mine)
        assert models.open(tmp_path / "x_mine.fits").cal_logs["mine"]
        (tmp_path / "x_mine.fits").unlink()


def test_process_of_our_steps_takes_their_models():
    from upramp.steps import GroupScaleStep

    theirs = peer.RampModel(np.ones((1, 2, 3, 4), "f4"))
    theirs.meta.exposure.nframes, theirs.meta.exposure.frame_divisor = 3, 4
    theirs.meta.instrument.name = "NIRCAM"
    result = GroupScaleStep().process(theirs)
    assert type(result) is models.RampModel
    np.testing.assert_allclose(result.data, 4 / 3, rtol=1e-6)
    assert (theirs.data == 1).all()


def test_a_reference_may_be_one_of_their_models():
    gain = peer.GainModel(np.ones((3, 4), "f4"))
    assert models.GainModel(gain).data.shape == (3, 4)
    assert type(models.open(gain)) is models.GainModel


def test_a_dark_whose_arrays_disagree_is_refused(tmp_path):
    dark = peer.DarkModel(np.zeros((3, 4, 5), "f4"))
    dark.err = np.zeros((3, 4, 6), "f4")
    dark.save(tmp_path / "dark.fits")
    with pytest.raises(ShapeError, match=r"dark\.fits cannot be used: .*err has shape \(3, 4, 6\).*data has 5"):
        models.DarkModel(tmp_path / "dark.fits")


NEXT_STEP = """
import sys
from jwst.flatfield import FlatFieldStep
from stdatamodels.jwst import datamodels
others = {f"override_{name}flat": "N/A" for name in "fsd"}
result = FlatFieldStep(override_flat=sys.argv[2], **others).run(sys.argv[1])
assert type(result) is datamodels.ImageModel, result
assert result.meta.cal_step.flat_field == "COMPLETE"
assert result.meta.cal_step.ramp_fit == "COMPLETE"
assert (result.data == 3).all(), result.data
"""


def test_their_next_step_continues_from_our_file(tmp_path):
    pytest.importorskip("jwst", reason="the peer is not installed")
    rate = models.ImageModel(np.full((160, 160), 6.0))
    rate.err, rate.dq = np.ones((160, 160)), np.zeros((160, 160))
    rate.var_poisson = rate.var_rnoise = np.ones((160, 160))
    rate.meta.telescope, rate.meta.cal_step.ramp_fit = "JWST", "COMPLETE"
    rate.meta.instrument = {"name": "NIRCAM", "detector": "NRCA1", "channel": "SHORT", "module": "A", "filter": "F200W"}
    rate.meta.instrument.pupil, rate.meta.exposure.type = "CLEAR", "NRC_IMAGE"
    rate.meta.observation = {"date": "2023-01-02", "time": "03:04:05.000"}
    rate.meta.subarray = {"name": "SUB160", "xstart": 1, "ystart": 1, "xsize": 160, "ysize": 160}
    flat = models.FlatModel(np.full((160, 160), 2.0))
    flat.meta = {name: rate.meta[name].instance for name in ("instrument", "subarray")}
    flat.meta.reftype, flat.meta.useafter = "FLAT", "2020-01-01T00:00:00"
    files = [str(rate.save(tmp_path / "x_rate.fits")), str(flat.save(tmp_path / "flat.fits"))]
    build_crds_cache(tmp_path / "crds", files[1:], link=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CRDS_")} | {"CRDS_PATH": f"{tmp_path}/crds"}
    run = [sys.executable, "-c", NEXT_STEP, *files]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_metadata_are_taken_over_from_a_model_of_the_peer():
    theirs = peer.ImageModel((2, 2))
    theirs.meta.instrument.name = "MIRI"
    ours = models.RampModel((1, 2, 2, 2))
    ours.update(theirs)
    assert ours.meta.instrument.name == "MIRI"
    assert ours.meta.model_type == "RampModel"
    slits = peer.MultiSlitModel()
    slits.meta.instrument.name = "NIRSPEC"
    slits.slits.append(peer.SlitModel((2, 2)))
    ours.update(slits)
    assert ours.meta.instrument.name == "NIRSPEC"
    with pytest.raises(TypeError, match="there is no model int"):
        ours.update(3)
