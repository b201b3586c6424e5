"""The command line: grammar, exit codes, messages."""

import subprocess
import sys
from pathlib import Path

import asdf
import pytest

RULE = "-" * 70


def _box(header, *lines):
    return "\n".join([RULE, header, *(f"    {line}" for line in lines), RULE, ""])


# ---- in processes of their own -------------------------------------------------------------------------------


def test_success(strun, exposure):
    done = strun("tiny_steps.AddStep", exposure, "--save_results=false")
    assert (done.status, done.out) == (0, "")
    assert " - upramp.framework.step - INFO - Step AddStep running with args" in done.err
    assert " - tiny_steps - " not in done.err
    assert Path("x_nrca1_addstep.fits").exists()


def test_error_of_ours_has_a_box_and_no_traceback(strun, exposure):
    done = strun("tiny_steps.FailStep", exposure, "--log-stream=null")
    assert done.status == 1
    assert done.out == _box("ERROR RUNNING STEP 'FailStep':", "it went wrong")
    assert done.err == ""
    assert list(Path().iterdir()) == [Path(exposure)]


def test_help_does_not_import_crds(strun):
    done = strun("tiny_steps.TinyPipeline", "--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.status == 0
    assert done.out.startswith("usage: strun ")
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.err.splitlines() if "|" in line}
    assert "upramp.framework.strun" in imported or "upramp.framework.logs" in imported
    assert not imported & {"crds", "asdf", "jsonschema", "requests"}


def test_debugger(strun):
    done = strun("tiny_steps.FailStep", "x", "--debug", "--log-stream=null", stdin="p 6 * 7\nq\n")
    assert done.status == 0
    assert "ERROR RUNNING STEP 'FailStep':" in done.out and "(Pdb) 42" in done.out
    assert "Traceback" in done.err


def test_own_options(strun, exposure, workdir):
    (workdir / "threads.py").write_text(
        "import os\nfrom upramp.framework import Step\nclass T(Step):\n"
        "    def process(self, x):\n        return int(os.environ['UPRAMP_THREADS'])\n"
        "class Check(T):\n    def process(self, x):\n        assert super().process(x) == 3\n"
    )
    assert strun("threads.Check", "x", "--threads=3", PYTHONPATH=str(workdir)).status == 0
    done = strun("threads.Check", "x", "--threads=none", PYTHONPATH=str(workdir))
    assert done.status == 1 and "--threads is 'none'; expected a positive integer" in done.out


# ---- in this process -----------------------------------------------------------------------------------------


def test_version(strun_here):
    done = strun_here("--version")
    lines = done.out.splitlines()
    assert done.status == 0 and any(line.startswith("upramp: ") for line in lines)
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--help"], "the following arguments are required"),
        ([], "the following arguments are required"),
        (["tiny_steps.TinyPipeline", "--steps.one.nope=3"], "unrecognized arguments: --steps.one.nope=3"),
        (["tiny_steps.AddStep", "x", "--skip"], "argument --skip: expected one argument"),
        (["tiny_steps.AddStep", "--override_dark=x"], "unrecognized arguments: --override_dark=x"),
    ],
)
def test_wrong_grammar_is_status_2(strun_here, arguments, message):
    done = strun_here(*arguments)
    assert done.status == 2
    assert done.err.startswith("usage: strun") and message in done.err


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["nosuch"], ["'nosuch' is not a path to a config file or a Python Step class"]),
        (["no.such"], ["'no.such' is not a path to a config file or a Python Step class"]),
        (["tiny_steps.log"], ["'tiny_steps.log' is not a path to a config file or a Python Step", "class"]),
        (["--val", "3", "tiny_steps.AddStep"], ["'3' is not a path to a config file or a Python Step class"]),
        (["tiny_steps.AddStep", "--n=9"], ["Config parameter 'n': the value \"9\" is too big."]),
        (
            ["tiny_steps.AddStep", "--log-level=foo"],
            ["Error parsing logging configuration:", 'the value "FOO" is of the wrong type.'],
        ),
        (["tiny_steps.AddStep", "--log-stream=x"], None),
        (["tiny_steps.AddStep", "--logcfg=x.cfg"], ["Logging config 'x.cfg' not found"]),
        (["tiny_steps.AddStep", "--words=x"], ["Config parameter 'words': the value \"x\" is of the wrong type."]),
    ],
)
def test_wrong_configuration_is_status_1(strun_here, arguments, lines):
    done = strun_here(*arguments, "--disable-crds-steppars")
    assert done.status == 1
    assert done.out.startswith(f"{RULE}\nERROR PARSING CONFIGURATION:\n    ")
    if lines:
        assert done.out.startswith(_box("ERROR PARSING CONFIGURATION:", *lines))
    assert "usage: strun" in done.out
    assert "Traceback" not in done.err


