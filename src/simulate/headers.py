"""The keywords of a raw exposure: which, in which section, under which path of the metadata tree.

One table serves the FITS headers and the ASDF extension. The structure is that of flight products; values that
say nothing about the simulation (program, visit, guide star) are placeholders.
"""

from datetime import datetime, timedelta

from upramp.simulate.detectors import DETECTORS, INSTRUMENTS, SAMPLE_TIME_US, samples_per_pixel
from upramp.simulate.optics import Optics

__all__ = ["PRIMARY_SECTIONS", "SCI_CARDS", "exposure_name", "exposure_values", "metadata_tree", "mjd"]

# Sections of the primary header: title (None for the first), then (keyword, path below meta, comment).
PRIMARY_SECTIONS = (
    (
        None,
        (
            ("DATE", "date", "UTC date file created"),
            ("ORIGIN", "origin", "Organization responsible for creating file"),
            ("TIMESYS", "time_sys", "principal time system"),
            ("TIMEUNIT", "time_unit", "unit of time values"),
            ("FILENAME", "filename", "Name of the file"),
            ("SDP_VER", "data_processing_software_version", "Data processing software version"),
            ("DATAMODL", "model_type", "Type of data model"),
            ("TELESCOP", "telescope", "Telescope used to acquire the data"),
        ),
    ),
    (
        "Program information",
        (
            ("TITLE", "program.title", "Proposal title"),
            ("CATEGORY", "program.category", "Program category"),
        ),
    ),
    (
        "Observation identifiers",
        (
            ("DATE-OBS", "observation.date", "[yyyy-mm-dd] UTC date at start of exposure"),
            ("TIME-OBS", "observation.time", "[hh:mm:ss.sss] UTC time at start of exposure"),
            ("DATE-BEG", "observation.date_beg", "Date-time start of exposure"),
            ("DATE-END", "observation.date_end", "Date-time end of exposure"),
            ("OBS_ID", "observation.obs_id", "Programmatic observation identifier"),
            ("VISIT_ID", "observation.visit_id", "Visit identifier"),
            ("PROGRAM", "observation.program_number", "Program number"),
            ("OBSERVTN", "observation.observation_number", "Observation number"),
            ("VISIT", "observation.visit_number", "Visit number"),
            ("VISITGRP", "observation.visit_group", "Visit group identifier"),
            ("SEQ_ID", "observation.sequence_id", "Parallel sequence identifier"),
            ("ACT_ID", "observation.activity_id", "Activity identifier"),
            ("EXPOSURE", "observation.exposure_number", "Exposure request number"),
            ("BKGDTARG", "observation.bkgdtarg", "Background target"),
            ("TEMPLATE", "observation.template", "Observation template used"),
        ),
    ),
    (
        "Visit information",
        (
            ("VISITYPE", "visit.type", "Visit type"),
            ("VISITSTA", "visit.status", "Status of a visit"),
            ("NEXPOSUR", "visit.total_exposures", "Total number of planned exposures in visit"),
            ("INTARGET", "visit.internal_target", "At least one exposure in visit is internal"),
            ("TSOVISIT", "visit.tsovisit", "Time Series Observation visit indicator"),
            ("CROWDFLD", "visit.crowded_field", "Are the guiders in a crowded field?"),
        ),
    ),
    (
        "Target information",
        (
            ("TARGPROP", "target.proposer_name", "Proposer's name for the target"),
            ("TARGNAME", "target.catalog_name", "Standard name of the target"),
            ("TARGTYPE", "target.type", "Type of target (fixed, moving, generic)"),
            ("TARG_RA", "target.ra", "[deg] Target RA at mid time of exposure"),
            ("TARG_DEC", "target.dec", "[deg] Target Dec at mid time of exposure"),
        ),
    ),
    (
        "Instrument configuration information",
        (
            ("INSTRUME", "instrument.name", "Instrument used to acquire the data"),
            ("DETECTOR", "instrument.detector", "Name of detector used to acquire the data"),
            ("MODULE", "instrument.module", "NIRCam module: A, B, or MULTIPLE"),
            ("CHANNEL", "instrument.channel", "Instrument channel"),
            ("FILTER", "instrument.filter", "Name of the filter element used"),
            ("GRATING", "instrument.grating", "Name of grating used"),
            ("PUPIL", "instrument.pupil", "Name of the pupil element used"),
            ("PILIN", "instrument.pupil_imaging_lens", "Pupil imaging lens in the optical path?"),
        ),
    ),
    (
        "Exposure parameters",
        (
            ("EXPCOUNT", "exposure.count", "Running count of exposures in visit"),
            ("EXPRIPAR", "exposure.prime_parallel", "Prime or parallel exposure"),
            ("EXP_TYPE", "exposure.type", "Type of data in the exposure"),
            ("EXPSTART", "exposure.start_time", "[d] exposure start time in MJD"),
            ("EXPMID", "exposure.mid_time", "[d] exposure mid time in MJD"),
            ("EXPEND", "exposure.end_time", "[d] exposure end time in MJD"),
            ("READPATT", "exposure.readpatt", "Readout pattern"),
            ("NOUTPUTS", "exposure.noutputs", "Number of detector outputs used"),
            ("NINTS", "exposure.nints", "Number of integrations in exposure"),
            ("INTSTART", "exposure.integration_start", "Starting integration number in this segment"),
            ("INTEND", "exposure.integration_end", "Ending integration number in this segment"),
            ("NGROUPS", "exposure.ngroups", "Number of groups in integration"),
            ("NFRAMES", "exposure.nframes", "Number of frames per group"),
            ("FRMDIVSR", "exposure.frame_divisor", "Divisor applied to frame-averaged groups"),
            ("GROUPGAP", "exposure.groupgap", "Number of frames dropped between groups"),
            ("DRPFRMS1", "exposure.drop_frames1", "Frames dropped prior to first integration"),
            ("DRPFRMS3", "exposure.drop_frames3", "Frames dropped between integrations"),
            ("NSAMPLES", "exposure.nsamples", "Number of A/D samples per pixel"),
            ("TSAMPLE", "exposure.sample_time", "[us] Time between samples"),
            ("TFRAME", "exposure.frame_time", "[s] Time between frames"),
            ("TGROUP", "exposure.group_time", "[s] Time between groups"),
            ("EFFINTTM", "exposure.integration_time", "[s] Effective integration time"),
            ("EFFEXPTM", "exposure.exposure_time", "[s] Effective exposure time"),
            ("DURATION", "exposure.duration", "[s] Total duration of exposure"),
            ("NRSTSTRT", "exposure.nresets_at_start", "Number of resets at start of exposure"),
            ("NRESETS", "exposure.nresets_between_ints", "Number of resets between integrations"),
            ("NRS_NORM", "exposure.nrs_normal", "Number of normal pixels in IRS2 readout"),
            ("NRS_REF", "exposure.nrs_reference", "Number of reference pixels in IRS2 readout"),
            ("ZEROFRAM", "exposure.zero_frame", "Zero frame was downlinked separately"),
            ("DATAPROB", "exposure.data_problem", "Science telemetry indicated a problem"),
            ("SCA_NUM", "exposure.sca_num", "Sensor Chip Assembly number"),
        ),
    ),
    (
        "Subarray parameters",
        (
            ("SUBARRAY", "subarray.name", "Subarray used"),
            ("SUBSTRT1", "subarray.xstart", "Starting pixel in axis 1 direction"),
            ("SUBSTRT2", "subarray.ystart", "Starting pixel in axis 2 direction"),
            ("SUBSIZE1", "subarray.xsize", "Number of pixels in axis 1 direction"),
            ("SUBSIZE2", "subarray.ysize", "Number of pixels in axis 2 direction"),
            ("FASTAXIS", "subarray.fastaxis", "Fast readout axis direction"),
            ("SLOWAXIS", "subarray.slowaxis", "Slow readout axis direction"),
            ("MSTR_RD1", "subarray.multistripe_reads1", "Lines read at the start"),
            ("MSTR_SK1", "subarray.multistripe_skips1", "Lines skipped after MSTR_RD1 lines"),
            ("MSTR_RD2", "subarray.multistripe_reads2", "Lines of a stripe"),
            ("MSTR_SK2", "subarray.multistripe_skips2", "Lines skipped between stripes"),
            ("MSTR_RPT", "subarray.repeat_stripe", "Return to the first line before every stripe"),
            ("MSTR_ILV", "subarray.interleave_reads1", "Interleave MSTR_RD1 lines between stripes"),
            ("SSTR_STP", "subarray.superstripe_step", "Lines between superstripe positions"),
            ("SSTR_NST", "subarray.num_superstripe", "Number of superstripe positions"),
        ),
    ),
    (
        "Dither information",
        (
            ("PATTTYPE", "dither.primary_type", "Primary dither pattern type"),
            ("PATT_NUM", "dither.position_number", "Position number within dither pattern"),
            ("NUMDTHPT", "dither.total_points", "Total number of points in pattern"),
        ),
    ),
    (
        "Aperture information",
        (("APERNAME", "aperture.name", "Science aperture used"),),
    ),
    (
        "Time information",
        (
            ("BARTDELT", "time.barycentric_correction", "[s] Barycentric time correction"),
            ("BSTRTIME", "time.barycentric_expstart", "[d] Barycentric exposure start time in MJD"),
            ("BENDTIME", "time.barycentric_expend", "[d] Barycentric exposure end time in MJD"),
            ("BMIDTIME", "time.barycentric_expmid", "[d] Barycentric exposure mid time in MJD"),
        ),
    ),
    (
        "Guide star information",
        (
            ("GDSTARID", "guidestar.gs_id", "guide star identifier"),
            ("PCS_MODE", "guidestar.gs_pcs_mode", "Pointing Control System mode"),
        ),
    ),
)

