"""Damaged files: every one is opened and saved, or refused by an error of ours; nothing half-written is left."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from upramp import models
from upramp.errors import FileFormatError, UprampError
from upramp.models._fits_file import FitsFile

BLOCK, CARD = 2880, 80
# TypeError: the class cannot be determined, or the contents are no table. OSError: what the system says.
ALLOWED = (UprampError, TypeError, OSError)
CLASSES = [models.open, models.RampModel, models.ImageModel, models.DataModel, models.Level1bModel, models.MaskModel]
FUZZ = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)

KEYWORDS = st.sampled_from(
    [
        "SIMPLE",
        "XTENSION",
        "BITPIX",
        "NAXIS",
        "NAXIS1",
        "NAXIS2",
        "NAXIS3",
        "NAXIS4",
        "PCOUNT",
        "GCOUNT",
        "GROUPS",
        "EXTNAME",
        "EXTVER",
        "EXTEND",
        "BSCALE",
        "BZERO",
        "BLANK",
        "TFIELDS",
        "TTYPE1",
        "TTYPE2",
        "TFORM1",
        "TFORM2",
        "TFORM5",
        "TDIM1",
        "TZERO1",
        "TSCAL2",
        "THEAP",
        "ZIMAGE",
        "ZNAXIS",
        "ZNAXIS1",
        "ZBITPIX",
        "ZCMPTYPE",
        "DATAMODL",
        "REFTYPE",
        "DATE-OBS",
        "NGROUPS",
        "TELESCOP",
        "FILTER",
        "XSIZE",
        "SSTR",
        "NST",
        "FASTAXIS",
        "HISTORY",
        "CONTINUE",
        "END",
        "ARBITRAR",
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        ["T", "F", "0", "1", "2", "-1", "8", "-32", "16", "-64", "7", "999", "1000", "99999999999999999999", "4.5"]
        + ["NaN", "1E400", "", "'", "''", "'SCI'", "'DQ'", "'ASDF'", "'GROUP'", "'INT_TIMES'", "'IMAGE   '", "'1J'"]
        + ["'BINTABLE'", "'TABLE   '", "'5A'", "'1PJ(3)'", "'X'", "'9999999A'", "'(2,3)'", "'RampModel'", "(1, 2)"]
        + ["'GainModel'", "'LinearityModel'", "'2023-13-45'", "'MASK'", "'RICE_1'", "'group_end_time'", "'XX&'"]
    ),
    st.integers(-(10**6), 10**6).map(str),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).map(lambda text: f"'{text}'"),
    st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=60),
)


def make_card(keyword, value):
    return f"{keyword:8}= {value:>20}"[:CARD].ljust(CARD).encode("latin-1")


def split(content):
    """HDUs of a sound file, as [header, data]."""
    file = FitsFile("x.fits", content)
    return [[content[h.start : h.data_start], bytes(h.raw)[h.data_start - h.start :]] for h in file.hdus]


def joined(hdus):
    return b"".join(header.ljust(-(-len(header) // BLOCK) * BLOCK) + data for header, data in hdus)


@st.composite
def damaged(draw, content):
    """A sound file after one to three damages."""
    hdus = split(content)
    for _ in range(draw(st.integers(1, 3))):
        which = draw(st.integers(0, len(hdus) - 1))
        header, data = hdus[which]
        cards = [header[i : i + CARD] for i in range(0, len(header), CARD)]
        position = draw(st.integers(0, min(len(cards) - 1, 40)))
        damage = draw(
            st.sampled_from(["set", "set", "set", "remove", "repeat", "swap", "double", "bytes", "move", "drop"])
        )
        if damage == "set":
            keyword, value = draw(KEYWORDS), draw(VALUES)
            same = [i for i, card in enumerate(cards) if card[:8].rstrip() == keyword.encode()]
            if same:
                cards[same[0]] = make_card(keyword, value)
            else:
                cards.insert(position, make_card(keyword, value))
        elif damage == "remove":
            del cards[position]
        elif damage == "repeat":
            cards.insert(draw(st.integers(0, len(cards))), cards[position])
        elif damage == "swap":
            other = draw(st.integers(0, len(hdus) - 1))
            hdus[which], hdus[other] = hdus[other], hdus[which]
            continue
        elif damage == "double":
            hdus.insert(draw(st.integers(0, len(hdus))), list(hdus[which]))
            continue
        elif damage == "drop":
            if len(hdus) > 1:
                del hdus[which]
            continue
        elif damage == "bytes" and data:
            at = draw(st.integers(0, len(data) - 1))
            data = data[:at] + (noise := draw(st.binary(min_size=1, max_size=40))) + data[at + len(noise) :]
        else:
            cards[position] = draw(st.binary(min_size=CARD, max_size=CARD))
        hdus[which] = [b"".join(cards), data]
    content = joined(hdus)
    if draw(st.integers(0, 4)) == 0:
        content = content[: draw(st.integers(0, len(content)))]
    return content


@st.composite
def damaged_asdf(draw, content):
    """A sound ASDF file, or extension, with lines of its document changed, and bytes."""
    lines = content.split(b"\n")
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, max(0, min(len(lines) - 1, 200))))
        damage = draw(st.sampled_from(["remove", "repeat", "value", "indent", "bytes", "cut"]))
        line = lines[position]
        if damage == "remove":
            del lines[position]
        elif damage == "repeat":
            lines.insert(position, line)
        elif damage == "value":
            value = draw(
                st.sampled_from(["", "5", "-1", "[1, 2]", "{a: 1}", "null", "!core/ndarray-1.1.0 {source: 99}", "*a"])
            )
            lines[position] = line.partition(b":")[0] + b": " + value.encode()
        elif damage == "indent":
            lines[position] = b"  " + line
        elif damage == "bytes":
            at = draw(st.integers(0, len(line)))
            lines[position] = line[:at] + draw(st.binary(min_size=1, max_size=8)) + line[at + 3 :]
        else:
            lines = lines[: position + 1]
        lines = lines or [b""]
    return b"\n".join(lines)


def use(path, opener, folder):
    """Do with a file what a user does; whether it was refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = opener(path)
            for name in model.schema["properties"]:
                getattr(model, name)
            assert len(model.extra_fits.instance) <= len(model.extra_fits)
            model.to_flat_dict()
            model.copy().save(folder / "saved.fits")
            type(model)(folder / "saved.fits").to_flat_dict()
            model.save(folder / "saved.asdf")
        except ALLOWED as error:
            assert str(error), type(error)
            return True
    return False


