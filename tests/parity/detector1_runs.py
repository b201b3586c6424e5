"""Run the pipeline or its steps, of the peer or ours, in a process of its own: ``python detector1_runs.py JOBS.json``.

A job is a mapping: ``package`` ("jwst" or "upramp"), ``kind`` ("pipeline" or "steps"), ``input``, ``out`` (a folder)
and ``pars``, for a pipeline also its ``class``; for steps ``pars`` holds one mapping per step, and the steps run are
those named there, in that order; ``{out}`` in a value is the folder.
A pipeline saves its products; steps leave one ``<number>_<step>.npz`` each.
"""

import importlib
import json
import sys
import traceback
from pathlib import Path

import numpy as np

STEP_CLASSES = {
    "group_scale": "GroupScaleStep",
    "dq_init": "DQInitStep",
    "emicorr": "EmiCorrStep",
    "saturation": "SaturationStep",
    "ipc": "IPCStep",
    "superbias": "SuperBiasStep",
    "refpix": "RefPixStep",
    "linearity": "LinearityStep",
    "dark_current": "DarkCurrentStep",
    "charge_migration": "ChargeMigrationStep",
    "jump": "JumpStep",
    "persistence": "PersistenceStep",
    "ramp_fit": "RampFitStep",
    "gain_scale": "GainScaleStep",
}
PACKAGES = {
    "jwst": ("jwst.pipeline", "jwst.step", "stdatamodels.jwst.datamodels"),
    "upramp": ("upramp.pipelines", "upramp.steps", "upramp.models"),
}
ARRAYS = ("data", "err", "dq", "pixeldq", "groupdq", "zeroframe", "var_poisson", "var_rnoise", "average_dark_current")


def run_pipeline(package, job):
    """Save the products of a pipeline in the job's folder."""
    pipelines, _, models = map(importlib.import_module, PACKAGES[package])
    data = job["input"]
    if job.get("as_ramp"):
        data = models.RampModel(data)
    if job.get("as_guider"):
        data = models.GuiderRawModel(data)
    pars = {"save_results": True, "output_dir": job["out"]} | job["pars"]
    getattr(pipelines, job.get("class", "Detector1Pipeline")).call(data, **pars)


def run_steps(package, job):
    """Run steps one after the other in memory and save the arrays after each."""
    _, steps, models = map(importlib.import_module, PACKAGES[package])
    results = (models.RampModel(job["input"]),)
    for number, (key, pars) in enumerate(job["pars"].items()):
        step_class = getattr(steps, STEP_CLASSES[key])
        pars = {name: v.format(out=job["out"]) if isinstance(v, str) else v for name, v in pars.items()}
        # Not `call`, which would look for parameters of every step in CRDS.
        results = [step_class(**pars).run(one) for one in results]
        results = results[0] if isinstance(results[0], tuple) else results
        arrays = {}
        for index, model in enumerate(results):
            present = {name: getattr(model, name, None) for name in ARRAYS}
            status = getattr(model.meta.cal_step, "dark_sub" if key == "dark_current" else key, None)
            present["status"] = str(status)
            arrays |= {f"{name}{index or ''}": np.asarray(v) for name, v in present.items() if v is not None}
        np.savez(Path(job["out"], f"{number:02d}_{key}.npz"), **arrays)


def main(path):
    """Run all jobs; the traceback of one that fails is left in its folder as ``error.txt``."""
    for job in json.loads(Path(path).read_text()):
        Path(job["out"]).mkdir(parents=True, exist_ok=True)
        try:
            {"pipeline": run_pipeline, "steps": run_steps}[job["kind"]](job["package"], job)
        except Exception:
            Path(job["out"], "error.txt").write_text(traceback.format_exc())


if __name__ == "__main__":
    main(sys.argv[1])