SCI_CARDS = (
    ("MJD-BEG", "exposure.start_time_mjd", "[d] exposure start time in MJD"),
    ("MJD-AVG", "exposure.mid_time_mjd", "[d] exposure mid-point in MJD"),
    ("MJD-END", "exposure.end_time_mjd", "[d] exposure end time in MJD"),
    ("TDB-BEG", "exposure.start_time_tdb", "[d] TDB time of exposure start in MJD"),
    ("TDB-MID", "exposure.mid_time_tdb", "[d] TDB time of exposure mid-point in MJD"),
    ("TDB-END", "exposure.end_time_tdb", "[d] TDB time of exposure end in MJD"),
    ("XPOSURE", "exposure.effective_exposure_time", "[s] Effective exposure time"),
    ("TELAPSE", "exposure.elapsed_exposure_time", "[s] Total elapsed exposure time"),
    ("VA_SCALE", "velocity_aberration.scale_factor", "Velocity aberration scale factor"),
    ("BUNIT", "bunit_data", "physical units of the array values"),
    ("RADESYS", "coordinates.reference_frame", "Name of the coordinate reference frame"),
    ("RA_V1", "pointing.ra_v1", "[deg] RA of telescope V1 axis"),
    ("DEC_V1", "pointing.dec_v1", "[deg] Dec of telescope V1 axis"),
    ("PA_V3", "pointing.pa_v3", "[deg] Position angle of telescope V3 axis"),
    ("WCSAXES", "wcsinfo.wcsaxes", "number of World Coordinate System axes"),
    ("CRPIX1", "wcsinfo.crpix1", "axis 1 coordinate of the reference pixel"),
    ("CRPIX2", "wcsinfo.crpix2", "axis 2 coordinate of the reference pixel"),
    ("CRVAL1", "wcsinfo.crval1", "first axis value at the reference pixel"),
    ("CRVAL2", "wcsinfo.crval2", "second axis value at the reference pixel"),
    ("CTYPE1", "wcsinfo.ctype1", "Axis 1 type"),
    ("CTYPE2", "wcsinfo.ctype2", "Axis 2 type"),
    ("CUNIT1", "wcsinfo.cunit1", "Axis 1 units"),
    ("CUNIT2", "wcsinfo.cunit2", "Axis 2 units"),
    ("CDELT1", "wcsinfo.cdelt1", "Axis 1 coordinate increment at reference point"),
    ("CDELT2", "wcsinfo.cdelt2", "Axis 2 coordinate increment at reference point"),
    ("PC1_1", "wcsinfo.pc1_1", "linear transformation matrix element"),
    ("PC1_2", "wcsinfo.pc1_2", "linear transformation matrix element"),
    ("PC2_1", "wcsinfo.pc2_1", "linear transformation matrix element"),
    ("PC2_2", "wcsinfo.pc2_2", "linear transformation matrix element"),
    ("V2_REF", "wcsinfo.v2_ref", "[arcsec] V2 of the reference point"),
    ("V3_REF", "wcsinfo.v3_ref", "[arcsec] V3 of the reference point"),
    ("VPARITY", "wcsinfo.vparity", "Handedness of the ideal frame"),
    ("V3I_YANG", "wcsinfo.v3yangle", "[deg] Angle from V3 to ideal y"),
    ("RA_REF", "wcsinfo.ra_ref", "[deg] Right ascension of the reference point"),
    ("DEC_REF", "wcsinfo.dec_ref", "[deg] Declination of the reference point"),
    ("ROLL_REF", "wcsinfo.roll_ref", "[deg] V3 roll angle at the ref point (N over E)"),
)