def check(content, opener, folder, suffix=".fits"):
    path = folder / f"broken{suffix}"
    path.write_bytes(content)
    refused = use(path, opener, folder)
    left = {file.name for file in folder.iterdir()} - {path.name}
    assert left <= {"saved.fits", "saved.asdf"}
    for name in left:
        (folder / name).unlink()
    assert path.read_bytes() == content
    return refused


class Sources(list):
    """Contents of files, which hypothesis need not print."""

    def __repr__(self):
        return f"<{len(self)} files>"


@pytest.fixture
def sources(uncal, tmp_path):
    """Small files: a raw exposure with tables, an image with flags and cards of its makers, a reference with dq_def."""
    from astropy.io import fits

    image = models.ImageModel(np.arange(12, dtype="f4").reshape(3, 4))
    image.dq = image.get_default("dq")
    image.meta.instrument.name = "MIRI"
    image.meta.of_mine = {"list": [1, "two", {"three": 3.0}], "none": None}
    image.history = ["made"]
    image.save(tmp_path / "image.fits")
    with fits.open(tmp_path / "image.fits") as hdus:
        hdus.insert(2, fits.ImageHDU(np.ones(3, "i2"), name="MINE"))
        hdus.insert(2, fits.CompImageHDU(np.ones((9, 9), "i2"), name="PACKED"))
        hdus.writeto(tmp_path / "image.fits", overwrite=True)
    mask = models.MaskModel(np.zeros((3, 4)))
    mask.dq_def = np.array([(0, 1, "DO_NOT_USE", "bad"), (1, 2, "HOT", "")], mask.get_dtype("dq_def"))
    mask.save(tmp_path / "mask.fits")
    contents = Sources(
        [uncal.read_bytes(), (tmp_path / "image.fits").read_bytes(), (tmp_path / "mask.fits").read_bytes()]
    )
    for file in tmp_path.iterdir():
        file.unlink()
    return contents


