"""Plans: all that a run is going to do, settled before any work, to be read, saved, and replayed elsewhere.

A plan holds the resolved parameters with their origins, the steps in their order, the references with their checksums
and the names of the products. A replay takes the parameters as they are written, and the references only if their
checksums are those of the plan; CRDS is not asked.
"""

import json
import logging
import os
from functools import cache
from pathlib import Path

import upramp
from upramp.errors import ConfigError, ReferenceNotFoundError
from upramp.framework import config
from upramp.framework.classes import find_class, full_name
from upramp.framework.configurable import plain
from upramp.framework.fingerprints import file_checksum
from upramp.framework.references import DEFAULT_CACHE, NOT_APPLICABLE, OBSERVATORY, ReferenceFinder, missing_error
from upramp.framework.specs import is_model

__all__ = ["Plan", "sha256"]

log = logging.getLogger(__name__)

MARK = "upramp_plan"
LAYOUT = 1
_TEXT = str | None
_SECTIONS = {
    "class": str, "name": str, "software": dict, "input": dict, "crds": dict | None, "parameters": dict, "steps": list,
    "references": list, "outputs": list,
}  # fmt: skip
_INPUT = {"path": str, "sha256": str}
_CRDS = {"client": str, "context": str}
_REFERENCE = {"type": str, "path": _TEXT, "overridden_by": _TEXT, "sha256": _TEXT, "problem": _TEXT}


@cache
def _digest(path, size, time):
    return file_checksum(path)


def sha256(path):
    """Checksum of a file, in hexadecimal digits; remembered while the file stays as it is."""
    status = Path(path).stat()
    return _digest(str(path), status.st_size, status.st_mtime_ns)


class PlannedReferences(ReferenceFinder):
    """Gives the references of a plan instead of asking CRDS."""

    def __init__(self, paths, context):
        super().__init__()
        self._paths = paths
        self._context = context

    def try_find(self, parameters, reftypes):
        """(paths, {type: reason}) as `ReferenceFinder.try_find` gives them."""
        paths = {reftype: self._paths[reftype] for reftype in reftypes if reftype in self._paths}
        return paths, {reftype: "the plan has none" for reftype in reftypes if reftype not in paths}


