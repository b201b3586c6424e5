"""Names of output files: the worked examples of the reference behaviour, and the rules behind them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upramp.framework.output_names import known_suffixes, output_name, split_known_suffix

LONG = "jw01234001001_nrca1_rate.fits"


@pytest.mark.parametrize(
    ("base", "options", "expected"),
    [
        (LONG, {"suffix": "addstep"}, "jw01234001001_nrca1_addstep.fits"),
        (LONG, {"suffix": "myname"}, "jw01234001001_nrca1_myname.fits"),
        (LONG, {"suffix": "cal"}, "jw01234001001_nrca1_cal.fits"),
        ("foo", {"suffix": "addstep", "extension": ".fits"}, "foo_addstep.fits"),
        ("foo.fits", {"suffix": "addstep", "extension": ".fits"}, "foo_addstep.fits"),
        ("foo_rate.fits", {"suffix": "addstep", "extension": ".fits"}, "foo_addstep.fits"),
        ("foo.asdf", {"suffix": "addstep", "extension": ".fits"}, "foo_addstep.fits"),
        ("foo_bar.fits", {"suffix": "addstep"}, "foo_bar_addstep.fits"),
        ("foo.fits", {"suffix": "cal"}, "foo_cal.fits"),
        ("sub/foo.fits", {"suffix": "addstep"}, "foo_addstep.fits"),
        (LONG, {"suffix": "addstep", "extension": "asdf"}, "jw01234001001_nrca1_addstep.asdf"),
        (LONG, {"suffix": "addstep", "components": [0]}, "jw01234001001_nrca1_0_addstep.fits"),
        ("x_jump.fits", {"suffix": "rampfitstep", "components": [1]}, "x_1_rampfitstep.fits"),
        ("a-uncal.fits", {"suffix": "cal"}, "a-cal.fits"),
        ("a_b_uncal.fits", {"suffix": False}, "a_b_uncal.fits"),
        ("a_b_uncal.fits", {"suffix": None}, "a_b.fits"),
        ("a_RATE.fits", {"suffix": "x"}, "a_RATE_x.fits"),
        ("a_fitopt.fits", {"suffix": "x"}, "a_fitopt_x.fits"),
        ("a_rate_rate.fits", {"suffix": "x"}, "a_rate_x.fits"),
        ("a_residual_fringe.fits", {"suffix": "x"}, "a_x.fits"),
        ("a_aminorm-oi.fits", {"suffix": "x"}, "a_x.fits"),
        ("rate.fits", {"suffix": "x"}, "rate_x.fits"),
        ("a_uncal.fits", {"suffix": "x", "components": [None, "b", 2]}, "a_b_2_x.fits"),
        ("a_uncal.fits", {"suffix": "x", "directory": "out"}, "out/a_x.fits"),
    ],
)
def test_worked_examples(base, options, expected):
    assert output_name(base, **options) == Path(expected)


def test_known_suffixes_are_products_aliases_and_class_names():
    known = known_suffixes()
    assert {"uncal", "rateints", "dark_current", "darkcurrentstep", "detector1pipeline"} <= known
    assert not known & {"fitopt", "trapsfilled", "charge_migration", "gain_scaleints", "o4d"}


def test_known_suffixes_agree_with_the_peer():
    suffix = pytest.importorskip("jwst.lib.suffix")
    assert known_suffixes() <= set(suffix.KNOW_SUFFIXES)


@given(st.from_regex(r"\A[a-z0-9][a-z0-9_]{0,12}\Z"), st.sampled_from(sorted(known_suffixes())))
def test_a_new_suffix_replaces_the_old_one(stem, suffix):
    assert split_known_suffix(f"{stem}_{suffix}")[1] == "_"
    once = output_name(f"{stem}_{suffix}.fits", suffix="cal")
    assert output_name(once, suffix="cal") == once