@pytest.fixture
def asdf_file(tmp_path):
    """A small ASDF file with flags, a table and metadata of several kinds."""
    mask = models.MaskModel(np.ones((3, 4)))
    mask.dq_def = np.array([(0, 1, "DO_NOT_USE", "bad"), (1, 2, "HOT", "")], mask.get_dtype("dq_def"))
    mask.meta.of_mine = {"list": [1, "two", {"three": 3.0}], "none": None}
    mask.history = ["made"]
    path = Path(mask.save(tmp_path / "mask.asdf"))
    content = path.read_bytes()
    path.unlink()
    return content


@FUZZ
@given(data=st.data())
def test_damaged_fits(sources, tmp_path, data):
    content = data.draw(damaged(data.draw(st.sampled_from(sources))))
    check(content, data.draw(st.sampled_from(CLASSES)), tmp_path)


@FUZZ
@given(data=st.data())
def test_damaged_asdf_extension(sources, tmp_path, data):
    hdus = split(data.draw(st.sampled_from(sources[:2])))
    [asdf] = [hdu for hdu in hdus if b"'ASDF    '" in hdu[0]]
    document = data.draw(damaged_asdf(asdf[1]))[: len(asdf[1])]
    asdf[1] = document.ljust(len(asdf[1]), b"\0")
    check(joined(hdus), data.draw(st.sampled_from(CLASSES)), tmp_path)


@FUZZ
@given(data=st.data())
def test_damaged_asdf_file(asdf_file, tmp_path, data):
    content = data.draw(damaged_asdf(asdf_file))
    check(content, data.draw(st.sampled_from(CLASSES)), tmp_path, ".asdf")


@pytest.mark.parametrize("cut", [0, 1, 79, 2880, 5000, -3000])
def test_cut_off(sources, tmp_path, cut):
    content = sources[0][:cut]
    path = tmp_path / "cut.fits"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="truncated|not a FITS file"):
        models.open(path)


def test_damaged_table_is_refused_by_name(uncal):
    content = uncal.read_bytes().replace(b"TFORM3  = '1I", b"TFORM3  = '1*")
    uncal.write_bytes(content.replace(b"TFORM3  = 'I ", b"TFORM3  = '* "))
    with pytest.raises(FileFormatError, match=r"GROUP.*does not describe a table.*TFORM3"):
        models.open(uncal).group  # noqa: B018


def test_saving_over_a_sound_file_fails_without_a_trace(tmp_path):
    models.ImageModel(np.ones((2, 2))).save(tmp_path / "x.fits")
    before = (tmp_path / "x.fits").read_bytes()
    broken = models.ImageModel(np.ones((2, 2)))
    broken.meta.of_mine = object()
    with pytest.raises(UprampError):
        broken.save(tmp_path / "x.fits")
    assert [file.name for file in tmp_path.iterdir()] == ["x.fits"]
    assert (tmp_path / "x.fits").read_bytes() == before


@pytest.mark.parametrize(("keyword", "value"), [("PCOUNT", -2880), ("GCOUNT", -1), ("NAXIS", -1), ("NAXIS", 10**9)])
def test_negative_sizes_do_not_lead_back_into_the_file(sources, tmp_path, keyword, value):
    hdus = split(sources[0])
    cards = [hdus[1][0][i : i + CARD] for i in range(0, len(hdus[1][0]), CARD)]
    hdus[1][0] = b"".join(make_card(keyword, value) if c[:8].rstrip() == keyword.encode() else c for c in cards)
    (tmp_path / "back.fits").write_bytes(joined(hdus))
    with pytest.raises(FileFormatError, match=rf"HDU 1: the header does not say.*{keyword} is {value}"):
        models.open(tmp_path / "back.fits")
