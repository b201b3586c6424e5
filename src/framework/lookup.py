"""How a step gets its reference files: overrides first, then CRDS; all of them are checked before the work."""

import logging
from dataclasses import dataclass
from pathlib import Path

from upramp.framework.references import (
    NOT_APPLICABLE,
    check_readable,
    crds_parameters,
    missing_error,
    override_name,
)
from upramp.framework.specs import is_model

__all__ = ["Lookup", "Need"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Need:
    """A reference that a run needs.

    Attributes
    ----------
    reftype : str
    reference : str, model or None
        Path, ``'N/A'``, ``''`` or a model; None when it cannot be had.
    overridden_by : str or None
        Qualified name of the step whose override it is; None when CRDS is asked.
    problem : str or None
        Why it cannot be had or read.
    """

    reftype: str
    reference: object
    overridden_by: str | None = None
    problem: str | None = None

    @property
    def name(self):
        """What the header says about it."""
        if is_model(self.reference):
            return f"override://{type(self.reference).__name__}"
        return self.reference if self.overridden_by else _crds_name(self.reference)


class Lookup:
    """The part of a Step that deals with reference files; see `upramp.framework.step.Step`."""

    @property
    def exposure(self):
        """Metadata of the exposure of this run, flat (``{"meta.instrument.name": "MIRI"}``); empty while not known."""
        return self.root._exposure

    def wanted_reference_types(self):
        """Reference types that this run needs; a step narrows them when its parameters or `exposure` tell."""
        return list(self.reference_file_types) if self.prefetch_references else []

    def steps_below(self):
        """This step and everything below it that is not skipped."""
        yield self

    def steps_to_run(self):
        """Like `steps_below`, without those that do nothing for this `exposure`; in the order in which they run."""
        yield self

    def check_input(self, dataset):
        """Refuse, before any work, an exposure that the step cannot take; a step that can tell overrides this."""

    def get_override(self, reftype):
        """Value of ``override_<reftype>``: of this step, else of any unskipped step of the same run."""
        owner = self.override_owner(reftype)
        return None if owner is None else getattr(owner, override_name(reftype))

    def get_ref_override(self, reference_file_type):
        """The same as `get_override`, with file names in full."""
        override = self.get_override(reference_file_type)
        return override if override is None or is_model(override) else _absolute(override)

    def override_owner(self, reftype):
        """The step whose ``override_<reftype>`` counts for this one; None without any."""
        name = override_name(reftype)
        owners = (step for step in (self, *self.root.steps_below()) if getattr(step, name, None) is not None)
        return next(owners, None)

    def get_reference_file(self, input_file, reference_file_type):
        """Find a reference and note it for the header of the result.

        Parameters
        ----------
        input_file : str, Path or model
            The exposure.
        reference_file_type : str

        Returns
        -------
        str or model
            Path; ``'N/A'`` when there is none for this exposure; ``''`` or a model when the user said so.

        Raises
        ------
        ReferenceFileError
            It cannot be had; the message says how to fix that.
        """
        if reference_file_type in self._missing:
            raise self._missing[reference_file_type]
        override = self.get_override(reference_file_type)
        if override is None:
            metadata = self._metadata_of(input_file)
            found = self.root._finder.find(metadata, [reference_file_type])[reference_file_type]
            name = _crds_name(found)
        elif is_model(override):
            found, name = override, f"override://{type(override).__name__}"
        else:
            found = name = _absolute(override)
        reason = None if is_model(found) else check_readable(found)
        if reason:
            raise missing_error({reference_file_type: f"{found}: {reason}"})
        if name and (reference_file_type, name) not in self.reference_files_used:
            self.reference_files_used.append((reference_file_type, name))
        return found

    def prefetch(self, dataset, *others):
        """Look before the work whether every reference the run needs can be had.

        A step by itself may see in the exposure that it has nothing to do; what is missing is an error for it when it
        asks for the first of these references.

        Raises
        ------
        ReferenceNotFoundError
            One error that lists everything that is missing, in a pipeline.
        """
        self._missing = {}
        try:
            needs = self.needed_references(dataset)
        except (OSError, ValueError, TypeError) as error:  # the last: a step may work on numbers
            log.info("%r cannot be opened, references are not prefetched: %s", _name_of(dataset), error)
            return
        if needs:
            types = sorted({need.reftype for need in needs})
            log.info("Prefetching reference files for dataset: %r reftypes = %s", _name_of(dataset), types)
        missing = {}
        for need in needs:
            if need.reference is not None:
                kind = "Override" if need.overridden_by else "Prefetch"
                shown = f"{type(need.reference).__name__} (in memory)" if is_model(need.reference) else need.reference
                log.info("%s for %s reference file is %r.", kind, need.reftype.upper(), shown)
            if need.problem:
                missing[need.reftype] = need.problem
        if missing:
            asked = any(need.overridden_by is None for need in needs)
            error = missing_error(missing, self.exposure, self._finder if asked else None)
            if self.sub_steps:
                raise error
            self._missing = dict.fromkeys(missing, error)

    def _precache_references(self, dataset):
        """`prefetch`, by the name that programs around the reference pipeline call it by."""
        self.prefetch(dataset)

    def needed_references(self, dataset):
        """Everything that a run needs, from overrides and CRDS, whether it can be had or not.

        Parameters
        ----------
        dataset : str, Path or model
            The exposure. It is opened only if there is anything to be known about it.

        Returns
        -------
        list of Need
            Sorted by type; of a type that steps override differently, one of each.
        """
        if not any(step.reference_file_types for step in self.steps_below()):
            return []
        problem = None
        try:
            self._exposure = self._metadata_of(dataset)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            problem = error
        asked, needs = set(), []
        for step in self.steps_to_run():
            for reftype in step.wanted_reference_types():
                override = step.get_override(reftype)
                if override is None:
                    asked.add(reftype)
                elif not any(reftype == need.reftype and _same(override, need.reference) for need in needs):
                    needs.append(_overriding(reftype, override, step))
        if asked and problem:
            raise problem
        paths, missing = self._finder.try_find(self.exposure, sorted(asked)) if asked else ({}, {})
        for reftype, path in paths.items():
            reason = check_readable(path)
            needs.append(Need(reftype, path, problem=f"{path}: {reason}" if reason else None))
        needs += [Need(reftype, None, problem=reason) for reftype, reason in missing.items()]
        return sorted(needs, key=lambda need: need.reftype)

    def _metadata_of(self, dataset):
        if not isinstance(dataset, str | Path):
            return crds_parameters(dataset)
        path = str(self.make_input_path(dataset))
        known, metadata = self.root._input_metadata or (None, None)
        if known != path:
            metadata = crds_parameters(path)
            self.root._input_metadata = (path, metadata)
        return metadata


def _overriding(reftype, override, step):
    if is_model(override):
        return Need(reftype, override, step.override_owner(reftype).qualified_name)
    path = _absolute(override)
    reason = check_readable(path)
    return Need(reftype, path, step.override_owner(reftype).qualified_name, f"{path}: {reason}" if reason else None)


def _same(override, reference):
    return override is reference or (isinstance(override, str) and _absolute(override) == reference)


def _crds_name(path):
    return path if path in (None, NOT_APPLICABLE) else f"crds://{Path(path).name}"


def _absolute(path):
    return path if path in (NOT_APPLICABLE, "") else str(Path(path).absolute())


def _name_of(dataset):
    if is_model(dataset):
        return dataset.meta.filename
    return str(dataset)
