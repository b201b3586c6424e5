"""The figures of a report: each section yields rows, which are printed, stored and shown in the README."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from benchmarks import floor, measure, ours, peer, shapes

FULL, SMALL, SERIES = "nircam_full_2x10", "nircam_sub160_4x7", "nircam_tso_120x5"
EIGHT, STRIPE = "nircam_full_8x10", "nircam_tso_4x5"
SNOWBALLS = "nircam_snowballs_2x10", "nircam_snowballs_8x10"
EMI, BRIGHT = ("miri_emi_full_2x20", "miri_emi_mask1065_4x20"), "nircam_sub640_2x10_hit1%"
NOISE = "nirspec_allslits_2x10", "nirspec_full_1x4"
MIRI, IRS2, IRS2_LONG = "miri_full_3x20", "nirspec_irs2_full_1x10", "nirspec_irs2_full_3x10"
DATA_LIMIT = 1_500_000  # kB of private memory for the exposure that is larger


@dataclass(frozen=True)
class Row:
    """One figure: medians of wall times [s] and peaks of resident memory [bytes]; None: not measured."""

    measure: str
    mode: str
    seconds: float
    peer: float | None = None
    floor: float | None = None
    peak: int | None = None
    peak_anonymous: int | None = None
    peer_peak: int | None = None
    note: str = ""

    @property
    def peer_ratio(self):
        """How many times faster than the peer."""
        return None if self.peer is None else self.peer / self.seconds

    @property
    def floor_ratio(self):
        """How many times the streaming floor."""
        return None if self.floor is None else self.seconds / self.floor

    @classmethod
    def of(cls, stored):
        """A row from a report."""
        return cls(**{item.name: stored[item.name] for item in fields(cls)})


class Peers:
    """Figures of the peer, measured when they are asked for and stored in the cache folder with date and machine.

    ``use``: "run" measures; "stored" takes what an earlier run has stored, and measures what it has not; "none".
    """

    def __init__(self, use, repeats, folder):
        self.use, self.repeats, self.path = use, repeats, Path(folder) / "peer.json"
        self.fresh = set()

    def functions_and_pipeline(self, case):
        """As `peer.run_pipeline`; None without the peer."""
        return self._get(f"pipeline {case.name}", lambda: peer.run_pipeline(case, self.repeats))

    def casertano(self, case, arrays):
        """As `peer.run_casertano` on arrays made from a case; None without the peer."""
        return self._get(f"casertano {case.name}", lambda: peer.run_casertano(arrays, self.repeats))

    def strun(self, case):
        """``seconds`` of every run and ``peak`` [bytes]; None without the peer."""

        def run():
            with tempfile.TemporaryDirectory() as folder:
                runs = []
                for number in range(self.repeats):
                    command = peer.strun_command(case, Path(folder, str(number)))
                    runs.append(measure.run_process(command, case.environment))
            return {"seconds": [one.seconds for one in runs], "peak": max(one.peak for one in runs)}

        return self._get(f"strun {case.name}", run)

    def _get(self, key, run):
        if self.use == "none":
            return None
        stored = json.loads(self.path.read_text()) if self.path.exists() else {}
        if key not in stored or (self.use == "run" and key not in self.fresh):
            now = datetime.now(UTC).isoformat(timespec="seconds")
            stored[key] = {"date": now, "machine": measure.machine(), "figures": run()}
            self.path.write_text(json.dumps(stored, indent=1))
            self.fresh.add(key)
        return stored[key]["figures"]


class Session:
    """What the sections share: the exposures, the peer's figures and the number of repeats."""

    def __init__(self, modes, cache, repeats, use_peer, peer_repeats):
        self.cases = shapes.prepare(modes, cache)
        self.repeats = repeats
        self.peers = Peers(use_peer, peer_repeats, cache)

    def case(self, mode, variant=""):
        """A case; with the parameters of a variant, if one is named."""
        return self.cases[mode].as_variant(variant) if variant else self.cases[mode]

    def median(self, function, setup=None):
        """Median time of a function that has run once before."""
        return median(measure.times(function, self.repeats, setup))

    def file_floor(self, case):
        """Median time to read the raw file and write files as large as the products."""
        with tempfile.TemporaryDirectory(dir=case.products) as folder:
            written = {Path(folder) / path.name: size for path, size in ours.product_sizes(case).items()}
            floor.stream_files([case.raw], written)
            return self.median(lambda: floor.stream_files([case.raw], written), lambda: floor.remove_files(written))

    def timed_pipeline(self, case):
        """Median time of the pipeline, file to files."""
        ours.run_pipeline(case)
        return self.median(lambda: ours.run_pipeline(case), lambda: ours.remove_products(case))

    def timed_chain(self, mode, **options):
        """(median time, call) of the chain on arrays."""
        call = ours.ChainCall(self.cases[mode], **options)
        call()
        return self.median(call), call