@pytest.mark.parametrize(("way", "status", "traceback"), [("ours", 1, 0), ("foreign", 1, 1), ("status", 64, 0)])
def test_errors_in_the_step(strun_here, way, status, traceback):
    done = strun_here("tiny_steps.FailStep", "x", f"--way={way}", "--disable-crds-steppars")
    assert done.status == status
    assert done.out.startswith(f"{RULE}\nERROR RUNNING STEP 'FailStep':\n    ")
    assert "usage" not in done.out
    assert done.err.count("Traceback") == traceback


def test_system_exit_passes(strun_here):
    assert strun_here("tiny_steps.FailStep", "x", "--way=system", "--disable-crds-steppars").status == 7


def test_verbose_shows_the_traceback(strun_here):
    done = strun_here("tiny_steps.FailStep", "x", "-v", "--disable-crds-steppars")
    assert "Traceback" in done.err and "They come from:\n" in done.err


def test_missing_input(strun_here):
    done = strun_here("tiny_steps.AddStep", "gone.fits")
    assert done.status == 1
    assert done.out == _box("ERROR RUNNING STEP 'AddStep':", "The input file gone.fits of step AddStep does not exist")
    assert "Traceback" not in done.err
    assert "cannot get parameters from CRDS" in done.err


def test_values_options_and_places(strun_here, exposure):
    arguments = ["--verbose", "tiny_steps.TinyPipeline", "--steps.one.n=2", exposure, "--steps.one.words=a,"]
    done = strun_here(*arguments, "--steps.two.n", "0", "--steps.one.n=3", "--output_fi=foo.fits", "--suffix=q")
    assert done.status == 0, done.out
    from upramp.models import ImageModel

    with ImageModel("foo_q.fits") as model:
        assert (model.data == 12).all()
    assert "steps.one.n = 3  # command line" in done.err
    assert "steps.one.words = ['a']  # command line" in done.err


def test_everything_after_two_dashes_is_an_argument(strun_here):
    done = strun_here("tiny_steps.FailStep", "--disable-crds-steppars", "--", "--way=status")
    assert done.status == 1
    assert "running with args ('--way=status',)" in done.err


def test_parameter_file_as_first_argument(strun_here, exposure, workdir):
    (workdir / "lm.cfg").write_text("class = tiny_steps.AddStep\nn = 2\nval = 3\n")
    assert strun_here("lm.cfg", exposure, "--val=1").status == 0
    assert Path("x_nrca1_lm.fits").exists()
    (workdir / "no.cfg").write_text("n = 2\n")
    done = strun_here("no.cfg", exposure)
    assert done.status == 1 and "does not say which step it is for" in done.out


def test_a_folder_of_the_name_of_a_step_does_not_hide_it(strun_here, exposure, workdir):
    (workdir / "tiny_steps.AddStep").mkdir()
    assert strun_here("tiny_steps.AddStep", exposure).status == 0


def test_save_parameters(strun_here, exposure):
    done = strun_here("tiny_steps.AddStep", exposure, "--n=3", "--save-parameters=p.asdf")
    assert done.status == 0 and "Step/Pipeline parameters saved to 'p.asdf'" in done.err
    with asdf.open("p.asdf") as file:
        assert file["parameters"]["n"] == 3
        assert file["meta"]["description"] == "Parameters for calibration step tiny_steps.AddStep"


def test_logging_configuration_is_deprecated_but_works(strun_here, exposure, workdir):
    (workdir / "log.cfg").write_text("[*]\nlevel = WARNING\nhandler = stdout\n")
    done = strun_here("tiny_steps.AddStep", exposure, "--logcfg=log.cfg")
    assert done.status == 0 and done.err == ""
    assert "--logcfg is deprecated" in done.out and "INFO" not in done.out
    done = strun_here("tiny_steps.AddStep", exposure, "--logcfg=log.cfg", "--log-level=info")
    assert "INFO" in done.err


def test_log_options(strun_here, exposure):
    done = strun_here("tiny_steps.AddStep", exposure, "--log-stream=stdout", "--log-file=a.log", "--log-level=info")
    assert done.status == 0
    assert done.err == ""
    assert done.out == Path("a.log").read_text()
    assert "Saved model in x_nrca1_addstep.fits" in done.out