# In the order of the fields of `StripePattern`.
_STRIPE_KEYWORDS = ("MSTR_RD1", "MSTR_SK1", "MSTR_RD2", "MSTR_SK2", "MSTR_RPT", "MSTR_ILV", "SSTR_STP", "SSTR_NST")
BARYCENTRIC_CORRECTION = 120.0  # s; a plausible constant
PROGRAM = "99999"
RA, DEC = 80.0, -69.5
_MJD_ZERO = datetime(1858, 11, 17)
_DAY = 86400.0
_TSO_TYPES = ("NRC_TSIMAGE", "NRC_TSGRISM", "NIS_SOSS", "MIR_LRS-SLITLESS")


def mjd(moment):
    """Modified Julian date of a datetime."""
    return (moment - _MJD_ZERO) / timedelta(days=1)


def exposure_name(config):
    """Name of the exposure, without suffix."""
    return f"jw{PROGRAM}001001_02101_00001_{config.detector.lower()}"


def _iso(moment):
    return moment.isoformat(timespec="milliseconds")


def exposure_values(config):
    """Values of all keywords: dict from keyword to value, None for those that the exposure does not have.

    Parameters
    ----------
    config : SimulationConfig
    """
    detector = DETECTORS[config.detector]
    return {
        **_PLACEHOLDERS,
        **_hardware(config, detector),
        **_readout(config),
        **_times(config),
        **_pointing(config, detector),
        "FILENAME": f"{exposure_name(config)}_uncal.fits",
    }


