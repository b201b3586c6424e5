"""Bad input on the command line: a clear message, exit status 1 or 2, nothing written, nothing left behind."""

import shutil

import numpy as np
import pytest
from astropy.io import fits

from upramp.framework.strun import main


@pytest.fixture
def refused(small, workdir, tmp_path, capsys):
    """Run the pipeline on a file and make sure that it is refused; returns what the user sees."""

    def run(path, *options, status=1, output_dir="out", with_references=True):
        before = sorted(tmp_path.rglob("*"))
        given = small.options() if with_references else []
        arguments = ["calwebb_detector1", str(path), f"--output_dir={output_dir}", *given, *options]
        try:
            found = main(arguments)
        except SystemExit as stop:
            found = stop.code
        captured = capsys.readouterr()
        assert found == status, captured.out + captured.err
        # The folder for the output may have been made, but it is empty.
        made = [path for path in sorted(tmp_path.rglob("*")) if path not in before]
        assert made in ([], [workdir / "out"])
        return " ".join((captured.out + captured.err).split())

    return run


@pytest.fixture
def changed(small, tmp_path):
    """Write a changed copy of the exposure: ``change(hdus)`` gets the HDUs."""

    def write(change):
        path = tmp_path / "bad_uncal.fits"
        with fits.open(small.path) as hdus:
            del hdus["ASDF"]  # the headers say the same
            replacement = change(hdus)
            (hdus if replacement is None else replacement).writeto(path)
        return path

    return write


def changed_reference(small, folder, reftype, change):
    path = shutil.copy(small.references[reftype], folder / f"{reftype}.fits")
    with fits.open(path, mode="update") as hdus:
        change(hdus)
    return path


def test_no_such_file(refused):
    assert "nothing_uncal.fits" in refused("nothing_uncal.fits")


