"""Reference files: overrides, and the lookup in CRDS through its client.

The client is imported when a reference is really asked for; a run whose references are all overridden needs
no CRDS at all. Answers are remembered per exposure, so that one run asks once.
"""

import logging
import os
import sys
from importlib import import_module
from pathlib import Path

from upramp.errors import CrdsUnavailableError, ReferenceFileError, ReferenceNotFoundError
from upramp.framework.deferred import deferred
from upramp.framework.specs import is_model

__all__ = [
    "NOT_APPLICABLE",
    "ReferenceFinder",
    "check_readable",
    "crds_parameters",
    "import_client_lightly",
    "override_name",
]

log = logging.getLogger(__name__)

NOT_APPLICABLE = "N/A"
OBSERVATORY = "jwst"
DEFAULT_CACHE = "/grp/crds/cache"
CRDS_UNAVAILABLE_STATUS = 255
STEPPARS_VARIABLE = "STPIPE_DISABLE_CRDS_STEPPARS"
HOW_TO_FIX = (
    "Give the file with override_<type> (strun: --override_<type>=FILE, inside a pipeline "
    "--steps.<step>.override_<type>=FILE; 'N/A' to do without), or set CRDS_PATH to a cache that has it, or "
    "CRDS_SERVER_URL=https://jwst-crds.stsci.edu to download it."
)

_lightly = False

# Metadata that the steps themselves change during a run; CRDS selects by the instrument set-up.
_VOLATILE = (
    "meta.cal_step.",
    "meta.ref_file.",
    "meta.calibration_software",
    "meta.filename",
    "meta.date",
    "meta.model_type",
    "meta.asn.",
    "meta.bunit_",
    "meta.exposure.extended_emission_events",
    "meta.exposure.gain_factor",
    "meta.exposure.primary_cosmic_rays",
    "meta.photometry.",
    "meta.rscd.",
    "meta.wcsinfo.s_region",
)


def override_name(reftype):
    """Name of the parameter that overrides a reference type."""
    if not reftype.isidentifier():
        raise ValueError(f"{reftype!r} is not a reference type; expected an identifier, such as 'superbias'")
    return f"override_{reftype}"


def check_readable(path):
    """Open a reference once to prove that it can be read; N/A and '' pass.

    Returns
    -------
    str or None
        Why it cannot be read, or None.
    """
    if path in (NOT_APPLICABLE, ""):
        return None
    try:
        with Path(path).open("rb"):
            return None
    except OSError as error:
        return error.strerror or str(error)


def crds_parameters(dataset):
    """Scalar metadata of an exposure, flat: ``{"meta.instrument.name": "NIRCAM", ...}``.

    Parameters
    ----------
    dataset : str, Path, model, or a sequence of these
        Of a sequence the first counts; of an association (.json) the science exposure of the first product.
    """
    if isinstance(dataset, list | tuple) and dataset:
        dataset = dataset[0]
    if is_model(dataset):
        return dataset.get_crds_parameters()
    from upramp import models
    from upramp.models.association import Association, is_association

    if is_association(dataset):
        dataset = Association.read(dataset).products[0].science()
    with models.open(dataset) as model:
        return model.get_crds_parameters()


def steppars_disabled():
    """Whether the environment switches parameter references off."""
    return os.environ.get(STEPPARS_VARIABLE, "").strip().lower() in ("1", "t", "true", "y", "yes", "on")


def crds_is_reachable():
    """Whether there is any set-up of CRDS to ask, told without importing its client.

    Without a server and without a cache the client prints a fatal message and ends the process.
    """
    # The client itself puts the word None into variables that are not set.
    values = (os.environ.get(name) for name in ("CRDS_SERVER_URL", "CRDS_CONFIG_URI", "CRDS_CFGPATH"))
    if any(value and value.lower() != "none" for value in values):
        return True
    if Path("~/.crds.ini").expanduser().exists():
        return True
    config = Path(os.environ.get("CRDS_PATH") or DEFAULT_CACHE, "config")
    return (config / OBSERVATORY / "server_config").exists() or (config / "server_config").exists()


def _client():
    """Import the CRDS client; where its logger is already heard, without doubling or changing what is heard."""
    if not crds_is_reachable():
        cache = os.environ.get("CRDS_PATH") or f"{DEFAULT_CACHE} (the default, CRDS_PATH is not set)"
        raise CrdsUnavailableError(
            f"CRDS is not set up: no CRDS_SERVER_URL, and no config/{OBSERVATORY}/server_config in {cache}"
        )
    logger = logging.getLogger("CRDS")
    before, level = list(logger.handlers), logger.level
    crds = _imported_client()
    if before:
        logger.setLevel(level)
        for handler in [handler for handler in logger.handlers if handler not in before]:
            logger.removeHandler(handler)
    return crds


def import_client_lightly():
    """Have the client imported without the packages that it does not need here, see `upramp.framework.deferred`."""
    global _lightly
    _lightly = True


