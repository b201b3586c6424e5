"""Input and output files of a step: where they are looked for, what they are called, when they are written."""

import logging
import os
from pathlib import Path

from upramp.errors import ConfigError
from upramp.framework.output_names import output_name, split_known_suffix
from upramp.framework.specs import is_model

__all__ = ["Saving", "as_list", "make_folder", "product_name"]

log = logging.getLogger(__name__)


class Saving:
    """The part of a Step that deals with files; see `upramp.framework.step.Step`."""

    @property
    def input_dir(self):
        """Folder of input files given by bare names: that of this step, else of one around it, else ``""``."""
        return self.search_attr("_input_dir", "")

    @input_dir.setter
    def input_dir(self, folder):
        self._input_dir = folder

    def set_primary_input(self, data, exclusive=True):
        """Note the first input of a run, whose name the names of all outputs start from; the first one wins.

        Its folder becomes ``input_dir``, where that is not given. With ``exclusive=False`` a name that was noted by a
        step around this one does not count.
        """
        if self._input_dir_is_derived:  # in a run before
            self.input_dir, self._input_dir_is_derived = None, False
        self._input_filename = None
        if exclusive and self.search_attr("_input_filename") is not None:
            return
        first = data[0] if isinstance(data, list | tuple) and data else data
        folder = None
        if is_model(first):
            self._input_filename, folder = _filename(first), ""
        elif isinstance(first, str | Path):
            self._input_filename, folder = str(first), os.path.dirname(first)  # noqa: PTH120 - '' stays ''
        if folder is not None and self._owner_of_input_dir() is None:
            self.input_dir, self._input_dir_is_derived = folder, True

    def make_input_path(self, file_path):
        """Path of an input file: bare names are looked for in ``input_dir``.

        Where that was not given but is the folder of the input, a file in the current folder comes first.
        """
        path, owner = Path(file_path), self._owner_of_input_dir()
        if owner is None or path.parent != Path():
            return path
        return path if owner._input_dir_is_derived and path.exists() else _expanded(owner.input_dir) / path

    def _owner_of_input_dir(self):
        """The step, this one or one around it, whose ``input_dir`` counts; None where there is none (or '')."""
        owner = self
        while owner is not None and not owner._input_dir:
            owner = owner.parent
        return owner

    def default_suffix(self):
        """Suffix of output files when none is given."""
        return self.name.lower()

    @staticmethod
    def remove_suffix(name):
        """Split a known suffix off a name without extension: the rest, and the separator before it."""
        return split_known_suffix(name)

    @property
    def output_folder(self):
        """Folder of the output: own or inherited ``output_dir``, else the current one."""
        return _expanded(self.search_attr("output_dir", ""))

    def make_output_path(self, basepath=None, ext=None, suffix=None, **components):
        """Name of an output file (see `upramp.framework.output_names`); nothing is written.

        Parameters
        ----------
        basepath : str or Path, optional
            Name to start from. Default: output_file, else the primary input.
        ext : str, optional
            Extension. Default: output_ext.
        suffix : str or False, optional
            Default: own suffix, which a run sets to the name of the step; before that, the suffix of a pipeline
            around it, else the name. False: leave the base name as it is.
        **components
            Index and the like, put before the suffix.

        Returns
        -------
        str
        """
        extension = ext or self.output_ext
        output_file = self.search_attr("output_file") if self.search_output_file else self.output_file
        fallback = f"step_{self.name}.{(extension or '').lstrip('.')}"
        base = basepath or output_file or self.search_attr("_input_filename") or fallback
        if suffix is None:
            suffix = self.search_attr("suffix", self.name.lower())
        path = output_name(
            base,
            suffix=suffix,
            extension=extension,
            directory=self.output_folder,
            components=components.values(),
        )
        return str(path)

    def output_suffixes(self):
        """Suffixes of the files that a run is going to write, as far as known beforehand.

        A step that chooses its suffix while it works overrides this.
        """
        return (self.suffix or self.name.lower(),)

    def own_outputs(self):
        """Paths of the files that this step itself is going to write, without those of its sub-steps."""
        if not (self.save_results or self.output_file is not None):
            return []
        return [self.make_output_path(suffix=suffix) for suffix in self.output_suffixes()]

    def planned_outputs(self):
        """Paths of all files that a run is going to write, as far as known beforehand."""
        return [path for step in self.steps_to_run() for path in step.own_outputs()]

    def check_outputs(self):
        """Before any work: output folders exist or can be made, are writable; no output is the input.

        Raises
        ------
        ConfigError
            Says which folder or file, and why.
        """
        for step in self.steps_below():
            paths = step.own_outputs()
            if paths:
                make_folder(step.output_folder)
            for path in paths:
                self._check_not_input(path)

    def _check_not_input(self, path):
        name = self.search_attr("_input_filename")
        source = self.make_input_path(name) if name else None
        if source is not None and source.exists() and Path(path).exists() and source.samefile(path):
            raise ConfigError(
                f"The output {path} of step {self.name} is the input file itself; choose another output_dir, "
                "output_file or suffix"
            )

    def save_model(self, model, suffix=None, idx=None, output_file=None, force=False, **components):
        """Save a model, or a list of models, when the step is saving.

        Parameters
        ----------
        model : model or list of model
        suffix : str or False, optional
            As in `make_output_path`.
        idx : int, optional
            Index in the file name.
        output_file : str or Path, optional
            Base name; also makes the step save.
        force : bool
            Save in any case.
        **components
            Further parts of the name.

        Returns
        -------
        str, list of str, or None
            Paths written.
        """
        if model is None or not (self.save_results or output_file or force):
            return None
        if isinstance(model, list | tuple):
            numbered = enumerate(model) if len(model) > 1 else [(None, one) for one in model]
            return [
                self.save_model(one, suffix, number, output_file, force, **components)
                for number, one in numbered
                if is_model(one)
            ]
        by_model = self.output_use_model or not (self.search_output_file or self.output_file)
        base = output_file or (_filename(model) if by_model else None)
        if base is None or not by_model:
            components = {"idx": idx} | components
        path = self.make_output_path(base, suffix=suffix, **components)
        make_folder(Path(path).parent)
        self.root._check_not_input(path)
        self.attach_log(model)
        path = str(model.save(path) or path)
        self.note_product(path)
        return path

    def _save_result(self, result):
        results = as_list(result)
        for number, one in enumerate(results):
            index = number if len(results) > 1 else None
            if is_model(one):
                self.save_model(one, idx=index)
            elif hasattr(one, "save"):
                path = self.make_output_path(idx=index)
                one.save(path, overwrite=True)
                self.note_product(path)

    def note_product(self, path):
        """Log that a file has been written, and keep its name in the record of the run."""
        log.info("Saved model in %s", path)
        if self.root.run_record is not None:
            self.root.run_record.products.append(Path(path).name)


def product_name(step, suffix):
    """Name for a further product of a step, in its output folder, which is made if need be.

    `Step.save_model` saves a model under such a name when the step is saving; this is for those who save themselves.

    Parameters
    ----------
    step : Step
    suffix : str

    Returns
    -------
    str
    """
    path = step.make_output_path(suffix=suffix)
    make_folder(Path(path).parent)
    return path


def as_list(result):
    """One result, or several, as a list."""
    return result if isinstance(result, list | tuple) else [result]


def _filename(model):
    return getattr(getattr(model, "meta", None), "filename", None)


def _expanded(folder):
    return Path(os.path.expandvars(folder)).expanduser()


def make_folder(folder):
    """Make a folder for output, if it is not there; ConfigError if that fails or it is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"The output folder {folder} cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"The output folder {folder.absolute()} is not writable; choose another output_dir")
