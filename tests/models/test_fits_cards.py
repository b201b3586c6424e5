"""Cards: the same as astropy's, from text and to text."""

import subprocess
import sys
import warnings

import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from upramp.models._fits_cards import CARD, Header, Unreadable, format_card, format_header

pytestmark = pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning", "ignore:The following header")

# What decides how a card is read: quotes, slashes, signs, exponents, letters of logical values, points, ampersands.
CRUMBS = st.sampled_from(
    ["'", "''", "/", " / ", " ", "  ", "T", "F", "+", "-", ".", "E", "D", "e", "1", "20", "&", ": "]
)
REST = st.lists(CRUMBS | st.sampled_from(["=", "= ", "(1, 2)", "NaN", "x", "a.b", "\xb5", "\t"]), max_size=12).map(
    "".join
)
KEYWORD = st.sampled_from(["NAXIS", "A", "DATE-OBS", "LONGNAME", "", "COMMENT", "HISTORY", "lower", "CONTINUE", "A B"])
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=150)
SHORT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=90)
VALUE = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT


def astropys(image):
    card = fits.Card.fromstring(image)
    try:
        value = card.value
    except fits.VerifyError:
        return card.keyword, Unreadable, card.comment
    return card.keyword, None if isinstance(value, fits.card.Undefined) else value, card.comment


def ours(image):
    (card,) = Header(image.encode("latin-1")).cards
    return card.keyword, Unreadable if isinstance(card.value, Unreadable) else card.value, card.comment


def same(found, expected):
    return found == expected and type(found[1]) is type(expected[1])


@given(KEYWORD, REST)
def test_any_text_is_read_as_astropy_reads_it(keyword, rest):
    image = f"{keyword:8}= {rest}"[:CARD].ljust(CARD)
    assert same(ours(image), astropys(image))


@pytest.mark.parametrize(
    "image",
    [
        "NAXIS   =                    2 / number of axes",
        "SCALE   =            -1.25E-03",
        "OLD     =              1.5D+03 / as Fortran writes it",
        "FLAG    =                    F /",
        "EMPTY   =",
        "EMPTY   =                      / nothing is known",
        "NULL    = ''",
        "NAME    = 'O''Hara ' / it's a name",
        "NAME    = 'a'' / b'",
        "NAME    = '' / 'x'",
        "PATH    = 'a/b/c   ' /a comment /with slashes/",
        "DP1     = 'AXIS.1: 2' / record-valued",
        "TITLE   = 'Stars: 12 clusters'",
        "HIERARCH ESO DET ID = 7 / long keyword",
        "COMPLEX = (1.0, -2.5)",
        "WRONG   = 3 .. 'x",
        "NOVALUE  without an equals sign",
        "HISTORY = looks like a value",
        "COMMENT a remark / with a slash",
        "        a title",
        "",
    ],
)
def test_cards_are_read_as_astropy_reads_them(image):
    image = image.ljust(CARD)
    assert same(ours(image), astropys(image))


def test_long_string_over_several_cards():
    image = str(fits.Card("TITLE", "It's " * 40, "a comment"))
    assert len(image) > CARD
    assert same(ours(image), astropys(image))


@given(
    st.sampled_from(["A", "NAXIS1", "DATE-OBS", "LONG-KEY"]),
    VALUE,
    st.none() | TEXT.filter(lambda text: len(text) < 90),
)
def test_cards_are_written_as_astropy_writes_them(keyword, value, comment):
    found = format_card(keyword, value, comment)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = str(fits.Card(keyword, value))
        room = max(0, CARD - 3 - len(alone.rstrip())) if len(alone.rstrip()) <= CARD else None
        assert found == str(fits.Card(keyword, value, (comment or "")[:room] or None))
    assert len(found) % CARD == 0


@pytest.mark.parametrize("keyword", ["", "COMMENT", "HISTORY"])
@pytest.mark.parametrize("length", [0, 5, 72, 73, 200])
def test_free_text_is_written_as_astropy_writes_it(keyword, length):
    text = ("free text " * 20)[:length]
    header = fits.Header()
    if keyword == "HISTORY":
        header.add_history(text)
    else:
        header.append(fits.Card(keyword, text), end=True)
    assert format_header([format_card(keyword, text, None)]) == header.tostring().encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "two\nlines", "\xb5", 1 + 2j, [1]])
def test_what_fits_cannot_express_is_as_with_astropy(value):
    try:
        expected = str(fits.Card("A", value))
    except ValueError:
        with pytest.raises(ValueError, match="A|[Ii]llegal|not allowed|must contain"):
            format_card("A", value, None)
    else:
        assert format_card("A", value, None) == expected


def test_headers():
    text = ["NAXIS   =                    1", "A       =                    1", "A       =                    2"]
    text += ["HISTORY first", "HISTORY second"]
    header = Header(format_header([one.ljust(CARD) for one in text]) + b"data after it")
    assert "A" in header
    assert header["A"] == header.get("A") == 1
    assert header.get("B") is None
    assert header.all_values("HISTORY") == ["first", "second"]
    with pytest.raises(KeyError, match="there is no card B"):
        header["B"]


def test_reading_and_writing_plain_files_does_without_astropy(uncal, tmp_path):
    """Importing it takes as long as calibrating a subarray."""
    code = f"""
import sys
from upramp import models
model = models.open({str(uncal)!r})
model.meta.observation.observation_label = "O'Hara: 2"
model.int_times
model.save({str(tmp_path / "copy.fits")!r})
sys.exit("astropy" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
