"""A complete CRDS cache for reference files of one's own, for the real client without a server.

With ``CRDS_PATH`` set to the folder, and nothing else, the client reads ``config/jwst/server_config``, takes the
context named there, and follows pmap -> imap -> rmap to the reference files.
"""

import hashlib
import pprint
import shutil
from pathlib import Path

import asdf
from astropy.io import fits

from upramp.errors import ReferenceFileError

__all__ = ["build_crds_cache"]

CONTEXT = "jwst_0001.pmap"
_USE_AFTER_KEYS = ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME")

# Matching keys of each type: (path of the exposure's metadata, keyword of the reference file). A value of the file
# that is absent or ANY becomes N/A, which matches every exposure but yields to an exact match.
_DETECTOR = ("META.INSTRUMENT.DETECTOR", "DETECTOR")
_SUBARRAY = ("META.SUBARRAY.NAME", "SUBARRAY")
_READPATT = ("META.EXPOSURE.READPATT", "READPATT")
_FILTER = ("META.INSTRUMENT.FILTER", "FILTER")
_NOUTPUTS = ("META.EXPOSURE.NOUTPUTS", "NOUTPUTS")
MATCHING_KEYS = {
    "mask": (_DETECTOR, _FILTER, _SUBARRAY),
    "saturation": (_DETECTOR, _FILTER, _SUBARRAY),
    "superbias": (_DETECTOR, _READPATT, _SUBARRAY),
    "linearity": (_DETECTOR, _FILTER, _SUBARRAY),
    "dark": (_DETECTOR, _SUBARRAY, _NOUTPUTS),
    "gain": (_DETECTOR, _FILTER, _SUBARRAY),
    "readnoise": (_DETECTOR, _FILTER, _SUBARRAY),
    "ipc": (_DETECTOR,),
    "reset": (_DETECTOR, _SUBARRAY, _READPATT),
    "rscd": (_DETECTOR,),
    "emicorr": (_DETECTOR,),
    "flat": (_DETECTOR, _FILTER, _SUBARRAY),
    "refpix": (_DETECTOR, _READPATT),
    "area": (_DETECTOR,),
    "distortion": (_DETECTOR,),
    "filteroffset": (_DETECTOR,),
    "photom": (_DETECTOR,),
    "pars-detector1pipeline": (("META.VISIT.TSOVISIT", "TSOVISIT"), _DETECTOR),
}
# Files of these types that cover the full frame serve every subarray; a dark or reset is never cut out.
_CUT_OUT_TYPES = frozenset(MATCHING_KEYS) - {"dark", "reset"}

# Types that other exposures than those of their files do without: "ipc" is made on request, and the pipelines ask for
# "refpix" of any readout of NIRSpec, though only IRS2 has one.
_OPTIONAL_TYPES = ("ipc", "refpix")

# Types that the pipelines may ask for: answered N/A unless there is a file.
OTHER_TYPES = (
    "dflat", "fflat", "pastasoss", "persat", "pictureframe", "sflat", "sirskernel", "trapdensity",
    "trappars", "bkg", "camera", "chromcorr", "collimator", "disperser", "fore", "fpa", "ifufore", "ifupost",
    "ifuslicer", "msa", "ote", "regions", "specwcs", "wavelengthrange",
)  # fmt: skip
PARAMETER_TYPES = tuple(
    f"pars-{name}"
    for name in (
        "chargemigrationstep", "cleanflickernoisestep", "darkcurrentstep", "dqinitstep",
        "emicorrstep", "firstframestep", "gainscalestep", "groupscalestep", "ipcstep", "jumpstep",
        "lastframestep", "linearitystep", "persistencestep", "pictureframestep", "rampfitstep", "refpixstep",
        "resetstep", "rscdstep", "saturationstep", "superbiasstep", "guidercdsstep", "flatfieldstep", "darkpipeline",
        "guiderpipeline", "assignwcsstep", "photomstep", "backgroundstep", "resamplestep", "image2pipeline",
    )
)  # fmt: skip


def build_crds_cache(folder, references, *, link=False):
    """Make a CRDS cache that selects the given reference files.

    Parameters
    ----------
    folder : path-like
        The future CRDS_PATH; made if it does not exist. Rules and configuration in it are replaced.
    references : iterable of path-like
        FITS files with REFTYPE, INSTRUME, USEAFTER and the keywords of the type's matching rule, and ASDF
        files with the same among their metadata.
    link : bool
        Hard-link the files instead of copying them.

    Returns
    -------
    dict of str to str
        Name in the cache of every reference file, by the path given.

    Raises
    ------
    ReferenceFileError
        A keyword is missing, a type is not among `MATCHING_KEYS`, or two files match the same exposures.

    Notes
    -----
    All other types that our pipelines may ask for, parameter files included, are answered with N/A.
    Files that cover the full frame serve every subarray, except darks and reset anomalies.
    """
    folder = Path(folder)
    mappings = folder / "mappings" / "jwst"
    mappings.mkdir(parents=True, exist_ok=True)
    rules: dict = {}
    names = {}
    for path in map(Path, references):
        instrument, reftype, match, use_after = _read_selection(path)
        by_match = rules.setdefault(instrument, {}).setdefault(reftype, {})
        number = sum(len(files) for files in by_match.values())
        name = f"jwst_{instrument}_{reftype}_{number:04d}{path.suffix}"
        if by_match.setdefault(match, {}).setdefault(use_after, name) != name:
            raise ReferenceFileError(
                f"{path} and another {reftype} both match {match} from {use_after}; give only one of them"
            )
        names[str(path)] = name
        _place(path, folder / "references" / "jwst" / instrument / name, link)
    instruments = {}
    for instrument, by_type in rules.items():
        selection = dict.fromkeys((*OTHER_TYPES, *PARAMETER_TYPES, *MATCHING_KEYS), "N/A")
        for reftype, by_match in by_type.items():
            selection[reftype] = _write_rmap(mappings, instrument, reftype, by_match)
        instruments[instrument.upper()] = _write_imap(mappings, instrument, selection)
    _write_mapping(
        mappings / CONTEXT,
        {"mapping": "PIPELINE", "parkey": ("META.INSTRUMENT.NAME",)},
        pprint.pformat(instruments),
    )
    _write_configuration(folder, sorted(path.name for path in mappings.iterdir()))
    return names