class Plan:
    """What a run is going to do.

    Attributes
    ----------
    tree : dict
        Plain values only: class, name, software, input, crds, parameters, steps, references, outputs.
    folder : Path
        Where references are looked for when they are not where they were.
    """

    def __init__(self, tree, folder=None):
        self.tree = tree
        self.folder = Path(folder or "")

    @classmethod
    def of(cls, step, dataset):
        """Settle what a configured step is going to do with an exposure.

        References that cannot be had are part of the plan, each with its ``problem``.

        Parameters
        ----------
        step : Step
        dataset : str or Path
            File of the exposure.

        Raises
        ------
        UprampError
            The exposure is one that the step refuses.
        """
        path = step.make_input_path(dataset).absolute()
        step.set_primary_input(str(dataset))
        needs = step.needed_references(dataset)
        step.check_input(dataset)
        context = step._finder.context
        tree = {
            MARK: LAYOUT,
            "class": full_name(type(step)),
            "name": step.name,
            "software": {"upramp": upramp.__version__},
            "input": {"path": str(path), "size": path.stat().st_size, "sha256": sha256(path)},
            "crds": None if context is None else {"client": context[0], "context": context[1]},
            "parameters": _parameters(step),
            "steps": list(_steps(step, {need.reftype for need in needs if need.reference == NOT_APPLICABLE})),
            "references": [_reference(need) for need in needs],
            "outputs": [str(output) for output in step.planned_outputs()],
        }
        return cls(tree)

    @classmethod
    def read(cls, path):
        """Read a saved plan; None when the file is something else.

        Raises
        ------
        ConfigError
            It is a plan, but damaged, or of a newer version.
        """
        path = Path(path)
        content = path.read_bytes()
        if MARK.encode() not in content:
            return None
        try:
            tree = json.loads(content) if content.lstrip().startswith(b"{") else config.yaml_tree(content.decode())
        except ValueError as error:
            raise ConfigError(f"{path} is a damaged plan: {error}") from error
        if not isinstance(tree, dict) or MARK not in tree:
            return None
        if tree[MARK] != LAYOUT:
            raise ConfigError(f"{path} is a plan of the layout {tree[MARK]!r}; this version of upramp reads {LAYOUT}")
        damage = list(_damage(tree))
        if damage:
            raise ConfigError(f"{path} is a damaged plan, without a proper {', '.join(damage)}")
        return cls(tree, path.absolute().parent)

    def save(self, path):
        """Write the plan as ``.json``, ``.yaml`` (``.yml``) or ``.asdf``."""
        path = Path(path)
        if path.suffix == ".asdf":
            config.save_parameter_file(path, self.tree)
            return
        if path.suffix == ".json":
            text = json.dumps(self.tree, indent=2) + "\n"
        elif path.suffix in (".yaml", ".yml"):
            import yaml

            text = yaml.safe_dump(self.tree, sort_keys=False)
        else:
            raise ConfigError(f"A plan is saved as .json, .yaml or .asdf, not as {str(path)!r}")
        path.write_text(text)

    @property
    def problems(self):
        """``{type: reason}`` of the references that cannot be had."""
        return {one["type"]: one["problem"] for one in self.tree["references"] if one["problem"]}

    def missing_error(self, step):
        """The one error that lists these references."""
        asked = any(one["problem"] and not one["overridden_by"] for one in self.tree["references"])
        return missing_error(self.problems, step.exposure, step._finder if asked else None)

    def text(self):
        """The plan in lines for the eye."""
        return "\n".join(_lines(self.tree))

    @property
    def input_path(self):
        """Path of the exposure that the plan was made for."""
        return self.tree["input"]["path"]

    @property
    def step_class(self):
        """Class of the step that it runs."""
        return find_class(self.tree["class"], self.folder)

    def check_input(self, dataset=None):
        """See that the exposure is that of the plan: an error for the plan's own, a warning for one that is given.

        Parameters
        ----------
        dataset : str or Path, optional
            Default is the path in the plan.
        """
        path = Path(dataset or self.input_path)
        if not path.is_file():
            raise FileNotFoundError(f"The exposure {path} of the plan does not exist; give the file that is to be used")
        if sha256(path) == self.tree["input"]["sha256"]:
            return
        if dataset is None:
            raise ConfigError(
                f"The exposure {path} has changed since the plan was made; name it to use it all the same"
            )
        log.warning("%s is not the exposure that the plan was made for (%s)", path, self.input_path)

    def step(self, pars=None):
        """The step with the parameters and references of the plan.

        Parameters
        ----------
        pars : dict, optional
            Values that replace those of the plan.

        Raises
        ------
        ReferenceNotFoundError
            One error that lists every reference that is missing or has changed.
        """
        if self.problems:
            raise missing_error(self.problems)  # they were missing when the plan was made
        if self.tree["software"].get("upramp") != upramp.__version__:
            log.warning("The plan is of upramp %s, this is %s", self.tree["software"].get("upramp"), upramp.__version__)
        moved = self._located_references()
        layers = [
            config.Layer(config.Rank.CALLER, "command line", pars or {}),
            config.Layer(config.Rank.USER_FILE, "plan", _values(self.tree["parameters"], moved), self.folder),
        ]
        step = self.step_class.from_layers(layers, name=self.tree["name"])
        from_crds = [one for one in self.tree["references"] if not one["overridden_by"]]
        context = self.tree["crds"] and (self.tree["crds"]["client"], self.tree["crds"]["context"])
        step._finder = PlannedReferences({one["type"]: moved[one["path"]] for one in from_crds}, context)
        return step

    def _located_references(self):
        """Paths of the plan, and where these files are here."""
        moved, problems = {NOT_APPLICABLE: NOT_APPLICABLE, "": ""}, []
        for reference in self.tree["references"]:
            path = reference["path"]
            if path in moved:
                continue
            present = [place for place in self._places(reference) if place.is_file()]
            found = next((place for place in present if sha256(place) == reference["sha256"]), None)
            if found:
                moved[path] = str(found)
            elif present:
                changed = f"has changed (sha256 {sha256(present[0])[:12]}, in the plan {reference['sha256'][:12]})"
                problems.append(f"  {reference['type']}: {present[0]} {changed}")
            else:
                problems.append(f"  {reference['type']}: {path} is missing")
        if problems:
            raise ReferenceNotFoundError(
                "References of the plan are missing or have changed:\n" + "\n".join(problems) + "\nThey are looked for "
                f"where they were, in the cache of CRDS (CRDS_PATH), and in the folder of the plan ({self.folder}). "
                "Put the same files there, or make a new plan."
            )
        return moved

    def _places(self, reference):
        path = Path(reference["path"])
        cache_folder = Path(os.environ.get("CRDS_PATH") or DEFAULT_CACHE, "references", OBSERVATORY)
        return [path, cache_folder / path.name, *cache_folder.glob(f"*/{path.name}"), self.folder / path.name]


def _damage(tree):
    """Names of what is absent from a plan, or of another kind than it should be."""
    yield from _wrong(tree, _SECTIONS, "")
    yield from _wrong(tree.get("input"), _INPUT, "input.")
    if tree.get("crds") is not None:
        yield from _wrong(tree["crds"], _CRDS, "crds.")
    references = tree.get("references")
    for number, reference in enumerate(references if isinstance(references, list) else []):
        yield from _wrong(reference, _REFERENCE, f"references[{number}].")
    yield from _wrong_parameters(tree.get("parameters"), "parameters.")


