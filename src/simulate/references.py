"""The reference files that undo what the simulator did, written with astropy alone."""

from dataclasses import dataclass, replace
from pathlib import Path

import asdf
import numpy as np
from astropy.io import fits

from upramp.errors import ConfigError
from upramp.simulate.detector_maps import DQ, detector_maps, random_stream
from upramp.simulate.detectors import DETECTORS, Window
from upramp.simulate.files import refuse_to_overwrite, write_hdus
from upramp.simulate.irs2 import (
    correction_table,
    flagged_pairs,
    interleave,
    interleaved_bias,
    interleaved_mask,
)
from upramp.simulate.miri import write_miri_references
from upramp.simulate.optional_effects import write_emicorr

__all__ = ["AUTHOR", "NO_DEFECTS", "USE_AFTER", "ReferenceDefects", "ReferenceWriter", "make_references"]

AUTHOR = "upramp simulate"
PIPELINE_PARAMETERS = "pars-detector1pipeline"
USE_AFTER = "2022-01-01T00:00:00"
SATURATION_MARGIN = 0.98  # threshold in units of the full well
LINEARITY_TERMS = 5
INVERSE_TERMS = 8
INVERSE_RANGE = 1.5  # the inverse polynomial is fitted up to this multiple of the full well
MAX_DARK_BYTES = 2**29

# Not tied to a subarray.
_WHOLE_DETECTOR_TYPES = (
    "area", "distortion", "emicorr", "filteroffset", "ipc", "photom", "refpix", "rscd", PIPELINE_PARAMETERS,
)  # fmt: skip
_DQ_DEF_DTYPE = np.dtype([("BIT", ">i4"), ("VALUE", ">u4"), ("NAME", "S40"), ("DESCRIPTION", "S80")])


@dataclass(frozen=True)
class ReferenceDefects:
    """What is wrong with the reference files: fractions of the pixels, drawn independently for each entry.

    Attributes
    ----------
    nan_bias, nan_gain, nan_read_noise, nan_linearity, nan_dark, nan_saturation : float
        NaN in SCI (or in one coefficient). Only in the superbias does DQ say so (UNRELIABLE_BIAS).
    zero_gain, negative_gain : float
        Gain 0, and gain of the wrong sign.
    zero_linear_coefficient : float
        All coefficients 0, which makes the correction impossible.
    no_lin_corr, no_sat_check : float
        Flagged NO_LIN_CORR (with senseless coefficients) and NO_SAT_CHECK (with threshold 0).
    bad_reference_pixels : float
        Reference pixels flagged DO_NOT_USE in the mask, besides those that the configuration makes bad.
    nan_flat, zero_flat, nan_flat_error : float
        NaN and 0 in the flat, NaN in its error.
    unreliable_flat : float
        Flagged UNRELIABLE_FLAT.
    scrambled_dq : bool
        DQ arrays use bits of their own, with a DQ_DEF table that says which.
    """

    nan_bias: float = 0.0
    nan_gain: float = 0.0
    nan_read_noise: float = 0.0
    nan_linearity: float = 0.0
    nan_dark: float = 0.0
    nan_saturation: float = 0.0
    zero_gain: float = 0.0
    negative_gain: float = 0.0
    zero_linear_coefficient: float = 0.0
    no_lin_corr: float = 0.0
    no_sat_check: float = 0.0
    bad_reference_pixels: float = 0.0
    nan_flat: float = 0.0
    zero_flat: float = 0.0
    nan_flat_error: float = 0.0
    unreliable_flat: float = 0.0
    scrambled_dq: bool = False


NO_DEFECTS = ReferenceDefects()


