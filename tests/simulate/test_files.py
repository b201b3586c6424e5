"""Raw files and truth files: structure as in flight, readable by the peer's models without a warning."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from stdatamodels.jwst import datamodels
from stdatamodels.jwst.datamodels.util import read_metadata

from upramp.simulate import SimulationConfig, simulate_exposure, write_exposure

FLIGHT = json.loads(Path(__file__).with_name("flight_keywords.json").read_text())
# Not in the flight file of 2022, but in the files of today.
NEWER_KEYWORDS = {"INTSTART", "INTEND"}


def test_hdus(simulated):
    with fits.open(simulated.raw) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "GROUP", "INT_TIMES", "ZEROFRAME", "ASDF"]
        assert hdus["SCI"].header["BITPIX"] == 16 and hdus["SCI"].header["BZERO"] == 32768
        assert hdus["SCI"].data.dtype == np.uint16
        np.testing.assert_array_equal(hdus["SCI"].data, simulated.exposure.data)
        np.testing.assert_array_equal(hdus["ZEROFRAME"].data, simulated.exposure.zeroframe)


@pytest.mark.parametrize("hdu", ["PRIMARY", "SCI"])
def test_keywords_and_their_types_are_those_of_flight(simulated, hdu):
    header = fits.getheader(simulated.raw, hdu)
    ours = {card.keyword: type(card.value).__name__ for card in header.cards if card.keyword}
    unknown = set(ours) - set(FLIGHT[hdu]) - NEWER_KEYWORDS
    assert not unknown
    different = {key: (kind, FLIGHT[hdu][key]) for key, kind in ours.items() if FLIGHT[hdu].get(key, kind) != kind}
    assert not different
    order = [key for key in FLIGHT[hdu] if key in ours and key != "EXTVER"]
    assert [key for key in ours if key in FLIGHT[hdu] and key != "EXTVER"] == order


def test_sections_are_those_of_flight(simulated):
    header = fits.getheader(simulated.raw)
    titles = [card.value.strip() for card in header.cards if not card.keyword and card.value.strip()]
    assert [title for title in FLIGHT["sections"] if title in titles] == titles


def test_times_are_consistent(simulated):
    header, config = fits.getheader(simulated.raw), simulated.config
    assert header["TGROUP"] == pytest.approx((header["NFRAMES"] + header["GROUPGAP"]) * header["TFRAME"])
    assert header["EFFINTTM"] == pytest.approx(10 * 0.27864)
    assert header["EFFEXPTM"] == pytest.approx(3 * header["EFFINTTM"])
    assert (header["EXPEND"] - header["EXPSTART"]) * 86400 == pytest.approx(header["DURATION"], abs=1e-3)
    with fits.open(simulated.raw) as hdus:
        times, groups = hdus["INT_TIMES"].data, hdus["GROUP"].data
        length = (times["int_end_MJD_UTC"] - times["int_start_MJD_UTC"]) * 86400
        np.testing.assert_allclose(length, header["EFFINTTM"], atol=1e-3)
        assert times["int_end_MJD_UTC"][-1] == pytest.approx(header["EXPEND"], abs=1e-8)
        assert len(groups) == config.nints * config.ngroups
        assert groups["group_end_time"][0] == "2024-03-01T12:00:00.557"


def test_peer_reads_the_file_without_a_warning(simulated, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with datamodels.open(simulated.raw) as model:
            assert isinstance(model, datamodels.Level1bModel)
            np.testing.assert_array_equal(model.data, simulated.exposure.data)
            assert getattr(model, "extra_fits", None) is None
            assert model.meta.subarray.xstart == 945
            assert model.int_times["integration_number"].tolist() == [1, 2, 3]
    assert not caplog.records


@pytest.mark.parametrize(
    ("detector", "subarray", "present", "absent"),
    [
        ("NIS", "SUB64", {"INSTRUME": "NIRISS", "PUPIL": "F150W", "FASTAXIS": -2}, {"MODULE", "CHANNEL"}),
        ("GUIDER1", "SUB8CNTR", {"INSTRUME": "FGS", "EXP_TYPE": "FGS_IMAGE"}, {"MODULE", "CHANNEL", "FILTER", "PUPIL"}),
    ],
)
def test_keywords_of_the_other_instruments(tmp_path, detector, subarray, present, absent):
    config = SimulationConfig(detector=detector, subarray=subarray, nints=1, ngroups=2)
    path = write_exposure(simulate_exposure(config), tmp_path / "y_uncal.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with datamodels.open(path) as model:
            assert model.meta.exposure.readpatt == config.readpatt
    header = fits.getheader(path)
    assert {keyword: header[keyword] for keyword in present} == present
    assert not absent & set(header)


def test_asdf_tree_is_the_header(simulated):
    flat = read_metadata(simulated.raw)
    assert flat["meta.instrument.detector"] == "NRCBLONG"
    assert flat["meta.exposure.zero_frame"] is True
    assert flat["meta.filename"] == "x_uncal.fits"
    with datamodels.open(simulated.raw) as model:
        header = {key: value for key, value in model.to_flat_dict().items() if key.startswith("meta.")}
    assert {key: value for key, value in flat.items() if key.startswith("meta.")} == header


def test_files_are_not_overwritten(tmp_path):
    exposure = simulate_exposure(SimulationConfig(subarray="SUB64P", nints=1, ngroups=2))
    path = tmp_path / "y_uncal.fits"
    assert write_exposure(exposure, path) == path
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="exists"):
        write_exposure(exposure, path)
    write_exposure(exposure, path, overwrite=True)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["y_uncal.fits"]


def test_truth_file(simulated):
    truth = simulated.exposure.truth
    with fits.open(simulated.truth) as hdus:
        np.testing.assert_array_equal(hdus["RATE"].data, truth.rate)
        np.testing.assert_array_equal(hdus["SAT_GROUP"].data, truth.saturation_group)
        np.testing.assert_array_equal(hdus["DQ"].data, truth.maps.dq)
        assert len(hdus["COSMIC_RAYS"].data) == truth.cosmic_rays.size > 0
        np.testing.assert_array_equal(hdus["COSMIC_RAYS"].data["charge"], truth.cosmic_rays["charge"])
        assert len(hdus["SNOWBALLS"].data) == 0
        assert json.loads(hdus[0].header["CONFIG"])["nints"] == 3