def test_help(strun_here):
    done = strun_here("tiny_steps.AddStep", "--help")
    assert done.status == 0
    text = " ".join(done.out.split())
    assert "Add a number to an image." in text
    assert "--val What is added (per pixel), 50% or so [default=4.0, min=0]" in text
    assert "--n How often # it is added [min=0, max=5, default=1]" in text
    assert "--words [default=list]" in text
    assert "--table A file that exists --override_gain Override the gain reference file" in text
    order = [
        text.index(f" {name} ") for name in ("--help,", "--log-stream", "--pre_hooks", "--val", "--override_gain")[1:]
    ]
    assert order == sorted(order)


def test_a_module_that_cannot_be_imported_has_a_box_too(strun_here, workdir, monkeypatch):
    monkeypatch.syspath_prepend(str(workdir))
    (workdir / "broken_module.py").write_text("1 / 0\n")
    done = strun_here("broken_module.Step", "x")
    assert done.status == 1
    assert done.out.startswith(_box("ERROR PARSING CONFIGURATION:", "division by zero"))
    assert "broken_module.py" in done.err


def test_a_hook_that_cannot_be_made_has_a_box_too(strun_here):
    done = strun_here("tiny_steps.AddStep", "--post_hooks=tiny_steps.AddStep(nix=1),")
    assert done.status == 1
    assert "ERROR PARSING CONFIGURATION:\n    Extra value 'nix' in root" in done.out


def test_logging_configuration_of_the_folder_is_found(strun_here, exposure, workdir):
    (workdir / "stpipe-log.cfg").write_text("[*]\nlevel = WARNING\nhandler = stdout\n")
    assert strun_here("tiny_steps.AddStep", exposure, "--disable-crds-steppars").err == ""
    assert "INFO" in strun_here("tiny_steps.AddStep", exposure, "--log-stream=stderr").err
    done = strun_here("tiny_steps.AddStep", exposure, "--log-file=no/such/a.log")
    assert done.status == 1 and "but there is no folder 'no/such'" in done.out


def test_interrupted(strun_here, tiny, monkeypatch):
    def interrupt(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(tiny.AddStep, "process", interrupt)
    done = strun_here("tiny_steps.AddStep", "x", "--disable-crds-steppars")
    assert done.status == 130 and done.err.endswith("Interrupted\n") and "Traceback" not in done.err


def test_from_cmdline_returns_the_step_and_raises_as_it_is(tiny, exposure, capsys):
    from upramp.errors import ConfigError
    from upramp.framework import Step

    step = Step.from_cmdline(["tiny_steps.AddStep", exposure, "--n=2"])
    assert isinstance(step, tiny.AddStep) and step.n == 2
    with pytest.raises(ConfigError, match="it went wrong"):
        Step.from_cmdline(["tiny_steps.FailStep", exposure])
    assert "ERROR RUNNING STEP 'FailStep':" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="too big"):
        Step.from_cmdline(["tiny_steps.AddStep", exposure, "--n=2000"])
    assert "ERROR PARSING CONFIGURATION:" in (shown := capsys.readouterr().out) and "usage:" in shown


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["jwst.stpipe.Step", "--help"], 0, "--disable-crds-steppars"),
        (["jwst::jump", "--nope=3"], 2, "strun: error: unrecognized arguments: --nope=3"),
        (["jwst::jump", "gone.fits", "--disable-crds-steppars"], 1, "ERROR RUNNING STEP 'JumpStep':"),
        (["a.cfg"], 1, "Config parameter 'skip': the value \"nonsense\" is of the wrong"),
    ],
)
def test_steps_of_stpipe_run_in_stpipe(strun_here, arguments, status, message):
    pytest.importorskip("jwst")
    Path("a.cfg").write_text("class = jwst.stpipe.Step\nskip = nonsense\n")
    done = strun_here(*arguments)
    assert done.status == status and message in done.out + done.err
    assert "--threads" not in done.out + done.err
    assert ("/stpipe/" in done.err) == (status == 1)


def test_reserved_names_in_a_spec(tiny, monkeypatch, strun_here):
    monkeypatch.setattr(tiny.AddStep, "spec", "debug = boolean(default=False)")
    done = strun_here("tiny_steps.AddStep")
    assert done.status == 1
    assert "trying to override a built-in parameter '--debug'" in " ".join(done.out.split())


@pytest.mark.parametrize(("arguments", "status"), [(["--version"], 0), (["no_such_step", "x.fits"], 1), ([], 2)])
def test_the_process_ends_with_the_status_of_the_command(arguments, status):
    done = subprocess.run([sys.executable, "-m", "upramp.framework.strun", *arguments], capture_output=True)
    assert done.returncode == status
