"""The base class of every calibration step: parameters, running, references, status, saving."""

import contextlib
import logging
import time
import warnings
from pathlib import Path

import upramp
from upramp.framework import config, hooks, logs, progress, specs
from upramp.framework.configurable import Configurable
from upramp.framework.lookup import Lookup
from upramp.framework.references import ReferenceFinder
from upramp.framework.run_record import MEBIBYTE, RunRecord, utc_now
from upramp.framework.saving import Saving, as_list, make_folder
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
    run_record : upramp.framework.run_record.RunRecord or None
        Record of the last `run` of an outermost step, also of one that failed.

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
        self.run_record = None
        self._recorder, self._earlier_lines = None, []
        self.reference_files_used = []
        self._finder = ReferenceFinder()
        self._input_metadata = None
        self._exposure, self._missing = {}, {}
        self._input_filename = None
        self._input_dir_is_derived = False
        log.info("%s instance created.", self.name)
        if not _validated:
            layer = config.Layer(config.Rank.CALLER, "keyword", pars, config.folder_of(config_file))
            spec = self.load_spec_file()
            values, self.origins = config.resolve([layer], spec)
            pars = specs.validate(values, spec)
        self._resolved = dict(pars)
        self._set_parameters(pars)
        self._hooks = {kind: hooks.HookList(self, kind) for kind in ("pre_hook", "post_hook")}

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
        if logcfg:
            text = "The 'logcfg' configuration option is deprecated; set up the logging module, or use strun --log-*"
            warnings.warn(text, DeprecationWarning, stacklevel=3)
        with contextlib.ExitStack() as stack:
            if configure_log:
                options = logs.LogOptions.from_file(logcfg) if logcfg else logs.LogOptions()
                stack.enter_context(logs.shared(options, cls.get_stpipe_loggers()))
            dataset = args[0] if args else None
            step = cls.configure(dataset, config_file=config_file, name=name, pars=pars)
            return step.run(*args)

    @classmethod
    def get_stpipe_loggers(cls):
        """Loggers that belong to the log of a run: that of the package that brought this class."""
        return [cls.__module__.split(".")[0]]

    def run(self, *args):
        """Run the step: hooks, `process`, status, references in the header, saving.

        Parameters
        ----------
        *args
            Passed to `process`; the first one is the primary input (file name or model). Models of the reference
            pipeline are taken too, and the results are such models then; `process` of a class from elsewhere gets them
            as they are.

        Returns
        -------
        model, or whatever `process` returns
        """
        if specs.any_is_peer(args):
            from upramp.models import peer

            is_ours = type(self).__module__.startswith("upramp.")
            return peer.theirs(self._recorded(peer.ours(args) if is_ours else args))
        return self._recorded(args)

    def _recorded(self, args):
        """Run, as the outermost step with a log and a record of the run."""
        root = self.root
        if root._recorder is not None:
            return self._run(args)
        with logs.recording(self.get_stpipe_loggers()) as recorder:
            recorder.lines += root._earlier_lines
            root._recorder, root.log_records, root.run_record = recorder, recorder.lines, RunRecord(self, args)
            try:
                return self._run(args)
            finally:
                root.run_record.close()
                root._recorder = None

    def __call__(self, *args):
        """The same as `run`."""
        return self.run(*args)

    def _run(self, args):
        started, status = time.perf_counter(), "FAILED"
        self.timings, self.reference_files_used = {}, []
        self.root.run_record.entry(self)
        try:
            self._begin(args)
            args = self._hooks["pre_hook"].run(*args)
            skipped = self._must_skip()
            with progress.working_on(self.name):
                result = self._skipped(args) if skipped else self._processed(args)
            theirs = specs.any_is_peer(as_list(result))
            if theirs:
                from upramp.models import peer

                result = peer.ours(result)
            (result,) = self._hooks["post_hook"].run(result)
            status = "SKIPPED" if skipped else None
            if self.parent is None:
                self._note("Run of %s has its results at %s UTC", self.run_record.class_name, utc_now())
            for one in as_list(result):
                if is_model(one):
                    self.finalize_result(one, self.reference_files_used)
            if self.save_results and not skipped:
                self._save_result(result)
        finally:
            self._account(time.perf_counter() - started, status)
        return peer.theirs(result) if theirs else result

    def process(self, *args):
        """Do the work of the step; subclasses implement it.

        Parameters
        ----------
        *args
            File names or models.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define process()")

    def _begin(self, args):
        log.info("Step %s running with args %s.", self.name, args)
        if self.parent is None:
            self._note_platform()
            log.info("Step %s parameters are:\n%s", self.name, self.parameters_text())
            if log.isEnabledFor(logging.DEBUG):
                log.debug("They come from:\n%s", self.explain_pars())
        if args:
            self.set_primary_input(args[0])
        if self.output_file is not None:
            self.save_results = True
        if self.output_dir:
            make_folder(self.output_folder)
        if self.parent is None:
            self.check_outputs()
        if self.suffix is None:
            self.suffix = self.name.lower()

    def _note_platform(self):
        record = self.run_record
        self._note("Run of %s started at %s UTC", record.class_name, record.started)
        self._note("Software: %s", ", ".join(f"{name} {version}" for name, version in record.software.items()))
        self._note("Platform: {system} {machine}, {cpus} processors".format(**record.platform))

    def _note(self, message, *arguments):
        """Log something that belongs into the log of the run whatever its level."""
        recorder = self.root._recorder
        if recorder is None:
            log.info(message, *arguments)
        else:
            recorder.note(log, message, *arguments)

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

    def _account(self, seconds, status):
        self.timings[self.name] = seconds
        if self.parent is not None:
            self.parent.timings[self.name] = seconds
        entry = self.root.run_record.finish(self, seconds, status)
        if status == "SKIPPED":
            return
        word = "failed after" if status == "FAILED" else "done in"
        self._note("Step %s %s %.2f s, peak memory %d MB", self.name, word, seconds, entry.peak_memory // MEBIBYTE)

    def note_time(self, name, seconds):
        """Log how long a part of the work took that is no step of its own, and keep it in the record of the run."""
        self.timings[name] = seconds
        if self.root.run_record is not None:
            self.root.run_record.add(f"{self.qualified_name}.{name}", seconds)
        self._note("Step %s: %s done in %.2f s", self.name, name, seconds)

    def note_counts(self, **counts):
        """Log numbers that the step has counted, and keep them in the record of the run.

        Parameters
        ----------
        **counts : int
            Such as ``saturated_samples=12``.
        """
        if self.root.run_record is not None:  # None: `process` was called by itself
            self.root.run_record.entry(self).counts.update(counts)
        self._note("Step %s counted %s", self.name, ", ".join(f"{key}: {value}" for key, value in counts.items()))

    # ---- models --------------------------------------------------------------------------------------

    def prepare_output(
        self, init, make_copy=None, open_models=True, open_as_type=None, open_as_ramp=False, *, open_as=None
    ):
        """Give `process` a model that it may change.

        A file is opened. A model is copied when the step is standalone, so that the caller's own stays as
        it is; inside a pipeline it is passed through. Of a list, all that is true of each.

        Parameters
        ----------
        init : str, Path, model, or a list of these
        make_copy : bool, optional
            Copy in any case, or in none.
        open_models : bool
            Open files; otherwise their names are passed through.
        open_as_type : type, optional
            Model class to open a file with, or to make from a model of another class; whether header and arrays of
            the file agree is not checked then.
        open_as_ramp : bool
            The same with the class of ramps: GuiderRawModel for guide stars, SuperstripeRampModel for superstripe
            readouts, else RampModel.
        open_as : type, optional
            Model class that the step needs.

        Raises
        ------
        TypeError
            The model is of another class; or a name is to be copied.
        FileNotFoundError
            There is no such file.
        FileFormatError
            The file is not what it should be.
        """
        init = specs.as_ours(init)
        if isinstance(init, list | tuple):
            options = {"make_copy": make_copy, "open_models": open_models}
            options |= {"open_as_type": open_as_type, "open_as_ramp": open_as_ramp}
            return [self.prepare_output(one, open_as=open_as, **options) for one in init]
        if open_as_ramp and open_as_type is None and (open_models or is_model(init)):
            open_as_type = self._ramp_class(init)
        if isinstance(init, str | Path):
            if open_models:
                return self._opened(init, open_as or open_as_type, check=open_as_type is None)
            if make_copy:
                raise TypeError(f"Copy is not possible for input type {type(init).__name__}: {init!r} is not opened")
            return init
        if open_as is not None and not isinstance(init, open_as):
            # A generic model may hold the arrays of any other.
            if not issubclass(open_as, type(init)) or init.shape is None:
                raise self._incompatible(init, open_as)
            init = open_as(init)
        if open_as_type is not None and type(init) is not open_as_type:
            try:
                init = open_as_type(init)
            except ValueError as error:  # arrays that do not fit
                raise self._incompatible(init, open_as_type) from error
        return init.copy() if (self.parent is None if make_copy is None else make_copy) else init

    def _incompatible(self, model, wanted):
        return TypeError(
            f"Input data model is not compatible: {self.name} got a {type(model).__name__}. "
            f"The file should be opened as a {wanted.__name__} before calling the step."
        )

    def _ramp_class(self, data):
        from upramp import models

        model = data if is_model(data) else self.open_model(data)
        guides = str(model.meta.exposure.type).startswith(("FGS_ID", "FGS_ACQ", "FGS_TRACK", "FGS_FINEGUIDE"))
        found = models.GuiderRawModel if guides else models.ramp_class(model)
        if model is data and isinstance(model, models.Level1bModel):
            raise self._incompatible(model, found)
        return found

    def _opened(self, name, open_as, check=True):
        from upramp import models

        path = self.make_input_path(name)
        if not path.exists():
            raise FileNotFoundError(f"The input file {path} of step {self.name} does not exist")
        model = (open_as or models.open)(path)
        if check and hasattr(model, "check_consistency"):
            model.check_consistency()
        return model

    def open_model(self, init, **keywords):
        """Open a file (bare names are looked for in ``input_dir``), or pass a model through."""
        from upramp import models

        return models.open(self.make_input_path(init) if isinstance(init, str | Path) else init, **keywords)

    @property
    def status_name(self):
        """Name below ``meta.cal_step`` where the step's status is recorded; None when it has none."""
        return self.status_attribute or self.class_alias

    def _set_status(self, model, status, reason=None):
        if self.status_name and hasattr(model, "meta"):
            setattr(model.meta.cal_step, self.status_name, status)
        if self.root.run_record is not None:
            entry = self.root.run_record.entry(self)
            entry.status, entry.reason = status, reason

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
        self._set_status(model, "SKIPPED", reason)
        return model

    def record_failure(self, model, reason):
        """Like `record_skip`, with the status FAILED: the step has tried, and left the data as they were."""
        log.warning("Step %s failed, the data are unchanged: %s", self.name, reason)
        self._set_status(model, "FAILED")
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
        meta = getattr(result, "meta", None)
        if meta is None:  # a model of another package, which knows of no headers
            return
        meta.calibration_software_version = upramp.__version__
        meta.calibration_software_revision = "RELEASE"
        for reftype, name in reference_files_used:
            if hasattr(meta.ref_file, reftype):
                getattr(meta.ref_file, reftype).name = name
            else:
                log.debug("There is no keyword for the reference %s (%s)", reftype, name)
        context = self.root._finder.context if reference_files_used else None
        if context is not None:
            meta.ref_file.crds.sw_version, meta.ref_file.crds.context_used = context
            if self.parent is None:
                log.info("Results used CRDS context: %s", context[1])
        if self.parent is None:
            log.info("Results used upramp version: %s", upramp.__version__)
        self.attach_log(result)

    def attach_log(self, model):
        """Put the log of the run into a model, under the alias of the outermost step."""
        if self.root._recorder is None or not (is_model(model) and hasattr(model, "meta")):
            return
        if getattr(model, "cal_logs", None) is None:
            model.cal_logs = {}
        model.cal_logs[self.root.class_alias or self.root.name] = self.root.log_records

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

    def search_attr(self, attribute, default=None, parent_first=False):
        """Value of an attribute of this step, else of the nearest parent where it is not None.

        With ``parent_first`` that of the outermost step where it is not None.
        """
        steps = [self]
        while steps[-1].parent is not None:
            steps.append(steps[-1].parent)
        values = (getattr(step, attribute, None) for step in (reversed(steps) if parent_first else steps))
        return next((value for value in values if value is not None), default)
