"""How a step gets its reference files: overrides first, then CRDS; all of them are checked before the work."""

import logging
from pathlib import Path

from upramp.framework.references import (
    NOT_APPLICABLE,
    check_readable,
    crds_parameters,
    missing_error,
    override_name,
)
from upramp.framework.specs import is_model

__all__ = ["Lookup"]

log = logging.getLogger(__name__)


class Lookup:
    """The part of a Step that deals with reference files; see `upramp.framework.step.Step`."""

    def wanted_reference_types(self):
        """Reference types that this run needs; a step that can tell from its parameters narrows them."""
        return list(self.reference_file_types) if self.prefetch_references else []

    def steps_below(self):
        """This step and everything below it that is not skipped."""
        yield self

    def get_override(self, reftype):
        """Value of ``override_<reftype>``: of this step, else of any unskipped step of the same run."""
        name = override_name(reftype)
        values = (getattr(step, name, None) for step in (self, *self.root.steps_below()))
        return next((value for value in values if value is not None), None)

    def get_reference_file(self, dataset, reftype):
        """Find a reference and note it for the header of the result.

        Parameters
        ----------
        dataset : str, Path or model
            The exposure.
        reftype : str

        Returns
        -------
        str or model
            Path; ``'N/A'`` when there is none for this exposure; ``''`` or a model when the user said so.

        Raises
        ------
        ReferenceFileError
            It cannot be had; the message says how to fix that.
        """
        override = self.get_override(reftype)
        if override is None:
            metadata = self._metadata_of(dataset)
            found = self.root._finder.find(metadata, [reftype])[reftype]
            name = found if found == NOT_APPLICABLE else f"crds://{Path(found).name}"
        elif is_model(override):
            found, name = override, f"override://{type(override).__name__}"
        else:
            found = name = _absolute(override)
        reason = None if is_model(found) else check_readable(found)
        if reason:
            raise missing_error({reftype: f"{found}: {reason}"})
        if name and (reftype, name) not in self.reference_files_used:
            self.reference_files_used.append((reftype, name))
        return found

    def prefetch(self, dataset):
        """Make sure before the work that every reference the run needs can be had.

        Raises
        ------
        ReferenceNotFoundError
            One error that lists everything that is missing.
        """
        wanted, asked, overrides = set(), set(), []
        for step in self.steps_below():
            for reftype in step.wanted_reference_types():
                wanted.add(reftype)
                override = step.get_override(reftype)
                if override is None:
                    asked.add(reftype)
                elif not any(reftype == known and override is value for known, value in overrides):
                    overrides.append((reftype, override))
        if not wanted:
            return
        log.info("Prefetching reference files for dataset: %r reftypes = %s", _name_of(dataset), sorted(wanted))
        metadata, paths, missing = None, {}, {}
        if asked:
            try:
                metadata = self._metadata_of(dataset)
            except (OSError, ValueError) as error:
                log.info("%r cannot be opened, references are not prefetched: %s", _name_of(dataset), error)
                return
            paths, missing = self._finder.try_find(metadata, sorted(asked))
        found = [("Prefetch", *item) for item in paths.items()] + [("Override", *item) for item in overrides]
        for kind, reftype, reference in sorted(found, key=lambda item: item[1]):
            reason = None
            if is_model(reference):
                reference = f"{type(reference).__name__} (in memory)"
            else:
                reference = _absolute(reference)
                reason = check_readable(reference)
            log.info("%s for %s reference file is %r.", kind, reftype.upper(), reference)
            if reason:
                missing[reftype] = f"{reference}: {reason}"
        if missing:
            raise missing_error(missing, metadata, self._finder if asked else None)

    def _metadata_of(self, dataset):
        if not isinstance(dataset, str | Path):
            return crds_parameters(dataset)
        path = str(self.make_input_path(dataset))
        known, metadata = self.root._input_metadata or (None, None)
        if known != path:
            metadata = crds_parameters(path)
            self.root._input_metadata = (path, metadata)
        return metadata


def _absolute(path):
    return path if path in (NOT_APPLICABLE, "") else str(Path(path).absolute())


def _name_of(dataset):
    if is_model(dataset):
        return dataset.meta.filename
    return str(dataset)
