"""Products that are laid out first and filled in place."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from upramp import models
from upramp.errors import OutputError, ShapeError

SHAPES = {"data": (6, 5), "err": (6, 5), "dq": (6, 5), "var_poisson": (6, 5)}


def fill(mapped, values):
    """Write values as the bits must lie."""
    bits = np.asarray(values).astype(mapped.kind).view(mapped.bits.dtype)
    if mapped.offset:
        bits = bits ^ bits.dtype.type(mapped.offset)
    mapped.bits[...] = bits.byteswap() if mapped.swapped else bits


def image(uncal):
    model = models.ImageModel()
    model.update(models.open(uncal))
    model.meta.bunit_data = model.meta.bunit_err = "DN/s"
    return model


def test_filled_in_place(uncal, tmp_path):
    rate = np.random.default_rng(1).normal(size=(6, 5)).astype("f4")
    flags = np.array([[0, 1, 2**31, 5, 4]] * 6, "u4")
    with models.create_product(tmp_path / "x_rate.fits", image(uncal), SHAPES) as product:
        assert product.bits("data").swapped
        assert product.bits("dq").offset == 2**31
        fill(product.bits("data"), rate)
        product.bits("data").release(0, 3)
        fill(product.bits("dq"), flags)
        product.bits("data").release(0, 6)
        product.bits("dq").release(0, 6)
        assert not (tmp_path / "x_rate.fits").exists()
    result = models.open(tmp_path / "x_rate.fits")
    np.testing.assert_array_equal(result.data, rate)
    np.testing.assert_array_equal(result.dq, flags)
    assert not result.err.any()
    assert result.meta.filename == "x_rate.fits"
    with fits.open(tmp_path / "x_rate.fits") as hdus:
        hdus.verify("exception")
        assert [h.name for h in hdus] == ["PRIMARY", "SCI", "ERR", "DQ", "VAR_POISSON", "ASDF"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small_uncal.fits", "x_rate.fits"]


def test_written_by_rows(uncal, tmp_path):
    rate = np.random.default_rng(2).normal(size=(6, 5)).astype("f4")
    with models.create_product(tmp_path / "x_rate.fits", image(uncal), SHAPES) as product:
        bits = rate.astype(">f4").view("u4").reshape(1, 6, 5)
        product.write_rows("err", 4, bits[:, 4:])
        assert not product.bits("err").bits[:4].any()
        np.testing.assert_array_equal(product.bits("err").bits[4:], bits[0, 4:])
        product.write_rows("err", 0, bits[:, :4])
    result = models.open(tmp_path / "x_rate.fits")
    np.testing.assert_array_equal(result.err, rate)
    assert not result.data.any()


@pytest.mark.parametrize("n_cards", [0, 5, 40, 100])
def test_headers_may_grow_until_the_end(uncal, tmp_path, n_cards):
    model = image(uncal)
    rate = np.arange(30, dtype="f4").reshape(6, 5)
    with models.create_product(tmp_path / "x.fits", model, SHAPES) as product:
        fill(product.bits("data"), rate)
        fill(product.bits("var_poisson"), rate + 1)
        model.meta.cal_step.ramp_fit = "COMPLETE"
        model.cal_logs = {"ramp_fit": ["done"]}
        for number in range(n_cards):
            model.add_history_entry(f"line {number}")
    result = models.open(tmp_path / "x.fits")
    np.testing.assert_array_equal(result.data, rate)
    np.testing.assert_array_equal(result.var_poisson, rate + 1)
    assert result.meta.cal_step.ramp_fit == "COMPLETE"
    assert len(result.history) == n_cards
    assert result.cal_logs.ramp_fit == ["done"]
    with fits.open(tmp_path / "x.fits") as hdus:
        hdus.verify("exception")


def test_headers_may_shrink(uncal, tmp_path):
    model = image(uncal)
    model.history = ["x"] * 100
    with models.create_product(tmp_path / "x.fits", model, SHAPES) as product:
        fill(product.bits("data"), np.ones((6, 5)))
        model.history = []
    assert (models.open(tmp_path / "x.fits").data == 1).all()
    with fits.open(tmp_path / "x.fits") as hdus:
        hdus.verify("exception")
        assert "HISTORY" not in hdus[0].header


def test_pieces_that_overlap_are_moved_whole(uncal, tmp_path, monkeypatch):
    monkeypatch.setattr("upramp.models.product._CHUNK", 1000)
    model = models.CubeModel()
    cube = np.random.default_rng(2).normal(size=(7, 30, 40)).astype("f4")
    with models.create_product(tmp_path / "x.fits", model, {"data": cube.shape, "err": cube.shape}) as product:
        fill(product.bits("data"), cube)
        fill(product.bits("err"), -cube)
        model.history = ["x"] * 90
    result = models.open(tmp_path / "x.fits")
    np.testing.assert_array_equal(result.data, cube)
    np.testing.assert_array_equal(result.err, -cube)


def test_tables_and_arrays_of_the_model_are_written_too(uncal, tmp_path):
    raw = models.open(uncal)
    model = models.CubeModel()
    model.update(raw)
    model.int_times = raw.int_times
    model.area = np.full((4, 5), 2.0)
    with models.create_product(tmp_path / "x.fits", model, {"data": (2, 4, 5)}) as product:
        fill(product.bits("data"), np.ones((2, 4, 5)))
    result = models.open(tmp_path / "x.fits")
    np.testing.assert_array_equal(result.int_times, raw.int_times)
    assert (result.area == 2).all()


def test_ramps(uncal, tmp_path):
    model = models.RampModel()
    model.update(models.open(uncal))
    shape = (2, 3, 4, 5)
    shapes = {"data": shape, "pixeldq": shape[2:], "groupdq": shape}
    with models.create_product(tmp_path / "x_ramp.fits", model, shapes) as product:
        fill(product.bits("groupdq"), np.full(shape, 3))
        fill(product.bits("pixeldq"), np.full((4, 5), 7))
    result = models.open(tmp_path / "x_ramp.fits")
    assert (result.groupdq == 3).all()
    assert (result.pixeldq == 7).all()
    assert not result.data.any()


def test_nothing_remains_after_an_error(uncal, tmp_path):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RuntimeError), models.create_product(tmp_path / "x.fits", image(uncal), SHAPES) as product:
        fill(product.bits("data"), np.ones((6, 5)))
        raise RuntimeError("the kernel failed")
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(KeyboardInterrupt), models.create_product(tmp_path / "x.fits", image(uncal), SHAPES):
        raise KeyboardInterrupt
    assert sorted(tmp_path.iterdir()) == before


def test_an_older_product_stays_until_the_new_one_is_complete(uncal, tmp_path):
    path = image(uncal)
    path.data = np.zeros((6, 5))
    old = Path(path.save(tmp_path / "x.fits")).read_bytes()
    with pytest.raises(RuntimeError), models.create_product(tmp_path / "x.fits", image(uncal), SHAPES):
        raise RuntimeError
    assert (tmp_path / "x.fits").read_bytes() == old


def test_errors_before_any_work(uncal, tmp_path):
    with (
        pytest.raises(OutputError, match="does not exist"),
        models.create_product(tmp_path / "no" / "x.fits", image(uncal), SHAPES),
    ):
        pass
    with (
        pytest.raises(ShapeError, match="err has shape"),
        models.create_product(tmp_path / "x.fits", image(uncal), {"data": (6, 5), "err": (5, 6)}),
    ):
        pass
    with (
        pytest.raises(AttributeError, match="no array 'slope'"),
        models.create_product(tmp_path / "x.fits", image(uncal), {"slope": (6, 5)}),
    ):
        pass
    with (
        pytest.raises(KeyError, match="it was created with data"),
        models.create_product(tmp_path / "x.fits", image(uncal), {"data": (6, 5)}) as product,
    ):
        product.bits("dq")


def test_full_disk_is_an_error_and_no_crash(uncal, tmp_path, monkeypatch):
    def no_space(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", no_space)
    before = sorted(tmp_path.iterdir())
    with (
        pytest.raises(OutputError, match=r"No space left.*Free space"),
        models.create_product(tmp_path / "x.fits", image(uncal), SHAPES),
    ):
        pass
    assert sorted(tmp_path.iterdir()) == before


def test_file_system_without_reservation(uncal, tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    with models.create_product(tmp_path / "x.fits", image(uncal), SHAPES) as product:
        fill(product.bits("data"), np.ones((6, 5)))
    assert (models.open(tmp_path / "x.fits").data == 1).all()


def test_permissions_follow_the_umask(uncal, tmp_path):
    path = Path(image(uncal).save(tmp_path / "x.fits"))
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parity
def test_the_peer_opens_products(uncal, tmp_path, recwarn):
    peer = pytest.importorskip("jwst.datamodels")
    with models.create_product(tmp_path / "x_rate.fits", image(uncal), SHAPES) as product:
        fill(product.bits("data"), np.full((6, 5), 2.5))
    recwarn.clear()
    with peer.open(tmp_path / "x_rate.fits") as theirs:
        theirs.validate()
        assert type(theirs).__name__ == "ImageModel"
        assert (theirs.data == 2.5).all()
    assert [str(w.message) for w in recwarn] == []