# What says nothing about the simulation.
_PLACEHOLDERS = {
    "ORIGIN": "UPRAMP",
    "TIMESYS": "UTC",
    "TIMEUNIT": "s",
    "SDP_VER": "simulated",
    "DATAMODL": "Level1bModel",
    "TELESCOP": "JWST",
    "TITLE": "Simulated exposure",
    "CATEGORY": "CAL",
    "OBS_ID": f"V{PROGRAM}001001P0000000002101",
    "VISIT_ID": f"{PROGRAM}001001",
    "PROGRAM": PROGRAM,
    "OBSERVTN": "001",
    "VISIT": "001",
    "VISITGRP": "02",
    "SEQ_ID": "1",
    "ACT_ID": "01",
    "EXPOSURE": "1",
    "BKGDTARG": False,
    "VISITYPE": "PRIME_TARGETED_FIXED",
    "VISITSTA": "SUCCESSFUL",
    "NEXPOSUR": 1,
    "INTARGET": False,
    "CROWDFLD": False,
    "TARGPROP": "SIMULATED",
    "TARGNAME": "SIMULATED",
    "TARGTYPE": "FIXED",
    "TARG_RA": RA,
    "TARG_DEC": DEC,
    "EXPCOUNT": 1,
    "EXPRIPAR": "PRIME",
    "DATAPROB": False,
    "PATTTYPE": "NONE",
    "PATT_NUM": 1,
    "NUMDTHPT": 1,
    "GDSTARID": "NONE",
    "PCS_MODE": "FINEGUIDE",
}


def _hardware(config, detector):
    """Instrument, detector and the part of it that is read."""
    window = config.geometry
    return {
        "INSTRUME": detector.instrument,
        "DETECTOR": detector.name,
        "MODULE": detector.module,
        "CHANNEL": detector.channel,
        "FILTER": detector.filter,
        "GRATING": detector.grating,
        "PUPIL": detector.pupil,
        "PILIN": False if detector.instrument == "NIRCAM" else None,
        "TEMPLATE": INSTRUMENTS[detector.instrument].template,
        "SCA_NUM": detector.sca_number,
        "SUBARRAY": config.subarray,
        "SUBSTRT1": window.xstart,
        "SUBSTRT2": window.ystart,
        "SUBSIZE1": window.xsize,
        "SUBSIZE2": window.ysize,
        "FASTAXIS": detector.fastaxis,
        "SLOWAXIS": detector.slowaxis,
        **dict(zip(_STRIPE_KEYWORDS, config.stripe_pattern or [None] * len(_STRIPE_KEYWORDS), strict=True)),
        "APERNAME": f"{detector.name}_{config.subarray}",
    }