def _read_selection(path):
    """(instrument, type, values of the matching keys, use-after date) from the metadata of a reference file."""
    header = _asdf_keywords(path) if path.suffix == ".asdf" else fits.getheader(path)
    missing = [keyword for keyword in ("REFTYPE", "INSTRUME", "USEAFTER") if keyword not in header]
    if missing:
        raise ReferenceFileError(f"{path} has no {', '.join(missing)}; a rule cannot be made without")
    reftype = header["REFTYPE"].lower()
    if reftype not in MATCHING_KEYS:
        raise ReferenceFileError(f"{path} has REFTYPE {reftype!r}; expected one of {', '.join(MATCHING_KEYS)}")
    match = []
    for _, keyword in MATCHING_KEYS[reftype]:
        value = header.get(keyword, "N/A")
        if value == "ANY" or (keyword == "SUBARRAY" and value == "FULL" and reftype in _CUT_OUT_TYPES):
            value = "N/A"
        # The client compares numbers in the form of reals.
        match.append(value if isinstance(value, str) else str(float(value)))
    return header["INSTRUME"].lower(), reftype, tuple(match), header["USEAFTER"].replace("T", " ")


def _asdf_keywords(path):
    with asdf.open(path) as file:
        meta = file["meta"]
        instrument = meta.get("instrument", {})
        found = {
            "REFTYPE": meta.get("reftype"),
            "USEAFTER": meta.get("useafter"),
            "INSTRUME": instrument.get("name"),
            "DETECTOR": instrument.get("detector"),
        }
    return {keyword: value for keyword, value in found.items() if value is not None}


def _place(source, target, link):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if link:
        target.hardlink_to(source)
    else:
        shutil.copyfile(source, target)


def _write_rmap(mappings, instrument, reftype, by_match):
    name = f"jwst_{instrument}_{reftype}_0001.rmap"
    keys = tuple(key for key, _ in MATCHING_KEYS[reftype])
    header = {
        "classes": ("Match", "UseAfter"),
        "file_ext": Path(next(iter(next(iter(by_match.values())).values()))).suffix,
        "filekind": reftype.upper(),
        "filetype": reftype.upper(),
        "instrument": instrument.upper(),
        "mapping": "REFERENCE",
        "parkey": (keys, _USE_AFTER_KEYS),
        "suffix": reftype,
        "text_descr": f"Simulated {reftype}",
    }
    if reftype in _OPTIONAL_TYPES:
        by_match = {("N/A",) * len(keys): {"1900-01-01 00:00:00": "N/A"}} | by_match
    lines = ["Match({"]
    for match, by_date in sorted(by_match.items()):
        lines.append(f"    {match!r} : UseAfter({{")
        lines += [f"        {date!r} : {file!r}," for date, file in sorted(by_date.items())]
        lines.append("    }),")
    lines.append("})")
    _write_mapping(mappings / name, header, "\n".join(lines))
    return name


def _write_imap(mappings, instrument, selection):
    name = f"jwst_{instrument}_0001.imap"
    header = {"instrument": instrument.upper(), "mapping": "INSTRUMENT", "parkey": ("REFTYPE",)}
    _write_mapping(mappings / name, header, pprint.pformat(selection))
    return name


def _write_mapping(path, header, selector):
    """Write a rules file; its checksum covers all lines but the one that holds it."""
    header = {
        "derived_from": "made by upramp simulate",
        "name": path.name,
        "observatory": "JWST",
        **header,
    }
    lines = [f"    {key!r} : {value!r},\n" for key, value in sorted(header.items())]
    before, after = "header = {\n" + "".join(lines), "}\n\nselector = " + selector + "\n"
    checksum = hashlib.sha1((before + after).encode(), usedforsecurity=False).hexdigest()
    path.write_text(f"{before}    'sha1sum' : {checksum!r},\n{after}")


def _write_configuration(folder, mapping_names):
    configuration = folder / "config" / "jwst"
    configuration.mkdir(parents=True, exist_ok=True)
    server = {
        "bad_files": "",
        "bad_files_list": [],
        "crds_version": {"str": "14.0.3"},
        "edit_context": CONTEXT,
        "force_remote_mode": False,
        "last_synced": "never",
        "latest_context": CONTEXT,
        "mappings": mapping_names,
        "max_headers_per_rpc": 5000,
        "observatory": "jwst",
        "operational_context": CONTEXT,
    }
    (configuration / "server_config").write_text(pprint.pformat(server) + "\n")
    (configuration / "bad_files.txt").write_text("")
    # References lie in one folder per instrument.
    (configuration / "ref_cache_subdir_mode").write_text("instrument\n")
