"""What a file holds besides the schema: cards and whole HDUs, kept and written back."""

from dataclasses import dataclass, field

import numpy as np

from upramp.models._fits_cards import Header, format_header
from upramp.models._fits_header import append_card, readable_cards
from upramp.models._tables import encode_table, native_rows, table_cards

__all__ = ["ExtraFits", "ExtraHdu", "MadeHdu", "image_cards", "settle_extra"]

_BITPIX = {"u1": 8, "i2": 16, "u2": 16, "i4": 32, "u4": 32, "i8": 64, "f4": -32, "f8": -64}
_BZERO = {"u2": 2**15, "u4": 2**31}


@dataclass
class ExtraHdu:
    """What the schema does not know of one HDU; what is changed here is saved with the model.

    Attributes
    ----------
    header : list of [keyword, value, comment]
    data : ndarray or None
    """

    header: list = field(default_factory=list)
    data: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class MadeHdu:
    """An HDU that came from elsewhere than a FITS file: name, header (`Header`) and the bytes of both."""

    name: str
    header: Header = field(repr=False)
    raw: bytes = field(repr=False)
    data_start: int = 0
    start: int = 0
    array: np.ndarray | None = field(default=None, repr=False)


class ExtraFits:
    """The extra cards and HDUs of a model, by EXTNAME as attribute or key: each an `ExtraHdu`."""

    def __init__(self, model):
        self._model = model

    def _names(self):
        return [*self._model._extra_cards, *(hdu.name for hdu in self._model._extra_hdus)]

    def __getitem__(self, name):
        opened = self._model._extra_opened
        if name not in opened:
            cards, place = self._model._extra_cards.get(name), _place_of(name, self._model)
            if cards is None and place is None:
                raise KeyError(name)
            opened[name] = ExtraHdu(_lists(cards)) if cards is not None else _opened(self._model._extra_hdus[place])
        return opened[name]

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there are no extra cards or HDUs {name!r}; there are {self._names()}") from None

    def __contains__(self, name):
        return name in self._names()

    def __iter__(self):
        return iter(self._names())

    def __len__(self):
        return len(self._names())

    def __eq__(self, other):
        return self.instance == (other.instance if isinstance(other, ExtraFits) else other)

    __hash__ = None

    def __repr__(self):
        return f"<extra_fits {self._names()}>"

    @property
    def instance(self):
        """The same as nested dictionaries, as ASDF files hold it."""
        tree = {}
        for name in self._names():
            hdu = self[name]
            tree[name] = {"header": hdu.header}
            if hdu.data is not None:
                tree[name]["data"] = hdu.data
        return tree

    def take(self, tree):
        """Add what an ASDF file holds."""
        for name, entry in (tree or {}).items():
            cards = _tuples(entry.get("header", ()))
            if entry.get("data") is None and name in self._model._schema.known_hdus:
                self._model._extra_cards.setdefault(name, []).extend(cards)
            else:
                self._model._extra_hdus.append(_made_hdu(name, cards, entry.get("data")))


def settle_extra(model):
    """Bring the extra cards and HDUs of a model up to date with what was changed in its `ExtraFits`.

    An HDU that is as it was stays the bytes of its file.
    """
    for name, changed in model._extra_opened.items():
        if name in model._extra_cards:
            model._extra_cards[name] = _tuples(changed.header)
            continue
        place = _place_of(name, model)
        before = _opened(model._extra_hdus[place])
        if changed.header != before.header or not _same_array(changed.data, before.data):
            cards = _tuples(changed.header)
            data = None if changed.data is None else np.asarray(changed.data)
            model._extra_hdus[place] = _made_hdu(name, cards, data)


def _place_of(name, model):
    return next((place for place, hdu in enumerate(model._extra_hdus) if hdu.name == name), None)


def _opened(hdu):
    return ExtraHdu(_lists(_cards_of(hdu)), _data_of(hdu))


def _lists(cards):
    return [list(card) for card in cards]


def _tuples(cards):
    """Keyword, value and comment of every card, which may be given without a comment."""
    return [(*card, None)[:3] for card in cards]


def _same_array(one, other):
    if one is None or other is None:
        return one is other
    one, other = np.asarray(one), np.asarray(other)
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _cards_of(hdu):
    return hdu.header.cards if isinstance(hdu, MadeHdu) else readable_cards(hdu)


def _data_of(hdu):
    if isinstance(hdu, MadeHdu):
        return hdu.array
    if not hdu.data_size:
        return None
    if hdu.is_table:
        return native_rows(hdu)
    if not hdu.is_plain:
        return hdu.read_by_astropy()
    image = hdu.image()
    return image.native(image.dtype)


def image_cards(shape, kind):
    """Structural cards of an image HDU: list of (keyword, value, comment)."""
    cards = [
        ("XTENSION", "IMAGE", "Image"),
        ("BITPIX", _BITPIX[kind], "Bits per element; negative for floats"),
        ("NAXIS", len(shape), "Number of axes"),
        *((f"NAXIS{i}", length, None) for i, length in enumerate(reversed(shape), 1)),
        ("PCOUNT", 0, "Bytes besides the array"),
        ("GCOUNT", 1, "Number of arrays"),
    ]
    if kind in _BZERO:
        cards += [("BSCALE", 1, None), ("BZERO", _BZERO[kind], "Offset of unsigned integers")]
    return cards


def _made_hdu(name, cards, array):
    from upramp.models._mapped import encode

    if array is not None:
        array = np.array(array, dtype=array.dtype.newbyteorder("="))
    if array is None:
        structure, data = image_cards((), "u1"), b""
    elif array.dtype.names:
        structure, data = table_cards(array.dtype, len(array), {}), encode_table(array)
    else:
        kind = array.dtype.str[1:]
        structure, data = image_cards(array.shape, kind), encode(array, kind).tobytes()
    texts = []
    for card in (*structure, ("EXTNAME", name, "Name of the HDU"), *cards):
        append_card(texts, *card)
    header = format_header(texts)
    data += bytes(-len(data) % 2880)
    own = [card for card in Header(header).cards if card.keyword in {c[0] for c in cards}]
    made = Header(b"")
    made.cards = own
    return MadeHdu(name, made, header + data, len(header), 0, array)
