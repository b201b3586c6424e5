"""States of a linear pipeline on disk: the results of its steps, and records of what they were made from.

The state of a step is one FITS file (more for several results) and a record beside it, in JSON. The record is removed
before the files are written and comes back, complete, after them: where there is a record, the files belong to it.
"""

import contextlib
import glob
import importlib
import json
import logging
import os
from pathlib import Path

from upramp.errors import OutputError, StateError
from upramp.framework import fingerprints
from upramp.framework.run_record import utc_now
from upramp.framework.specs import is_model
from upramp.models import replacing

try:
    import fcntl
except ImportError:  # not POSIX: nothing keeps two runs apart
    fcntl = None

__all__ = ["States"]

log = logging.getLogger(__name__)

FORMAT = 1


class States:
    """The states of one pipeline for one exposure.

    Parameters
    ----------
    folder : Path
    stem : str
        What the names of all files begin with.
    """

    def __init__(self, folder, stem):
        self.folder, self.stem = Path(folder), stem

    def path(self, step, number=None):
        """File of a result of a step; of several results each has a number."""
        index = "" if number is None else f".{number}"
        return self.folder / f"{self.stem}.{step}{index}.fits"

    def record_path(self, step):
        """File of the record of a step."""
        return self.folder / f"{self.stem}.{step}.json"

    @contextlib.contextmanager
    def locked(self):
        """Keep other runs away from these files; what a killed one has left unfinished is removed.

        Raises
        ------
        StateError
            Another run has them.
        """
        path = self.folder / f".{self.stem}.lock"
        with contextlib.ExitStack() as stack:
            if fcntl is not None:
                self._lock(path, stack)
            for left in self.folder.glob(f".{glob.escape(self.stem)}.*.part"):
                left.unlink(missing_ok=True)
            yield

    def _lock(self, path, stack):
        while True:
            try:
                handle = path.open("a+")
            except OSError as error:
                raise OutputError(f"No state can be saved in {self.folder.absolute()}: {error.strerror}") from error
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.seek(0)
                owner = handle.read().strip() or "?"
                handle.close()
                raise StateError(
                    f"Another run (process {owner}) has the states {self.folder / self.stem}.*; wait for it to end, or "
                    "choose another output_dir"
                ) from None
            except OSError as error:  # a file system that cannot lock
                log.warning("%s cannot be locked (%s): do not run this twice at the same time", path, error.strerror)
            with contextlib.suppress(OSError):
                if os.stat(path).st_ino == os.fstat(handle.fileno()).st_ino:  # noqa: PTH116
                    break
            handle.close()  # the run before has just ended and removed it
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        stack.callback(handle.close)
        stack.callback(path.unlink, missing_ok=True)

    def save(self, step, result, description, log_lines=()):
        """Save the result of a step.

        Parameters
        ----------
        step : str
        result : model, list or tuple of models, str or Path
        description : dict
            What the result was made from.
        log_lines : list of str
            The log up to here.

        Returns
        -------
        bool
            False if the result is of another kind, which cannot be saved.
        """
        several = isinstance(result, list | tuple)
        models = list(result) if several else [result]
        named = isinstance(result, str | Path)
        if not named and not all(map(is_model, models)):
            log.warning("The result of %s is no model (%s); its state is not saved", step, type(result).__name__)
            return False
        self.record_path(step).unlink(missing_ok=True)
        files = [] if named else [self._save_model(step, n if several else None, m) for n, m in enumerate(models)]
        record = {
            "format": FORMAT,
            "made": utc_now(),
            "kind": type(result).__name__ if several else "name" if named else "model",
            "name": str(result) if named else None,
            "files": files,
            "description": description,
            "log": list(log_lines),
        }
        with replacing(self.record_path(step)) as handle:
            handle.write((json.dumps(record, indent=1) + "\n").encode())
            handle.flush()
            os.fsync(handle.fileno())
        log.info("Saved the state after %s in %s", step, self.record_path(step))
        return True

    def _save_model(self, step, number, model):
        filename = model.meta.filename
        path = Path(model.save(self.path(step, number)))
        model.meta.filename = filename  # of the data, not of this state
        return {
            "file": path.name,
            "class": f"{type(model).__module__}.{type(model).__qualname__}",
            "filename": filename,
            "checksum": fingerprints.file_checksum(path),
        }

    def problems(self, step, description):
        """Why the state after a step cannot be used.

        Parameters
        ----------
        step : str
        description : callable
            Given the recorded description, returns what holds now, in the same form.

        Returns
        -------
        list of str
            Empty if it can be used.
        """
        try:
            record = self._record(step)
        except StateError as error:
            return [str(error)]
        for entry in record["files"]:
            path = self.folder / entry["file"]
            if not path.is_file():
                return [f"{path} is missing"]
            if fingerprints.file_checksum(path) != entry["checksum"]:
                return [f"{path} is not what was saved"]
        return fingerprints.differences(record["description"], description(record["description"]))

    def _record(self, step):
        path = self.record_path(step)
        try:
            record = json.loads(path.read_text())
        except FileNotFoundError:
            raise StateError(f"there is no state {path}") from None
        except (OSError, ValueError) as error:
            raise StateError(f"{path} is not readable: {error}") from error
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise StateError(f"{path} is not the record of a state of this version")
        return record

    def load(self, step):
        """The result that was saved, and the log up to there.

        Returns
        -------
        result : model, list or tuple of models, or str
        log_lines : list of str
        """
        record = self._record(step)
        if record["kind"] == "name":
            return record["name"], record["log"]
        models = [self._load_model(entry) for entry in record["files"]]
        kinds = {"model": lambda found: found[0], "tuple": tuple, "list": list}
        return kinds[record["kind"]](models), record["log"]

    def _load_model(self, entry):
        module, _, name = entry["class"].rpartition(".")
        model = getattr(importlib.import_module(module), name)(self.folder / entry["file"])
        model.meta.filename = entry["filename"]
        return model

    def remove(self, steps):
        """Remove the states after these steps."""
        for step in steps:
            with contextlib.suppress(StateError):
                for entry in self._record(step)["files"]:
                    (self.folder / entry["file"]).unlink(missing_ok=True)
            self.record_path(step).unlink(missing_ok=True)