def make_references(
    config, folder, *, full_frame=False, defects=NO_DEFECTS, dark_groups=None, inverse_linearity=False,
    pixelwise_ipc=False, overwrite=False,
):  # fmt: skip
    """Write the reference files that match an exposure.

    Parameters
    ----------
    config : SimulationConfig
    folder : path-like
        Made if it does not exist.
    full_frame : bool
        Cover the whole detector, so that the pipeline has to cut out the subarray (mask, saturation, superbias,
        linearity, gain, readnoise). The dark always has the shape of the exposure.
    defects : ReferenceDefects
    dark_groups : int or None
        Groups (of one frame) of the dark; None: as many frames as an integration has, but no more than 512 MiB
        (the pipeline extrapolates a dark that is too short).
    inverse_linearity : bool
        Add the coefficients of the inverse polynomial (HDU INV_COEFFS).
    pixelwise_ipc : bool
        Write the inter-pixel kernel for every pixel (4-D) instead of once (2-D).
    overwrite : bool

    Returns
    -------
    dict of str to Path
        By reference type. Without coupling (``config.ipc`` None) there is no ``ipc``, but a parameter file
        ``pars-detector1pipeline`` that switches the step off. MIRI has ``reset`` and ``rscd``, and no ``superbias``;
        with interference it has ``emicorr``.

    Raises
    ------
    FileExistsError
        A file exists and ``overwrite`` is False.
    ConfigError
        ``dark_groups`` is less than 2.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    writer = ReferenceWriter(config, folder, defects, overwrite)
    if full_frame:
        writer.use(replace(config, subarray="FULL", window=None, noutputs=None, stripes=None))
    miri = DETECTORS[config.detector].instrument == "MIRI"
    paths = {
        "mask": writer.mask(),
        "saturation": writer.saturation(),
        "linearity": writer.linearity(inverse_linearity),
        "gain": writer.gain(),
        "readnoise": writer.readnoise(),
    }
    if not miri:
        paths["superbias"] = writer.superbias()
    writer.use(config)
    dark_groups = writer.groups_of_dark(dark_groups)
    paths |= write_miri_references(writer, dark_groups) if miri else {"dark": writer.dark(dark_groups)}
    if miri and config.emi:
        paths["emicorr"] = write_emicorr(config, writer.path("emicorr", ".asdf"), USE_AFTER, overwrite)
    if config.is_irs2:
        paths["refpix"] = writer.refpix()
    if config.ipc is None:
        paths[PIPELINE_PARAMETERS] = writer.pipeline_parameters()
    else:
        paths["ipc"] = writer.ipc(pixelwise_ipc)
    return paths


class ReferenceWriter:
    """Writes one file per method, for the configuration last given to `use`."""

    def __init__(self, config, folder, defects, overwrite):
        self.folder, self.defects, self.overwrite = folder, defects, overwrite
        self.use(config)

    def use(self, config):
        self.config, self.maps = config, detector_maps(config)

    def path(self, reftype, suffix):
        names = [self.config.detector, reftype]
        if reftype not in _WHOLE_DETECTOR_TYPES:
            names.insert(1, self.config.subarray)
        return self.folder / ("_".join(names).lower() + suffix)

    def chosen(self, name):
        """(ny, nx) bool: the pixels that have the named defect."""
        fraction = getattr(self.defects, name)
        stream = random_stream(self.config.detector_seed, f"defect {name}")
        return stream.random(self.maps.bias.shape, dtype=np.float32) < fraction

    def pipeline_parameters(self):
        """Parameters that switch the ipc step off, as in operations, where there is no kernel."""
        tree = {
            "meta": {
                "author": AUTHOR,
                "date": f"{USE_AFTER}.000",
                "description": "Parameters of Detector1Pipeline for simulated exposures",
                "instrument": {
                    "name": DETECTORS[self.config.detector].instrument,
                    "detector": self.config.detector,
                },
                "origin": "UPRAMP",
                "pedigree": "SIMULATION",
                "reftype": PIPELINE_PARAMETERS,
                "telescope": "JWST",
                "useafter": USE_AFTER,
            },
            "class": "jwst.pipeline.calwebb_detector1.Detector1Pipeline",
            "name": "Detector1Pipeline",
            "parameters": {},
            "steps": [
                {"class": "jwst.ipc.ipc_step.IPCStep", "name": "ipc", "parameters": {"skip": True}},
            ],
        }
        path = self.path(PIPELINE_PARAMETERS, ".asdf")
        refuse_to_overwrite(path, self.overwrite)
        asdf.AsdfFile(tree).write_to(path)
        return path

    def write(self, reftype, model, hdus, keywords=(), description=""):
        detector, image = DETECTORS[self.config.detector], self.config.image
        # The lines of a substripe readout have the keywords of the exposure.
        window = image if isinstance(image, Window) else self.config.geometry
        path = self.path(reftype, ".fits")
        header = fits.Header()
        header.extend(
            [
                ("DATE", USE_AFTER + ".000", "UTC date file created"),
                ("FILENAME", path.name, "Name of the file"),
                ("DATAMODL", model, "Type of data model"),
                ("TELESCOP", "JWST", "Telescope used to acquire the data"),
                ("REFTYPE", reftype.upper(), "Reference file type"),
                ("PEDIGREE", "SIMULATION", "The pedigree of the reference file"),
                ("DESCRIP", description or f"Simulated {reftype}", "Description of the reference file"),
                ("AUTHOR", AUTHOR, "Author of the reference file"),
                ("USEAFTER", USE_AFTER, "Use after date of the reference file"),
                ("INSTRUME", detector.instrument, "Instrument used to acquire the data"),
                ("DETECTOR", detector.name, "Name of detector used to acquire the data"),
            ]
        )
        if reftype not in _WHOLE_DETECTOR_TYPES:
            header.extend(
                [
                    ("SUBARRAY", self.config.subarray, "Subarray used"),
                    ("SUBSTRT1", window.xstart, "Starting pixel in axis 1 direction"),
                    ("SUBSTRT2", window.ystart, "Starting pixel in axis 2 direction"),
                    ("SUBSIZE1", window.xsize, "Number of pixels in axis 1 direction"),
                    ("SUBSIZE2", window.ysize, "Number of pixels in axis 2 direction"),
                    ("FASTAXIS", detector.fastaxis, "Fast readout axis direction"),
                    ("SLOWAXIS", detector.slowaxis, "Slow readout axis direction"),
                ]
            )
        header.extend(keywords)
        return write_hdus(path, [fits.PrimaryHDU(header=header), *hdus], self.overwrite)

    def dq_hdus(self, dq):
        """DQ and DQ_DEF of standard bits, which are moved to others if the defects say so."""
        used = [name for name, flag in DQ.items() if np.any(dq & flag)]
        bits = [int(DQ[name]).bit_length() - 1 for name in used]
        if self.defects.scrambled_dq:
            bits = list(range(len(used), 0, -1))
        stored = np.zeros_like(dq)
        table = np.zeros(len(used), _DQ_DEF_DTYPE)
        for row, name, bit in zip(table, used, bits, strict=True):
            stored[(dq & DQ[name]) != 0] |= np.uint32(1 << bit)
            row["BIT"], row["VALUE"], row["NAME"] = bit, 1 << bit, name.encode()
            row["DESCRIPTION"] = name.replace("_", " ").capitalize().encode()
        return [_image(stored, "DQ"), fits.BinTableHDU(table, name="DQ_DEF", ver=1)]

    def empty_dq(self):
        return np.zeros(self.maps.bias.shape, np.uint32)

    def mask(self):
        dq = self.maps.dq.copy()
        bad = self.maps.reference_pixels & self.chosen("bad_reference_pixels")
        dq[bad] |= DQ["DO_NOT_USE"] | DQ["BAD_REF_PIXEL"]
        if self.config.is_irs2:
            dq = interleaved_mask(self.config, dq)
        return self.write("mask", "MaskModel", self.dq_hdus(dq), description="Bad pixels")

    def saturation(self):
        maps, dq = self.maps, self.empty_dq()
        # Reference pixels never saturate: their threshold is that of the converter.
        threshold = np.minimum(maps.bias + SATURATION_MARGIN * maps.full_well, np.iinfo(np.uint16).max)
        threshold = threshold.astype(np.float32)
        unchecked = self.chosen("no_sat_check")
        threshold[unchecked] = 0
        dq[unchecked] |= DQ["NO_SAT_CHECK"]
        threshold[self.chosen("nan_saturation")] = np.nan
        return self.write("saturation", "SaturationModel", [_image(threshold, "SCI"), *self.dq_hdus(dq)])

    def superbias(self):
        bias, dq = self.maps.bias.copy(), self.empty_dq()
        broken = self.chosen("nan_bias")
        bias[broken] = np.nan
        dq[broken] |= DQ["UNRELIABLE_BIAS"]
        if self.config.is_irs2:
            bias, dq = interleaved_bias(self.config, bias), interleave(self.config, dq)
        hdus = [_image(bias, "SCI"), _image(np.full_like(bias, 0.1), "ERR"), *self.dq_hdus(dq)]
        return self.write("superbias", "SuperBiasModel", hdus, [("READPATT", "ANY", "Readout pattern")])

    def refpix(self):
        """Coefficients of the IRS2 correction."""
        hdus = [
            fits.BinTableHDU(correction_table(self.config), name="IRS2", ver=1),
            fits.BinTableHDU(flagged_pairs(), name="DQ", ver=1),
        ]
        keywords = [("READPATT", self.config.readpatt, "Readout pattern")]
        return self.write("refpix", "IRS2Model", hdus, keywords, "Coefficients of the IRS2 correction")

    def linearity(self, inverse):
        maps, dq = self.maps, self.empty_dq()
        coefficients = np.zeros((LINEARITY_TERMS, *dq.shape), np.float32)
        coefficients[1], coefficients[2] = 1, maps.curvature
        if DETECTORS[self.config.detector].instrument == "MIRI":
            # Nothing subtracts the bias of MIRI before: the same polynomial of what lies above it.
            coefficients[0] = maps.curvature * maps.bias**2 - maps.bias
            coefficients[1] = 1 - 2 * maps.curvature * maps.bias
        inverse_coefficients = _inverse_coefficients(maps, self.config.full_well)
        uncorrected = self.chosen("no_lin_corr")
        coefficients[:, uncorrected] = 1e3
        dq[uncorrected] |= DQ["NO_LIN_CORR"]
        for planes in (coefficients, inverse_coefficients):
            planes[:, self.chosen("zero_linear_coefficient")] = 0
            planes[2, self.chosen("nan_linearity")] = np.nan
        hdus = [_image(coefficients, "COEFFS")]
        if inverse:
            hdus.append(_image(inverse_coefficients, "INV_COEFFS"))
        return self.write("linearity", "LinearityModel", [*hdus, *self.dq_hdus(dq)])

    def gain(self):
        gain = self.maps.gain.copy()
        gain[self.chosen("negative_gain")] *= -1
        gain[self.chosen("zero_gain")] = 0
        gain[self.chosen("nan_gain")] = np.nan
        return self.write("gain", "GainModel", [_image(gain, "SCI")])

    def readnoise(self):
        # The pipeline expects the noise of the difference of two reads.
        noise = np.sqrt(np.float32(2)) * self.maps.read_noise
        noise[self.chosen("nan_read_noise")] = np.nan
        return self.write("readnoise", "ReadnoiseModel", [_image(noise, "SCI")])

    def groups_of_dark(self, groups):
        """The number that is asked for, or as many as an integration has frames if they are not too many."""
        if groups is None:
            affordable = MAX_DARK_BYTES // (self.maps.bias.size * 4)
            groups = max(2, min(self.config.frames_per_integration, affordable))
        if groups < 2:
            raise ConfigError(f"dark_groups is {groups}; expected at least 2, so that the dark can be extrapolated")
        return groups

    def dark(self, groups):
        config, maps = self.config, self.maps
        dark = np.empty((groups, *maps.bias.shape), np.float32)
        # A superstripe readout has several groups in a frame.
        parts = np.ones(1) if config.striping is None else config.striping.samples()
        for group in range(groups):
            frame = group // len(parts) + parts[group % len(parts)] - 1
            dark[group] = maps.dark(frame, config.frame_time)
        dark[:, self.chosen("nan_dark")] = np.nan
        keywords = [
            ("EXP_TYPE", config.exposure_type, "Type of data in the exposure"),
            ("READPATT", "RAPID", "Readout pattern"),
            ("NOUTPUTS", config.outputs, "Number of detector outputs used"),
            ("NFRAMES", 1, "Number of frames per group"),
            ("NGROUPS", groups, "Number of groups in integration"),
            ("GROUPGAP", 0, "Number of frames dropped between groups"),
        ]
        return self.write("dark", "DarkModel", [_image(dark, "SCI"), *self.dq_hdus(self.empty_dq())], keywords)

    def ipc(self, pixelwise):
        kernel = deconvolution_kernel(self.config.ipc)
        if pixelwise:
            kernel = np.broadcast_to(kernel[:, :, None, None], (3, 3, *DETECTORS[self.config.detector].shape))
        return self.write("ipc", "IPCModel", [_image(kernel, "SCI")])


def deconvolution_kernel(coupling):
    """(3, 3) float32 kernel that undoes the coupling to the four neighbours, to first order in it.

    It is the inverse of the coupling on an infinite array, cut to 3 x 3 and normalised to 1.
    """
    size = 64
    forward = np.zeros((size, size))
    forward[0, 0] = 1 - 4 * coupling
    for dy, dx in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        forward[dy, dx] = coupling
    inverse = np.roll(np.real(np.fft.ifft2(1 / np.fft.fft2(forward))), (1, 1), (0, 1))[:3, :3]
    return (inverse / inverse.sum()).astype(np.float32)


def _inverse_coefficients(maps, full_well):
    """(INVERSE_TERMS, ny, nx) float32: measured as a polynomial of the linear signal, no constant term.

    With u = a * linear the relation is the same for all pixels, so that one least-squares fit serves them all.
    """
    reach = full_well if np.isfinite(full_well) else np.iinfo(np.uint16).max
    u = np.linspace(0, INVERSE_RANGE * reach * max(maps.curvature.max(), 1e-12), 400)[1:]
    powers = np.arange(1, INVERSE_TERMS)
    scaled, _, _, _ = np.linalg.lstsq((u[:, None] / u[-1]) ** powers, 2 * u / (1 + np.sqrt(1 + 4 * u)), rcond=None)
    universal = scaled / u[-1] ** powers
    out = np.zeros((INVERSE_TERMS, *maps.curvature.shape), np.float32)
    out[1] = 1
    curved = maps.curvature > 0
    for power, coefficient in zip(powers, universal, strict=True):
        out[power][curved] = coefficient * maps.curvature[curved] ** (power - 1)
    return out


def _image(array, name):
    return fits.ImageHDU(np.ascontiguousarray(array), name=name, ver=1)