@pytest.mark.parametrize("content", [b"", b"this is not FITS\n" * 400])
def test_not_fits(refused, tmp_path, content):
    path = tmp_path / "text_uncal.fits"
    path.write_bytes(content)
    assert "text_uncal.fits" in refused(path)
    assert "FITS" in refused(path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated(refused, small, tmp_path, part):
    path = tmp_path / "short_uncal.fits"
    content = small.path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    message = refused(path)
    assert "short_uncal.fits" in message and "truncated" in message


def test_no_science_array(refused, changed):
    def change(hdus):
        del hdus["SCI"]

    assert "SCI" in refused(changed(change))


def test_wrong_dimensions(refused, changed):
    def change(hdus):
        hdus["SCI"].data = hdus["SCI"].data[0].copy()

    message = refused(changed(change))
    assert "SCI" in message and "(6, 12, 16)" in message


def test_groups_do_not_match_the_header(refused, changed):
    def change(hdus):
        hdus[0].header["NGROUPS"] = 7

    message = refused(changed(change))
    assert "NGROUPS" in message and "7" in message and "6" in message


@pytest.mark.parametrize("keyword", ["NFRAMES", "GROUPGAP", "TGROUP", "TFRAME", "DETECTOR", "SUBSTRT1", "SUBSTRT2"])
def test_missing_keyword(refused, changed, keyword):
    message = refused(changed(lambda hdus: hdus[0].header.remove(keyword)))
    assert keyword in message


@pytest.mark.parametrize(("keyword", "value"), [("NFRAMES", 0), ("NFRAMES", -1), ("TGROUP", 0.0)])
def test_keyword_that_is_not_above_zero(refused, changed, keyword, value):
    path = changed(lambda hdus: hdus[0].header.set(keyword, value))
    assert f"{keyword} is {value}; expected more than 0" in refused(path)


REFTYPES = ["mask", "saturation", "superbias", "linearity", "dark", "gain", "readnoise"]


@pytest.mark.parametrize("reftype", REFTYPES)
def test_reference_without_its_array(refused, small, tmp_path, reftype):
    path = tmp_path / f"{reftype}.fits"
    fits.PrimaryHDU(header=fits.getheader(small.references[reftype])).writeto(path)
    step = {"mask": "dq_init", "dark": "dark_current", "readnoise": "jump", "gain": "jump"}.get(reftype, reftype)
    shown = refused(small.path, f"--steps.{step}.override_{reftype}={path}")
    assert f"{reftype.upper()} reference " in shown and "has no array" in shown


@pytest.mark.parametrize("reftype", REFTYPES)
def test_reference_of_another_shape(refused, small, tmp_path, reftype):
    def change(hdus):
        hdu = hdus[{"mask": "DQ", "linearity": "COEFFS"}.get(reftype, "SCI")]
        hdu.data = hdu.data[..., :-2].copy()

    path = changed_reference(small, tmp_path, reftype, change)
    step = {"mask": "dq_init", "dark": "dark_current", "readnoise": "jump", "gain": "jump"}.get(reftype, reftype)
    message = refused(small.path, f"--steps.{step}.override_{reftype}={path}")
    assert "14" in message and "16" in message


def test_reference_of_another_instrument(refused, small, tmp_path):
    path = changed_reference(
        small, tmp_path, "superbias", lambda hdus: hdus[0].header.update(INSTRUME="NIRSPEC", DETECTOR="NRS1")
    )
    message = refused(small.path, f"--steps.saturation.override_superbias={path}")
    assert "NIRSPEC" in message and "NIRCAM" in message and "override_superbias" in message


def test_reference_file_missing(refused, small):
    message = refused(small.path, "--steps.dark_current.override_dark=nowhere.fits")
    assert "dark" in message and "nowhere.fits" in message


def test_all_references_missing_are_listed_at_once(refused, small):
    message = refused(small.path, with_references=False, status=255)
    for reftype in ("dark", "gain", "ipc", "linearity", "mask", "readnoise", "saturation", "superbias"):
        assert f" {reftype}: " in message
    assert "CRDS_PATH" in message and "override_" in message


def test_unknown_parameter(refused, small):
    assert "--steps.jump.nope" in refused(small.path, "--steps.jump.nope=3", status=2)


def test_parameter_out_of_range(refused, small):
    message = refused(small.path, "--steps.jump.rejection_threshold=-1")
    assert "rejection_threshold" in message and "too small" in message


def test_output_folder_is_a_file(refused, small, tmp_path):
    (tmp_path / "file").write_text("in the way")
    message = refused(small.path, output_dir=tmp_path / "file")
    assert "output folder" in message and str(tmp_path / "file") in message.replace(" ", "")


def test_output_is_the_input(refused, small, tmp_path):
    path = shutil.copy(small.path, tmp_path / "x_rate.fits")
    before = path.read_bytes()
    message = refused(path, output_dir=tmp_path)
    assert "input file itself" in message
    assert path.read_bytes() == before


def test_references_of_another_instrument_are_refused(refused, changed):
    def change(hdus):
        hdus[0].header.update(INSTRUME="MIRI", DETECTOR="MIRIMAGE", READPATT="FASTR1")

    assert "is for the instrument NIRCAM; the exposure is from MIRI" in refused(changed(change))


def test_a_failure_while_writing_leaves_nothing(small, workdir, monkeypatch, capsys):
    """The disk is full when the products are laid out."""
    import errno
    import os

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    status = main(["calwebb_detector1", str(small.path), "--output_dir=out", *small.options()])
    assert status == 1
    assert "No space left" in capsys.readouterr().out
    assert list((workdir / "out").iterdir()) == []


def test_the_exposure_itself_is_fine(small, workdir):
    assert main(["calwebb_detector1", str(small.path), "--output_dir=out", *small.options()]) == 0
    names = sorted(path.name for path in (workdir / "out").iterdir())
    assert names == ["x_rate.fits", "x_rateints.fits"]
    assert np.isfinite(fits.getdata(workdir / "out" / "x_rate.fits", "SCI")).any()
