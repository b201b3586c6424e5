"""The subcommands of `upramp` that look at steps."""

from importlib import metadata

import pytest

from upramp import registry
from upramp.cli import main
from upramp.framework import commands
from upramp.models import ImageModel


@pytest.fixture
def upramp(capsys):
    """Run a subcommand in this process: status, standard output, standard error."""

    def run(*arguments):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["upramp*"], {name for name, _, _ in registry.steps()}),
        (["UPRAMP.*jump*", "--steps-only"], {"upramp.steps.JumpStep"}),
        (["upramp.*", "--pipelines-only"], {name for name, _, pipeline in registry.steps() if pipeline}),
        (["upramp.*ump*", "--pipelines-only"], set()),
        (["jum"], set()),
        (["upramp.steps.[J]umpStep"], set()),
    ],
)
def test_list(upramp, arguments, found):
    status, out, err = upramp("list", *arguments)
    assert status == 0
    assert {line.split(" (")[0] for line in out.splitlines()} == found
    assert out.splitlines() == sorted(out.splitlines())
    assert err == ("" if found else "(no matching classes)\n")


@pytest.mark.parametrize(
    "arguments", [[], ["*jump*"], ["--pipelines-only"], ["--steps-only", "*.FlatFieldStep"], ["nix"]], ids=str
)
def test_list_is_that_of_stpipe(upramp, capsys, monkeypatch, arguments):
    pytest.importorskip("stpipe")
    (script,) = metadata.distribution("stpipe").entry_points.select(group="console_scripts", name="stpipe")
    monkeypatch.setattr("sys.argv", ["stpipe", "list", *arguments])
    with pytest.raises(SystemExit, match="0"):
        script.load()()
    theirs = capsys.readouterr()
    assert upramp("list", *arguments) == (0, theirs.out, theirs.err)
    if not arguments:
        assert "upramp.pipelines.Detector1Pipeline (calwebb_detector1)\n" in theirs.out


def test_list_has_kinds_that_exclude_each_other(upramp):
    assert upramp("list", "--steps-only", "--pipelines-only")[0] == 2


def test_describe_a_step(upramp, tiny):
    status, out, err = upramp("describe", "tiny_steps.AddStep")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert (status, err) == (0, "")
    assert lines[0] == "tiny_add: tiny_steps.AddStep" and lines[2] == "Add a number to an image."
    assert "References: gain" in lines
    assert "val float, min=0 4.0 What is added (per pixel), 50% or so" in lines
    assert "n integer, min=0, max=5 1 How often # it is added" in lines
    assert "opt option, 'a', 'b' 'a'" in lines
    assert "override_gain file or model None Override the gain reference file" in lines
    assert not any(line.startswith("pre_hooks") for line in lines)
    assert "pre_hooks list [] Functions, steps or commands to run before this step" in " ".join(
        upramp("describe", "tiny_steps.AddStep", "--all")[1].split()
    )


def test_describe_units(upramp):
    lines = [" ".join(line.split()) for line in upramp("describe", "jump")[1].splitlines()]
    assert "rejection_threshold float, min=0 sigma 4.0 Threshold for a jump" in lines


def test_describe_what_a_run_would_take(upramp, tiny, exposure, workdir):
    (workdir / "p.cfg").write_text("class = tiny_steps.TinyPipeline\n[steps]\n[[one]]\nn = 2\nval = 1\n")
    status, out, _ = upramp("describe", "p.cfg", exposure, "--steps.one.val=2", "--disable-crds-steppars")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert status == 0
    assert "n integer, min=0, max=5 2 (default 1) * file p.cfg How often # it is added" in lines
    assert "val float, min=0 2.0 (default 4.0) * command line What is added (per pixel), 50% or so" in lines
    assert "val float, min=0 4.0 default What is added (per pixel), 50% or so" in lines  # of the second step
    assert "save_results boolean True (default False) * strun Save the result" in lines
    assert "steps.two: tiny_steps.AddStep" in lines


def test_describe_reports_as_strun_does(upramp, tiny):
    status, out, err = upramp("describe", "tiny_steps.AddStep", "--n=9")
    assert status == 1 and "ERROR PARSING CONFIGURATION:\n    Config parameter 'n'" in out and "Traceback" not in err
    assert upramp("describe", "tiny_steps.AddStep", "--nix=9")[0] == 2
    assert upramp("describe")[0] == 2


def test_a_step_of_stpipe_is_described_by_its_own_help(upramp):
    pytest.importorskip("jwst")
    status, out, err = upramp("describe", "jwst.stpipe.Step")
    assert (status, out) == (1, "") and "strun jwst.stpipe.Step --help" in err


def test_plan_of_any_step(upramp, tiny, exposure, workdir):
    status, out, _ = upramp(
        "plan", exposure, "tiny_steps.OuterPipeline", "--steps.pp.steps.one.save_results=true", "--steps.gain.skip=yes",
        "--steps.needs.override_gain=N/A", "--steps.needs.override_readnoise=", "--output_dir=o",
    )  # fmt: skip
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert status == 0, out
    assert lines[lines.index("Steps") + 1 :][:4] == [
        "pp.one run", "pp.two run", "gain skip skip=True (command line)", "needs run reference gain is N/A",
    ]  # fmt: skip
    assert "gain: N/A (override of OuterPipeline.needs)" in lines
    assert "readnoise: none (override of OuterPipeline.needs)" in lines
    assert lines[-2:] == ["o/x_nrca1_outerpipeline.fits", "o/x_nrca1_one.fits"]
    assert [path.name for path in workdir.iterdir()] == [exposure]


@pytest.mark.parametrize(
    ("kind", "pipeline"),
    [
        ("NRC_IMAGE", "calwebb_detector1"),
        ("FGS_IMAGE", "calwebb_detector1"),
        ("FGS_FINEGUIDE", "calwebb_guider"),
        ("FGS_ID-STACK", "calwebb_guider"),
        ("MIR_DARKMRS", "calwebb_dark"),
        ("NRS_DARK", "calwebb_dark"),
    ],
)
def test_pipeline_for_an_exposure(workdir, kind, pipeline):
    model = ImageModel((2, 2))
    model.meta.exposure.type = kind
    model.save("x.fits")
    assert commands.pipeline_for("x.fits") == pipeline


def test_plan_without_an_exposure(upramp):
    status, _, err = upramp("plan", "gone.fits")
    assert status == 1 and "The exposure gone.fits does not exist" in err
    assert upramp("plan")[0] == 2
