"""Reading FITS: headers are parsed, arrays are only located.

The file is mapped once; every array is a view into the mapping. A gzipped file is unpacked into memory and
then treated the same way. astropy reads what is not stored plainly (tile-compressed images, images with another scale).
"""

import gzip
import io
import math
import mmap
from dataclasses import dataclass, field
from pathlib import Path

from upramp.errors import FileFormatError
from upramp.models._fits_cards import BLOCK, CARD, Header
from upramp.models._mapped import BitsArray, map_file

__all__ = ["FitsFile", "Hdu"]

_KINDS = {8: "u1", 16: "i2", 32: "i4", 64: "i8", -32: "f4", -64: "f8"}
_UNSIGNED = {("i2", 2**15): "u2", ("i4", 2**31): "u4"}
_MOST_AXES = 999
_END = b"END" + b" " * (CARD - 3)


@dataclass(frozen=True)
class Hdu:
    """One HDU: its header, and where header and data lie in the buffer of the file [bytes]."""

    file: "FitsFile" = field(repr=False)
    index: int
    header: Header = field(repr=False)
    start: int
    data_start: int
    data_size: int

    @property
    def name(self):
        """EXTNAME in upper case; PRIMARY for the first HDU."""
        return "PRIMARY" if self.index == 0 else str(self.header.get("EXTNAME", "")).strip().upper()

    @property
    def version(self):
        """EXTVER, 1 if absent."""
        return self.header.get("EXTVER", 1)

    @property
    def is_table(self):
        """Whether this is a binary table that is not a compressed image."""
        return str(self.header.get("XTENSION", "")).strip() == "BINTABLE" and not self.header.get("ZIMAGE", False)

    @property
    def shape(self):
        """Shape of the image in numpy order; () when there is none."""
        prefix = "Z" if self.header.get("ZIMAGE", False) else ""
        return tuple(self.header[f"{prefix}NAXIS{i}"] for i in range(self.header.get(f"{prefix}NAXIS", 0), 0, -1))

    @property
    def raw(self):
        """All bytes of the HDU, padding included."""
        end = self.data_start + -(-self.data_size // BLOCK) * BLOCK
        return memoryview(self.file.buffer)[self.start : end]

    @property
    def data_bytes(self):
        """The bytes of the data."""
        return memoryview(self.file.buffer)[self.data_start : self.data_start + self.data_size]

    @property
    def is_plain(self):
        """Whether values are stored as they are, or as unsigned integers with the usual BZERO."""
        if self.header.get("ZIMAGE", False):
            return False
        scale, zero = self.header.get("BSCALE", 1), self.header.get("BZERO", 0)
        kind = _KINDS[self.header["BITPIX"]]
        return scale == 1 and (zero == 0 or (kind, zero) in _UNSIGNED)

    def image(self):
        """The image as a `BitsArray`; only for a plain one."""
        kind = _KINDS[self.header["BITPIX"]]
        kind = _UNSIGNED.get((kind, self.header.get("BZERO", 0)), kind)
        return BitsArray(self.file.buffer, self.data_start, self.shape, kind)

    def read_by_astropy(self, convert=None):
        """The data as a native array, unpacked and scaled.

        Parameters
        ----------
        convert : callable, optional
            What to make of the data instead, as long as the file is open.

        Raises
        ------
        FileFormatError
            The HDU is damaged; whatever astropy, or what it unpacks with, stumbles over is one of its causes.
        """
        from astropy.io import fits  # takes 0.5 s to import

        try:
            with fits.open(self.file.for_astropy(), memmap=False) as hdus:
                data = hdus[self.index].data
                return convert(data) if convert else data.astype(data.dtype.newbyteorder("="))
        except Exception as error:
            raise FileFormatError(
                f"{self.file.path}, HDU {self.index} ({self.name}): the data cannot be read, for the header does not "
                f"describe them, or they are damaged ({type(error).__name__}: {error})"
            ) from error


class FitsFile:
    """A FITS file: the list of its HDUs.

    Parameters
    ----------
    path : path-like
        ``.fits``, or gzipped ``.fits.gz``.
    content : bytes, optional
        Contents of the file, when they are at hand already.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    FileFormatError
        The file is not FITS, is truncated, or a header contradicts itself.
    """

    def __init__(self, path, content=None):
        self.path = Path(path)
        self.buffer = self._load() if content is None else content
        self.hdus = []
        position = 0
        while position < len(self.buffer):
            if position and not bytes(self.buffer[position : position + BLOCK]).strip(b"\0 "):
                break  # padding after the last HDU, left by tape-era writers
            hdu = self._read_hdu(position, len(self.hdus))
            self.hdus.append(hdu)
            position = hdu.data_start + -(-hdu.data_size // BLOCK) * BLOCK

    def __reduce__(self):
        # Only HDUs that no schema knows come here. The contents go along: the file may be gone by then.
        return FitsFile, (self.path, bytes(self.buffer))

    @classmethod
    def of_hdulist(cls, hdus):
        """The file that astropy would write for a list of HDUs."""
        buffer = io.BytesIO()
        hdus.writeto(buffer, output_verify="silentfix+warn")
        return cls(hdus.filename() or "hdulist.fits", buffer.getvalue())

    def _load(self):
        with self.path.open("rb") as handle:
            magic = handle.read(30)
            if magic[:2] == b"\x1f\x8b":
                handle.seek(0)
                try:
                    content = gzip.decompress(handle.read())
                except (OSError, EOFError) as error:
                    raise FileFormatError(f"{self.path} is gzipped but does not unpack: {error}") from error
                magic = content[:30]
            elif magic:
                content = map_file(handle)
        if magic[:9] != b"SIMPLE  =":
            raise FileFormatError(
                f"{self.path} is not a FITS file: it begins with {bytes(magic[:9])!r} instead of b'SIMPLE  ='"
            )
        return content

    def _read_hdu(self, start, index):
        where = f"{self.path}, HDU {index}"
        end = start
        while True:
            block = bytes(self.buffer[end : end + BLOCK])
            if len(block) < BLOCK:
                raise FileFormatError(
                    f"{where}: the header that begins at byte {start} has no END before the file ends "
                    f"at byte {len(self.buffer)}; the file is truncated or damaged. Get it again."
                )
            end += BLOCK
            if any(block[i : i + CARD] == _END for i in range(0, BLOCK, CARD)):
                break
        header = Header(bytes(self.buffer[start:end]))
        try:
            size = _data_size(header)
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{where}: the header does not say how large its data are ({error})") from error
        if end + size > len(self.buffer):
            name = header.get("EXTNAME", "PRIMARY")
            raise FileFormatError(
                f"{where} ({name}): the header announces {size} bytes of data from byte {end}, but the file "
                f"ends at byte {len(self.buffer)}; it is truncated. Get it again."
            )
        return Hdu(self, index, header, start, end, size)

    def for_astropy(self):
        """What ``astropy.io.fits.open`` takes to read the same file."""
        return self.path if isinstance(self.buffer, mmap.mmap) else io.BytesIO(self.buffer)

    def find(self, name):
        """The first HDU of that EXTNAME, or None."""
        return next((hdu for hdu in self.hdus if hdu.name == name), None)


def _data_size(header):
    """Size of the data of an HDU [bytes], without padding (FITS standard 4.0, eq. 2)."""
    bitpix = header["BITPIX"]
    if bitpix not in _KINDS:
        raise ValueError(f"BITPIX is {bitpix}; FITS knows {sorted(_KINDS)}")
    axes, groups, besides = header["NAXIS"], header.get("GCOUNT", 1), header.get("PCOUNT", 0)
    for name, count in {"NAXIS": axes, "GCOUNT": groups, "PCOUNT": besides}.items():
        if not isinstance(count, int) or count < 0:
            raise ValueError(f"{name} is {count!r}")
    if axes > _MOST_AXES:
        raise ValueError(f"NAXIS is {axes}; FITS has up to {_MOST_AXES} axes")
    lengths = [header[f"NAXIS{i}"] for i in range(1, axes + 1)]
    if any(not isinstance(n, int) or n < 0 for n in lengths):
        raise ValueError(f"the lengths of the axes are {lengths}")
    if not lengths:
        return 0
    if lengths[0] == 0 and header.get("GROUPS", False):
        lengths = lengths[1:]
    return abs(bitpix) // 8 * groups * (besides + math.prod(lengths))
