"""The base class of every calibration step: parameters, running, references, status, saving."""

import contextlib
import logging
import time
from pathlib import Path

import upramp
from upramp.framework import config, hooks, logs, specs
from upramp.framework.configurable import Configurable
from upramp.framework.lookup import Lookup
from upramp.framework.references import ReferenceFinder
from upramp.framework.saving import Saving, as_list
from upramp.framework.specs import is_model

__all__ = ["Step"]

log = logging.getLogger(__name__)


class _MakesItsOwnStep(classmethod):
    """A class method that warns when it is called on an instance, whose state it cannot know."""

    def __get__(self, instance, owner=None):
        if instance is not None:
            log.warning(
                "%s.call() makes a new step: the parameters of this one (%s) are ignored. Use its run() instead.",
                type(instance).__name__,
                instance.name,
            )
        return super().__get__(None, owner)


class Step(Configurable, Lookup, Saving):
    """One calibration step.

    A subclass defines ``spec`` (its parameters), ``class_alias``, ``reference_file_types`` and
    ``process(input)``; ``status_attribute`` when the status keyword is not called like the alias.

    Parameters
    ----------
    name : str, optional
        Name in logs and default suffix of output files; default is the class name.
    parent : Step, optional
        The pipeline that this step is part of. A step without one is "standalone".
    config_file : str or Path, optional
        Where parameters came from; relative file names in them start at its folder.
    **pars
        Parameters of the spec, and ``override_<type>`` for each reference type.

    Attributes
    ----------
    timings : dict
        Seconds of the last `run`: of this step, and in a pipeline of every sub-step, by name.
    origins : dict
        Where each parameter that is not a default came from.

    Raises
    ------
    ConfigError
        Unknown parameter or bad value; the message lists all of them.
    """

    spec = """
    pre_hooks          = list(default=list())         # Functions, steps or commands to run before this step
    post_hooks         = list(default=list())         # Functions, steps or commands to run after this step
    output_file        = output_file(default=None)    # Base name of the output; setting it saves the result
    output_dir         = string(default=None)         # Folder for the output, made when it does not exist
    output_ext         = string(default='.fits')      # Extension of output files
    output_use_model   = boolean(default=False)       # Name the output after meta.filename of the result
    output_use_index   = boolean(default=True)        # Accepted for compatibility, without effect
    save_results       = boolean(default=False)       # Save the result
    skip               = boolean(default=False)       # Skip this step
    suffix             = string(default=None)         # Suffix of output files; default is the step's name
    search_output_file = boolean(default=True)        # Take output_file from the pipeline when not set here
    input_dir          = string(default=None)         # Folder of input files given by bare names
    """
    class_alias = None
    status_attribute = None
    reference_file_types = ()
    prefetch_references = True

    def __init__(self, name=None, parent=None, config_file=None, *, _validated=False, _origins=None, **pars):
        self.name = name or type(self).__name__
        self.parent = parent
        self.config_file = config_file
        self.origins = _origins or {}
        self.timings = {}
        self.log_records = []
        self.reference_files_used = []
        self._finder = ReferenceFinder()
        self._input_metadata = None
        self._exposure = {}
        self._input_filename = None
        log.info("%s instance created.", self.name)
        if not _validated:
            layer = config.Layer(config.Rank.CALLER, "keyword", pars, config.folder_of(config_file))
            spec = self.load_spec_file()
            values, self.origins = config.resolve([layer], spec)
            pars = specs.validate(values, spec)
        self._resolved = dict(pars)
        self._set_parameters(pars)
        self._pre_hooks = hooks.make_hooks(self, "pre_hook", self.pre_hooks)
        self._post_hooks = hooks.make_hooks(self, "post_hook", self.post_hooks)

    def _set_parameters(self, values):
        for key, value in values.items():
            setattr(self, key, value)

    # ---- running -------------------------------------------------------------------------------------

    @staticmethod
    def from_cmdline(args):
        """Run a step as the command line ``strun`` would, and return the step."""
        from upramp.framework.strun import run_command

        return run_command(args)

    @_MakesItsOwnStep
    def call(cls, *args, config_file=None, logcfg=None, configure_log=True, name=None, **pars):
        """Make a step with the full precedence of parameters (CRDS included), run it, return its result.

        Parameters
        ----------
        *args
            For `process`: file names or models.
        config_file : str or Path, optional
            Parameter file.
        logcfg : str or Path, optional
            Logging configuration in ini form.
        configure_log : bool
            Log to standard error at INFO during the run, unless that has been set up already.
        name : str, optional
            Name of the step.
        **pars
            Parameters; those of sub-steps as ``steps={"jump": {"rejection_threshold": 5}}``.
        """
        with contextlib.ExitStack() as stack:
            if configure_log and not logs.is_configured():
                options = logs.LogOptions.from_file(logcfg) if logcfg else logs.LogOptions()
                stack.enter_context(logs.configured(options, cls.logger_names()))
            dataset = args[0] if args else None
            step = cls.configure(dataset, config_file=config_file, name=name, pars=pars)
            return step.run(*args)

    @classmethod
    def logger_names(cls):
        """Loggers of the package that brought this class."""
        return [cls.__module__.split(".")[0]]

    def run(self, *args):
        """Run the step: hooks, `process`, status, references in the header, saving.

        Parameters
        ----------
        *args
            Passed to `process`; the first one is the primary input (file name or model).

        Returns
        -------
        model, or whatever `process` returns
        """
        with contextlib.ExitStack() as stack:
            if self.parent is None:
                self.log_records = stack.enter_context(logs.recording(self.logger_names()))
            started = time.perf_counter()
            self.timings, self.reference_files_used = {}, []
            log.info("Step %s running with args %s.", self.name, args)
            self._prepare(args)
            for hook in self._pre_hooks:
                replaced = hook(*args)
                args = args if replaced is None else (replaced,)
            skipped = self._must_skip()
            result = self._skipped(args) if skipped else self._processed(args)
            for hook in self._post_hooks:
                replaced = hook(result)
                result = result if replaced is None else replaced
            for one in as_list(result):
                if is_model(one):
                    self.finalize_result(one, self.reference_files_used)
            if self.save_results and not skipped:
                self._save_result(result)
            self._account(time.perf_counter() - started)
            return result

    def process(self, *args):
        """Do the work of the step; subclasses implement it.

        Parameters
        ----------
        *args
            File names or models.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define process()")

    def _prepare(self, args):
        if self.parent is None:
            log.info("Step %s parameters are:\n%s", self.name, self.parameters_text())
            if log.isEnabledFor(logging.DEBUG):
                log.debug("They come from:\n%s", self.explain_pars())
        if args:
            self.set_primary_input(args[0])
        if self.output_file is not None:
            self.save_results = True
        if self.parent is None:
            self.check_outputs()

    def _must_skip(self):
        if self.parent is None and self.skip:
            log.info("Step run as standalone, so skip set to False")
            self.skip = False
        return self.skip

    def _skipped(self, args):
        log.info("Step skipped.")
        if not args:
            return None
        for one in as_list(args[0]):
            if is_model(one):
                self._set_status(one, "SKIPPED")
        return args[0]

    def _processed(self, args):
        if self.parent is None and args:
            self.prefetch(args[0])
        return self.process(*args)

    def _account(self, seconds):
        self.timings[self.name] = seconds
        if self.parent is not None:
            self.parent.timings[self.name] = seconds
        log.info("Step %s done in %.2f s", self.name, seconds)

    # ---- models --------------------------------------------------------------------------------------

    def prepare_output(self, data, open_as=None):
        """Give `process` a model that it may change.

        A file is opened. A model is copied when the step is standalone, so that the caller's own stays as
        it is; inside a pipeline it is passed through.

        Parameters
        ----------
        data : str, Path or model
        open_as : type, optional
            Model class that the step needs.

        Raises
        ------
        TypeError
            The model is of another class.
        FileNotFoundError
            There is no such file.
        FileFormatError
            The file is not what it should be.
        """
        if isinstance(data, str | Path):
            from upramp import models

            path = self.make_input_path(data)
            if not path.exists():
                raise FileNotFoundError(f"The input file {path} of step {self.name} does not exist")
            model = (open_as or models.open)(path)
            if hasattr(model, "check_consistency"):
                model.check_consistency()
            return model
        if open_as is not None and not isinstance(data, open_as):
            raise TypeError(
                f"Input data model is not compatible: {self.name} got a {type(data).__name__}. "
                f"The file should be opened as a {open_as.__name__} before calling the step."
            )
        return data.copy() if self.parent is None else data

    def open_model(self, data, **keywords):
        """Open a file (bare names are looked for in ``input_dir``), or pass a model through."""
        from upramp import models

        return models.open(self.make_input_path(data) if isinstance(data, str | Path) else data, **keywords)

    @property
    def status_name(self):
        """Name below ``meta.cal_step`` where the step's status is recorded; None when it has none."""
        return self.status_attribute or self.class_alias

    def _set_status(self, model, status):
        if self.status_name:
            setattr(model.meta.cal_step, self.status_name, status)

    def record_skip(self, model, reason):
        """Record that the step cannot run: status SKIPPED, and a warning that says why.

        Parameters
        ----------
        model : model
            Changed in place.
        reason : str

        Returns
        -------
        model
            The same one, for ``return self.record_skip(...)``.
        """
        log.warning("Step %s skipped: %s", self.name, reason)
        self._set_status(model, "SKIPPED")
        return model

    def record_complete(self, model):
        """Record that the step has run: status COMPLETE. Returns the model."""
        self._set_status(model, "COMPLETE")
        return model

    def finalize_result(self, result, reference_files_used):
        """Write software version, references and log into the metadata of a result.

        Parameters
        ----------
        result : model
            Changed in place.
        reference_files_used : list of (str, str)
            Reference type and its name for the header.
        """
        meta = result.meta
        meta.calibration_software_version = upramp.__version__
        meta.calibration_software_revision = "RELEASE"
        for reftype, name in reference_files_used:
            if hasattr(meta.ref_file, reftype):
                getattr(meta.ref_file, reftype).name = name
            else:
                log.debug("There is no keyword for the reference %s (%s)", reftype, name)
        context = self.root._finder.context
        if context is not None:
            meta.ref_file.crds.sw_version, meta.ref_file.crds.context_used = context
            if self.parent is None:
                log.info("Results used CRDS context: %s", context[1])
        if self.parent is None:
            log.info("Results used upramp version: %s", upramp.__version__)
            if getattr(result, "cal_logs", None) is None:
                result.cal_logs = {}
            result.cal_logs[self.class_alias or self.name] = self.log_records

    # ---- place in the run -----------------------------------------------------------------------------

    @property
    def root(self):
        """The outermost step of this run."""
        return self if self.parent is None else self.parent.root

    @property
    def qualified_name(self):
        """Names from the outermost step down to this one, joined by dots."""
        return self.name if self.parent is None else f"{self.parent.qualified_name}.{self.name}"

    @property
    def log(self):
        """Logger for the code of a step."""
        return logging.getLogger(type(self).__module__)

    def search_attr(self, name, default=None):
        """Value of an attribute of this step, else of the nearest parent where it is not None."""
        value = getattr(self, name, None)
        if value is None and self.parent is not None:
            return self.parent.search_attr(name, default)
        return default if value is None else value