def _call_row(session, measured, mode, call, theirs, lowest=None, note=""):
    """The row of a `ours.KernelCall`, with ``seconds`` and ``peak`` of the peer's function, and a floor of its own."""
    call.run()
    call.restore()
    _, peak = measure.peak_growth(call.run)
    seconds = session.median(call.run, call.restore)
    return Row(
        measured,
        mode,
        seconds,
        peer=theirs and median(theirs["seconds"]),
        floor=session.median(lowest or (lambda: floor.stream_arrays(call.reads, call.writes))),
        peak=peak,
        peer_peak=theirs and theirs["peak"],
        note=note,
    )


def kernels(session, mode):
    """Every kernel against the peer's function on the same arrays."""
    case = session.cases[mode]
    theirs = session.peers.functions_and_pipeline(case)
    for call in ours.kernel_calls(case):
        yield _call_row(session, f"kernel {call.name}", mode, call, theirs and theirs["kernels"].get(call.name))


def chain(session, mode):
    """All kernels in one pass, arrays to arrays, against the sum of the peer's functions."""
    case = session.cases[mode]
    seconds, call = session.timed_chain(mode)
    _, peak = measure.peak_growth(call)
    lowest = session.median(lambda: floor.stream_arrays([call.exposure.raw], call.written))
    theirs = session.peers.functions_and_pipeline(case)
    total = theirs and sum(median(found["seconds"]) for found in theirs["kernels"].values())
    yield Row("chain, arrays to arrays", mode, seconds, peer=total, floor=lowest, peak=peak)


def _label(measured, variant):
    return f"{measured}, {variant}" if variant else measured


def pipeline(session, mode, variant=""):
    """File to files in one process."""
    case = session.case(mode, variant)
    seconds = session.timed_pipeline(case)
    _, peak = measure.peak_growth(lambda: ours.run_pipeline(case))
    theirs = session.peers.functions_and_pipeline(case)
    lowest = session.file_floor(case)
    yield Row(_label("file to files", variant), mode, seconds, theirs and median(theirs["pipeline"]), lowest, peak)


def strun(session, mode, variant="", with_peer=True):
    """The command line as a whole process."""
    case = session.case(mode, variant)
    measure.run_process(ours.strun_command(case), case.environment)
    runs = []
    for _ in range(session.repeats):
        ours.remove_products(case)
        runs.append(measure.run_process(ours.strun_command(case), case.environment))
    theirs = session.peers.strun(case) if with_peer else None
    yield Row(
        _label("strun", variant),
        mode,
        median(one.seconds for one in runs),
        peer=theirs and median(theirs["seconds"]),
        floor=session.file_floor(case),
        peak=max(one.peak for one in runs),
        peak_anonymous=max(one.peak_anonymous for one in runs),
        peer_peak=theirs and theirs["peak"],
    )