def _wrong(mapping, kinds, prefix):
    if not isinstance(mapping, dict):
        mapping = {}
    return [prefix + key for key, kind in kinds.items() if key not in mapping or not isinstance(mapping[key], kind)]


def _wrong_parameters(parameters, prefix):
    if not isinstance(parameters, dict):
        yield prefix
        return
    for key, entry in parameters.items():
        if key == "steps" and isinstance(entry, dict):
            for name, below in entry.items():
                yield from _wrong_parameters(below, f"{prefix}steps.{name}.")
        elif not (isinstance(entry, dict) and "value" in entry):
            yield prefix + key


def _parameters(step):
    """``{name: {"value": ..., "origin": ...}}``, sub-steps below ``steps``."""
    pars = {key: value for key, value in step.get_pars().items() if key != "steps"}
    overrides = {key: _absolute(value) for key, value in step.get_overrides().items()}
    tree = {key: {"value": plain(value), "origin": step.origin(key)} for key, value in (pars | overrides).items()}
    below = {key: _parameters(sub_step) for key, sub_step in step.sub_steps.items()}
    return tree | ({"steps": below} if below else {})


def _values(parameters, moved):
    values = {}
    for key, entry in parameters.items():
        if key == "steps":
            values[key] = {name: _values(below, moved) for name, below in entry.items()}
        else:
            value = entry["value"]
            values[key] = moved.get(value, value) if key.startswith("override_") else value
    return values


def _steps(step, absent, prefix=""):
    """``{"name", "runs", "why"}`` of every sub-step, those that do nothing for the exposure last."""
    if not step.sub_steps:
        yield {"name": step.name, "runs": True, "why": None}
        return
    chain = step.chain()
    for key in [*chain, *(key for key in step.sub_steps if key not in chain)]:
        below = getattr(step, key)
        why = None
        if key not in chain:
            why = "not for this exposure"
        elif below.skip:
            why = f"skip=True ({below.origin('skip')})"
        if below.sub_steps and why is None:
            yield from _steps(below, absent, f"{prefix}{key}.")
            continue
        lacking = sorted(absent.intersection(below.wanted_reference_types()))
        note = f"reference {', '.join(lacking)} is N/A" if lacking and why is None else why
        yield {"name": f"{prefix}{key}", "runs": why is None, "why": note}


def _reference(need):
    """An entry of the plan."""
    if is_model(need.reference):
        raise ConfigError(f"override_{need.reftype} is a model in memory; a plan needs a file")
    is_file = need.reference not in (None, NOT_APPLICABLE, "") and not need.problem
    return {
        "type": need.reftype,
        "name": need.name,
        "path": need.reference,
        "overridden_by": need.overridden_by,
        "sha256": sha256(need.reference) if is_file else None,
        "problem": need.problem,
    }


def _absolute(value):
    return str(Path(value).absolute()) if isinstance(value, str) and value not in (NOT_APPLICABLE, "") else value


def _lines(tree):
    yield f"{tree['class']} {tree['name']!r} of upramp {tree['software']['upramp']} on {tree['input']['path']}"
    yield from ("", "Steps")
    width = max(len(step["name"]) for step in tree["steps"])
    for step in tree["steps"]:
        remark = f"  {step['why']}" if step["why"] else ""
        yield f"  {step['name']:{width}}  {'run ' if step['runs'] else 'skip'}{remark}".rstrip()
    yield from ("", "Parameters that are not defaults (upramp describe STEP FILE shows all)")
    yield from [f"  {line}" for line in _chosen(tree["parameters"])] or ["  none"]
    context = f", context {tree['crds']['context']}" if tree["crds"] else ""
    yield from ("", f"References{context}")
    for one in tree["references"]:
        origin = f"override of {one['overridden_by']}" if one["overridden_by"] else "CRDS"
        if one["problem"]:
            yield f"  {one['type']}: MISSING: {one['problem']}"
        else:
            digits = f"  sha256 {one['sha256'][:12]}" if one["sha256"] else ""
            yield f"  {one['type']}: {one['path'] or 'none'}  ({origin}){digits}"
    yield from ("", "Output")
    yield from [f"  {path}" for path in tree["outputs"]] or ["  none"]


def _chosen(parameters, prefix=""):
    for key, entry in parameters.items():
        if key == "steps":
            for name, below in entry.items():
                yield from _chosen(below, f"{prefix}steps.{name}.")
        elif entry["origin"] != "default":
            yield f"{prefix}{key} = {entry['value']!r}  ({entry['origin']})"