def _imported_client():
    if _lightly and "crds" not in sys.modules:
        with deferred("asdf", "astropy", "stdatamodels"):
            try:
                import_module(f"crds.{OBSERVATORY}.locate")
            except Exception as error:
                # A version that needs more of these packages at once: begin again with all of it.
                log.debug("CRDS does not import lightly (%s: %s)", type(error).__name__, error)
                for name in [name for name in sys.modules if name.partition(".")[0] == "crds"]:
                    del sys.modules[name]
    import crds

    return crds


def _ask(function, *arguments, **keywords):
    """Call the CRDS client; its ways of failing (its own errors, sys.exit, asserts) become one."""
    try:
        return function(*arguments, **keywords)
    except SystemExit as error:
        raise CrdsUnavailableError("CRDS found neither its server nor a usable cache") from error
    except Exception as error:
        raise ReferenceFileError(f"CRDS: {error or type(error).__name__}") from error


class ReferenceFinder:
    """Finds references for one run and remembers the answers.

    The outermost step owns one; its sub-steps share it.

    Attributes
    ----------
    unavailable : CrdsUnavailableError or None
        Why there is no CRDS to ask, as far as this run has tried.
    """

    def __init__(self):
        self._answers = {}
        self._context = None
        self.unavailable = None

    @property
    def context(self):
        """(version of the client, name of the context); None where there is no CRDS to ask.

        A run whose references are all overridden asks for nothing else.
        """
        if self._context is None and self.unavailable is None:
            try:
                crds = _client()
                self._context = (crds.__version__, _ask(crds.get_context_name, OBSERVATORY))
            except ReferenceFileError as error:
                self.unavailable = error
        return self._context

    def find(self, parameters, reftypes):
        """Find references in CRDS.

        Parameters
        ----------
        parameters : dict
            From `crds_parameters`.
        reftypes : sequence of str

        Returns
        -------
        dict
            Type -> path or 'N/A'.

        Raises
        ------
        ReferenceFileError
            One error that lists every type that could not be had, and why.
        """
        paths, missing = self.try_find(parameters, reftypes)
        if missing:
            raise missing_error(missing, parameters, self)
        return paths

    def try_find(self, parameters, reftypes):
        """As `find`, but returns (paths, {type: reason}) instead of raising."""
        # The log of a run grows with every step; for names without a path the client imports stdatamodels (0.9 s).
        parameters = {name: value for name, value in parameters.items() if name.startswith("meta.")}
        key = frozenset((name, value) for name, value in parameters.items() if not name.startswith(_VOLATILE))
        new = [reftype for reftype in reftypes if (key, reftype) not in self._answers]
        missing = {}
        if new:
            try:
                found, missing = self._query(parameters, new)
            except ReferenceFileError as error:
                found, missing = {}, dict.fromkeys(new, str(error))
                if isinstance(error, CrdsUnavailableError):
                    self.unavailable = error
            self._answers.update({(key, reftype): path for reftype, path in found.items()})
        paths = {reftype: self._answers[key, reftype] for reftype in reftypes if (key, reftype) in self._answers}
        return paths, missing

    def _query(self, parameters, reftypes):
        if self.unavailable:
            raise self.unavailable  # asking again would only wait for the server again
        crds = _client()
        simple = {name: value for name, value in parameters.items() if isinstance(value, str | int | float)}
        names = _ask(crds.getrecommendations, simple, reftypes=tuple(reftypes), observatory=OBSERVATORY)
        self._context = (crds.__version__, _ask(crds.get_context_name, OBSERVATORY))
        paths, missing, absent = {}, {}, []
        for reftype in reftypes:
            # A type that the rules omit for this exposure has no entry at all.
            name = names.get(reftype, NOT_APPLICABLE)
            if NOT_APPLICABLE in name.upper():
                paths[reftype] = NOT_APPLICABLE
            elif name.startswith("NOT FOUND"):
                missing[reftype] = f"CRDS has none for this exposure ({name.removeprefix('NOT FOUND').strip()})"
            else:
                paths[reftype] = _ask(crds.locate_file, name, OBSERVATORY)
                if not Path(paths[reftype]).exists():
                    absent.append(reftype)
        for reftype in absent:
            path = Path(paths[reftype])
            try:
                _ask(crds.getreferences, simple, reftypes=(reftype,), observatory=OBSERVATORY)
                reason = None if path.exists() else "CRDS did not deliver it"
            except ReferenceFileError as error:
                reason = str(error)
            if reason:
                del paths[reftype]
                missing[reftype] = f"{path.name} is not in the cache ({path.parent}): {reason}"
        return paths, missing


def missing_error(missing, parameters=None, finder=None):
    """The one error for references that cannot be had: ``{type: reason}``; ``finder`` is who was asked for them."""
    setup = ""
    if parameters:
        wanted = ("meta.instrument.name", "meta.instrument.detector", "meta.exposure.type")
        setup = " for " + ", ".join(str(parameters[name]) for name in wanted if parameters.get(name))
    listed = "\n".join(f"  {reftype}: {reason}" for reftype, reason in sorted(missing.items()))
    error = ReferenceNotFoundError(f"Missing reference files{setup}:\n{listed}\n{HOW_TO_FIX}")
    if finder is not None and finder.unavailable:
        error.exit_status = CRDS_UNAVAILABLE_STATUS
    return error