def large_events(session, snowballs=SNOWBALLS, showers=MIRI):
    """Snowballs, in the search for jumps and file to files with two numbers of integrations; showers."""
    for mode, variant in ((snowballs[0], "snowballs"), (showers, "showers")):
        case = session.case(mode, variant)
        theirs = session.peers.functions_and_pipeline(case)
        call = ours.stepwise_call(case, "jump")
        note = f"{call.run().n_events} found"
        call.restore()
        found = theirs and theirs["kernels"]["jump"]
        yield _call_row(session, f"kernel jump, {variant}", mode, call, found, note=note)
    yield from pipeline(session, snowballs[0], "snowballs")
    first = None
    for mode in snowballs:
        for row in strun(session, mode, "snowballs", with_peer=False):
            first = first or row
            yield replace(row, note="" if row is first else f"{row.peak / first.peak:.2f} x the peak of {first.mode}")


def fits(session, mode=FULL):
    """The other fits, on the ramps before the search for jumps: both look for jumps themselves."""
    case = session.case(mode, "likelihood")
    theirs = session.peers.functions_and_pipeline(case)
    call = ours.stepwise_call(case, "fit")
    yield _call_row(session, "likelihood fit", mode, call, theirs and theirs["kernels"]["ramp_fit"])
    del call  # half a gigabyte
    arrays = ours.resultants(case)
    theirs = session.peers.casertano(case, arrays)
    for what, detect_jumps in (("without jumps", False), ("with jumps", True)):
        call = ours.casertano_call(arrays, detect_jumps)
        yield _call_row(session, f"Casertano fit, {what}", mode, call, theirs and theirs[what])


def optional_steps(session, emi=EMI, bright=BRIGHT, noise=NOISE):
    """Steps that are off by default, on the arrays that they meet in the chain."""
    wanted = [(mode, "emicorr") for mode in emi] + [(emi[-1], "emicorr, sequential")]
    for mode, variant in wanted:
        case = session.case(mode, variant)
        theirs = session.peers.functions_and_pipeline(case)
        call = ours.emicorr_call(case)
        yield _call_row(session, f"step {variant}", mode, call, theirs and theirs["kernels"]["emicorr"])
    for variant, name in (("charge migration", "charge_migration"), ("persistence", "persistence")):
        case = session.case(bright, variant)
        theirs = session.peers.functions_and_pipeline(case)
        call = ours.stepwise_call(case, name)
        yield _call_row(session, f"step {name}", bright, call, theirs and theirs["kernels"][name])
    yield from noise_of_frames(session, bright, *noise)


def noise_of_frames(session, bright, slits, full=None):
    """1/f noise by medians and by frequencies; with a full frame thermal pattern and side pixels by convolution."""
    cleaning, whole = "clean_flicker_noise", "noise of full frames"
    wanted = (
        (f"{cleaning}, median", bright, "medians of lines", cleaning),
        (f"{cleaning}, fft", slits, "frequencies", cleaning),
        (f"{cleaning}, fft", full, whole, cleaning),
        ("picture_frame", full, whole, "picture_frame"),
        ("refpix, sirs", full, whole, "refpix"),
    )
    for label, mode, variant, key in wanted:
        if mode is None:
            continue
        case = session.case(mode, variant)
        theirs = session.peers.functions_and_pipeline(case)
        call = ours.noise_call(case, key)
        yield _call_row(session, f"step {label}", mode, call, theirs and theirs["kernels"][key])


def interleaved_reference(session, mode):
    """Reference pixels of an IRS2 readout; the floor is the time of the transforms."""
    case = session.cases[mode]
    theirs = session.peers.functions_and_pipeline(case)
    call = ours.stepwise_call(case, "refpix")
    count = case.mode.nints * case.mode.ngroups
    note = "floor: the transforms of docs/kernels.md with numpy, 1 thread"
    found = theirs and theirs["kernels"]["refpix, IRS2"]
    yield _call_row(session, "kernel refpix, IRS2", mode, call, found, lambda: ours.transform_groups(count), note)


