"""Names of output files: a pure function of input name, step and configuration.

``DIRECTORY / BASE [_INDEX ...] SEPARATOR SUFFIX . EXTENSION``, where BASE has lost its directory, its
extension and one suffix of the list of known ones.
"""

import re
from functools import lru_cache
from pathlib import Path

from upramp import registry

__all__ = ["output_name", "split_known_suffix"]

_PRODUCTS = """
    uncal ramp rate rateints cal calints crf crfints i2d s2d s3d x1d x1dints c1d cat dark bsub bsubints
    mbsub blot median phot psfalign psfstack psfsub residual_fringe snr wfscmb whtlt ami aminorm ami-oi
    aminorm-oi
"""

# Steps of stage 1 that are not in our registry; their intermediate products are inputs all the same.
_OTHER_STEPS = """
    rscd rscdstep firstframe firstframestep lastframe lastframestep reset resetstep picture_frame
    pictureframestep clean_flicker_noise cleanflickernoisestep guider_cds guidercdsstep darkpipeline guiderpipeline
"""


@lru_cache(maxsize=1)
def known_suffixes():
    """Suffixes that are removed from a name before a new one is added: products, steps, aliases."""
    names = set(_PRODUCTS.split()) | set(_OTHER_STEPS.split())
    for class_name, alias, is_pipeline in registry.steps():
        names.add(class_name.rsplit(".", 1)[-1].lower())
        if not is_pipeline and alias != "charge_migration":  # the reference pipeline does not remove this one
            names.add(alias)
    return frozenset(names)


def split_known_suffix(base):
    """Split one known suffix off a name without extension.

    Parameters
    ----------
    base : str
        Name without directory and extension.

    Returns
    -------
    base : str
        What is left.
    separator : str
        The separator found, ``_`` or ``-``; ``_`` when there was no known suffix.
    """
    # The longest first: `residual_fringe` must not leave `_residual`, nor `ami-oi` the `oi`.
    words = sorted(known_suffixes(), key=len, reverse=True)
    found = re.fullmatch(rf"(.+)([_-])({'|'.join(map(re.escape, words))})", base)
    return (found[1], found[2]) if found else (base, "_")


def output_name(base, *, suffix, extension=None, directory="", components=()):
    """Build the path of an output file.

    Parameters
    ----------
    base : str or Path
        File name to start from; its directory is dropped.
    suffix : str, None or False
        Suffix that replaces a known one. None: only removes it. False: leaves the base untouched.
    extension : str, optional
        With or without dot; default is the extension of ``base``.
    directory : str or Path
        Folder of the output; empty is the current folder.
    components : iterable
        Indices and the like that come before the suffix; None is left out.

    Returns
    -------
    Path
    """
    base = Path(base)
    extension = base.suffix if extension is None else f".{extension.lstrip('.')}" if extension else ""
    stem, separator = base.stem, "_"
    if suffix is not False:
        stem, separator = split_known_suffix(stem)
    parts = [str(part) for part in components if part is not None]
    stem = "_".join([stem, *parts])
    if suffix:
        stem = f"{stem}{separator}{suffix}"
    return Path(directory or "", f"{stem}{extension}")