def _readout(config):
    """How groups and integrations are made of frames."""
    integration_time = config.frames_per_integration * config.frame_time
    return {
        "TSOVISIT": config.exposure_type in _TSO_TYPES,
        "EXP_TYPE": config.exposure_type,
        "READPATT": config.readpatt,
        "NOUTPUTS": config.outputs,
        "NINTS": config.all_integrations,
        "INTSTART": config.first_integration,
        "INTEND": config.first_integration + config.nints - 1,
        "NGROUPS": config.ngroups,
        "NFRAMES": config.frames_per_group,
        "FRMDIVSR": config.divisor,
        "GROUPGAP": config.frames_dropped,
        "DRPFRMS1": 0,
        "DRPFRMS3": 0,
        "NSAMPLES": samples_per_pixel(config.readpatt),
        "TSAMPLE": SAMPLE_TIME_US,
        "TFRAME": config.frame_time,
        "TGROUP": config.group_time,
        "EFFINTTM": integration_time,
        "EFFEXPTM": config.all_integrations * integration_time,
        "XPOSURE": config.all_integrations * integration_time,
        "NRSTSTRT": 1,
        "NRESETS": 1,
        "NRS_NORM": 16 if config.is_irs2 else None,
        "NRS_REF": 4 if config.is_irs2 else None,
        "ZEROFRAM": config.zero_frame,
    }


def _times(config):
    """Start, middle and end; every integration follows a reset of one frame time."""
    elapsed = config.all_integrations * (config.frames_per_integration + 1) * config.frame_time
    start = datetime.fromisoformat(config.start)
    end = start + timedelta(seconds=elapsed)
    values = {
        "DATE": _iso(end),
        "DATE-OBS": _iso(start)[:10],
        "TIME-OBS": _iso(start)[11:],
        "DATE-BEG": _iso(start),
        "DATE-END": _iso(end),
        "DURATION": elapsed,
        "TELAPSE": elapsed,
        "BARTDELT": BARYCENTRIC_CORRECTION,
    }
    first, last = mjd(start), mjd(end)
    for moment, universal, barycentric in (
        (first, ("EXPSTART", "MJD-BEG"), ("BSTRTIME", "TDB-BEG")),
        (0.5 * (first + last), ("EXPMID", "MJD-AVG"), ("BMIDTIME", "TDB-MID")),
        (last, ("EXPEND", "MJD-END"), ("BENDTIME", "TDB-END")),
    ):
        values |= dict.fromkeys(universal, moment)
        values |= dict.fromkeys(barycentric, moment + BARYCENTRIC_CORRECTION / _DAY)
    return values


def _pointing(config, detector):
    """The world coordinates: target in the middle of the window, north up."""
    window, optics = config.geometry, Optics(config.detector)
    scale = optics.place[2] / 3600.0
    v2, v3 = optics.telescope(window.xstart - 1 + (window.xsize - 1) / 2, window.ystart - 1 + (window.ysize - 1) / 2)
    return {
        "VA_SCALE": 1.0,
        "BUNIT": "DN",
        "RADESYS": "ICRS",
        "RA_V1": RA,
        "DEC_V1": DEC,
        "PA_V3": 0.0,
        "WCSAXES": 2,
        "CRPIX1": (window.xsize + 1) / 2,
        "CRPIX2": (window.ysize + 1) / 2,
        "CRVAL1": RA,
        "CRVAL2": DEC,
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CDELT1": scale,
        "CDELT2": scale,
        "PC1_1": -1.0,
        "PC1_2": 0.0,
        "PC2_1": 0.0,
        "PC2_2": 1.0,
        "V2_REF": float(v2),
        "V3_REF": float(v3),
        "VPARITY": -1,
        "V3I_YANG": 0.0,
        "RA_REF": RA,
        "DEC_REF": DEC,
        "ROLL_REF": 0.0,
    }


def metadata_tree(values):
    """The values as the nested dict ``meta`` of the ASDF extension."""
    meta: dict = {}
    cards = [card for _, section in PRIMARY_SECTIONS for card in section] + list(SCI_CARDS)
    for keyword, path, _ in cards:
        if values[keyword] is None:
            continue
        *parents, leaf = path.split(".")
        node = meta
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = values[keyword]
    return meta