def instruments(session, modes=(MIRI, IRS2), longer=(IRS2_LONG,)):
    """Default chains of other instruments: file to files, and the peak of a whole process; of ``longer`` ones that."""
    for mode in modes:
        yield from pipeline(session, mode)
        theirs = session.peers.functions_and_pipeline(session.cases[mode])
        for row in strun(session, mode, with_peer=False):
            yield replace(row, peer_peak=theirs and theirs["peak"])
        if session.cases[mode].mode.config.is_irs2:
            yield from interleaved_reference(session, mode)
    for mode in longer:
        yield from strun(session, mode, with_peer=False)


def _per_sample(session, mode, seconds):
    return f"{1e9 * seconds / session.cases[mode].mode.samples:.2f} ns per sample"


def integrations(session):
    """Time against the number of integrations, file to files; the floor shows the part of the disk."""
    for count in shapes.INTEGRATION_COUNTS:
        mode = f"nircam_full_{count}x10"
        case = session.cases[mode]
        seconds = session.timed_pipeline(case)
        lowest = session.file_floor(case)
        note = " / ".join(_per_sample(session, mode, one) for one in (seconds, lowest))
        yield Row("file to files", mode, seconds, floor=lowest, note=note)


def cosmic_rays(session):
    """Time against the part of the ramps that are hit, arrays to arrays."""
    first = None
    for mode in shapes.MODES.values():
        if mode.ramps_hit is None:
            continue
        seconds, _ = session.timed_chain(mode.name)
        first = first or seconds
        yield Row("chain, arrays to arrays", mode.name, seconds, note=f"{seconds / first:.2f} x the time without hits")


def threads(session, mode=FULL):
    """One thread and two: the chain, with a comparison of every bit, and file to files."""
    case = session.cases[mode]
    one, first = session.timed_chain(mode, threads=1)
    two, second = session.timed_chain(mode, threads=2)
    pairs = zip(first.written, second.written, strict=True)
    same = all(np.array_equal(a.view(np.uint32), b.view(np.uint32)) for a, b in pairs)
    bits = "the same bits" if same else "DIFFERENT BITS"
    yield Row("chain, 1 thread", mode, one)
    yield Row("chain, 2 threads", mode, two, note=f"{one / two:.2f} x faster than with 1, {bits}")
    seconds = {}
    for count in ("1", "2"):
        with ours.environment(UPRAMP_THREADS=count):
            seconds[count] = session.timed_pipeline(case)
    yield Row("file to files, 1 thread", mode, seconds["1"])
    note = f"{seconds['1'] / seconds['2']:.2f} x faster than with 1"
    yield Row("file to files, 2 threads", mode, seconds["2"], note=note)


def first_run(session, mode=FULL):
    """``strun`` with an empty kernel cache."""
    case = session.cases[mode]
    with tempfile.TemporaryDirectory() as folder:
        run = measure.run_process(ours.strun_command(case), case.environment | {"UPRAMP_CACHE_DIR": folder})
    yield Row("strun, first run ever", mode, run.seconds, peak=run.peak, peak_anonymous=run.peak_anonymous)


def large(session, mode=shapes.LARGE):
    """An exposure larger than the private memory allowed; its products are removed. The floor shows the disk's part."""
    case = session.cases[mode]
    run = measure.run_process(ours.strun_command(case), case.environment, data_limit=DATA_LIMIT)
    lowest = session.file_floor(case)
    ours.remove_products(case)
    note = f"{case.raw.stat().st_size / 1e9:.1f} GB of raw data under ulimit -d {DATA_LIMIT}; "
    note += " / ".join(_per_sample(session, mode, one) for one in (run.seconds, lowest))
    yield Row("strun", mode, run.seconds, floor=lowest, peak=run.peak, peak_anonymous=run.peak_anonymous, note=note)


class Section(NamedTuple):
    """A part of the report: title, names of the modes it needs, and the function of a session that yields its rows."""

    title: str
    modes: tuple
    rows: Callable


