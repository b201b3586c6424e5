"""Cards from metadata, and metadata from cards."""

import logging
import math
import re
import warnings

from upramp.models._fits_cards import Unreadable, format_card
from upramp.models._metadata import ValidationWarning

__all__ = ["append_card", "metadata_cards", "readable_cards"]

log = logging.getLogger(__name__)

_STRUCTURAL = re.compile(
    r"(SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|P(TYPE|SCAL|ZERO)\d+|BSCALE|BZERO|BLANK|DATAM(AX|IN)"
    r"|EXTNAME|EXTVER|EXTLEVEL|TFIELDS|THEAP|T(TYPE|FORM|UNIT|SCAL|ZERO|NULL|DISP|BCOL|DIM)\d+|HISTORY|CHECKSUM|DATASUM|)"
)
_OF_COMPRESSION = re.compile(
    r"Z(IMAGE|TENSION|SIMPLE|EXTEND|BLOCKED|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TILE\d+|CMPTYPE|NAME\d+|VAL\d+|MASKCMP|QUANTIZ"
    r"|DITHER0|SCALE|ZERO|BLANK|HECKSUM|DATASUM)"
)
_UNPRINTABLE = re.compile(r"[^ -~]")


def _is_structural(card):
    """Whether a card describes the HDU itself. Checksums count as such: they are wrong after any change."""
    return _STRUCTURAL.fullmatch(card) is not None


def readable_cards(hdu):
    """Yield (keyword, value, comment) of every card that is not structural; an undefined value is None.

    Those that say how an image is compressed are structural, too: what is made from it is not.
    A card that breaks the FITS standard is reported by a `ValidationWarning` and left out.
    """
    is_compressed = hdu.header.get("ZIMAGE", False)
    for card in hdu.header.cards:
        if _is_structural(card.keyword) or (is_compressed and _OF_COMPRESSION.fullmatch(card.keyword)):
            continue
        if isinstance(card.value, Unreadable):
            warnings.warn(
                f"{hdu.file.path.name}, HDU {hdu.name}: the card {str(card.value)!r} breaks the FITS standard and "
                "is left out",
                ValidationWarning,
                stacklevel=2,
            )
            continue
        yield card


def metadata_cards(schema, values):
    """Cards of all HDUs from metadata.

    Parameters
    ----------
    schema : Schema
    values : dict of str to value

    Returns
    -------
    dict of str to list of (keyword, value, comment)
        By HDU, in the order of the schema. Titles of sections are three cards with a blank keyword; each stands
        once in the file.
    """
    cards, sections = {}, set()
    for path, spec in schema.keywords.items():
        if spec.card is None or path not in values:
            continue
        target = cards.setdefault(spec.hdu, [])
        if spec.section is not None and spec.section not in sections:
            sections.add(spec.section)
            target += [("", "", ""), ("", schema.objects[spec.section], ""), ("", "", "")]
        target.append((spec.card, values[path], spec.title))
    return cards


def append_card(header, keyword, value, comment):
    """Append the text of a card to a list; what FITS cannot express is left to the ASDF extension, and logged."""
    if isinstance(value, float) and not math.isfinite(value):
        log.warning("Card %s is left out: FITS has no cards with the value %s", keyword, value)
        return
    if isinstance(value, str) and _UNPRINTABLE.search(value):
        log.warning("Card %s is written with '?' for characters that FITS does not have: %r", keyword, value)
        value = _UNPRINTABLE.sub("?", value)
    header.append(format_card(keyword, value, comment))