def _each(function, modes, **options):
    return lambda session: (row for mode in modes for row in function(session, mode, **options))


def _eight_integrations(session):
    yield from strun(session, EIGHT, with_peer=False)


_SHOWN = (FULL, SMALL, SERIES)
_COUNTS = tuple(f"nircam_full_{count}x10" for count in shapes.INTEGRATION_COUNTS)
_HITS = tuple(mode.name for mode in shapes.MODES.values() if mode.ramps_hit is not None)

SECTIONS = {
    "pipeline": Section("File to files in one process", _SHOWN, _each(pipeline, _SHOWN)),
    "strun": Section("The command line as a whole process", (FULL,), _each(strun, (FULL,))),
    "chain": Section("All kernels in one pass, arrays to arrays", _SHOWN, _each(chain, _SHOWN)),
    "kernels": Section("Each kernel on the arrays that it meets in the chain", (FULL,), _each(kernels, (FULL,))),
    "eight": Section("Memory with eight integrations", (EIGHT,), _eight_integrations),
    "integrations": Section("Time against integrations", _COUNTS, integrations),
    "cosmic-rays": Section("Time against cosmic rays (part of the ramps hit)", _HITS, cosmic_rays),
    "large-events": Section("Snowballs and showers", (*SNOWBALLS, MIRI), large_events),
    "fits": Section("Other fits than least squares, arrays to arrays", (FULL,), fits),
    "optional": Section("Steps that are off by default", (*EMI, BRIGHT, *NOISE), optional_steps),
    "instruments": Section("MIRI and NIRSpec IRS2", (MIRI, IRS2, IRS2_LONG), instruments),
    "threads": Section("One thread and two", (FULL,), threads),
    "first-run": Section("First run, empty kernel cache", (FULL,), first_run),
    "large": Section("Larger than the memory allowed", (shapes.LARGE,), large),
}

QUICK_SECTIONS = {
    "pipeline": Section("File to files in one process", (SMALL,), _each(pipeline, (SMALL,))),
    "chain": Section("All kernels in one pass, arrays to arrays", (SMALL,), _each(chain, (SMALL,))),
    "kernels": Section("Each kernel on the arrays that it meets in the chain", (STRIPE,), _each(kernels, (STRIPE,))),
}


def measure_sections(sections, session, show):
    """Measure sections one after another.

    Parameters
    ----------
    sections : dict of str to Section
    session : Session
    show : callable
        Called with each title and each row as they come.

    Returns
    -------
    dict
        The report: ``date``, ``machine``, ``versions``, ``repeats``, and ``sections``, each with title and rows.
    """
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": measure.machine(),
        "versions": {name: version(name) for name in ("upramp", "numba", "numpy")},
        "repeats": session.repeats,
        "sections": {},
    }
    if session.peers.use != "none":
        report["versions"] |= {name: version(name) for name in ("jwst", "stcal")}
    for name, section in sections.items():
        show(section.title)
        rows = []
        for row in section.rows(session):
            show(row)
            rows.append(asdict(row) | {"peer_ratio": row.peer_ratio, "floor_ratio": row.floor_ratio})
        report["sections"][name] = {"title": section.title, "rows": rows}
    return report


def merged(report, earlier, order):
    """A report with the sections of an earlier one that were not measured again; these have a ``date`` of their own.

    Parameters
    ----------
    report, earlier : dict
        As `measure_sections` gives them.
    order : iterable of str
        Names of all sections as they are to follow each other.

    Returns
    -------
    dict
    """
    kept = {name: {"date": earlier["date"]} | section for name, section in earlier["sections"].items()}
    sections = kept | report["sections"]
    names = [*(name for name in order if name in sections), *(name for name in sections if name not in order)]
    return {**report, "versions": earlier["versions"] | report["versions"], "sections": {n: sections[n] for n in names}}
