"""Kernels and the chain of all of them, arrays to arrays, each beside its streaming floor."""

import pytest

from .floor import stream_arrays
from .ours import KERNELS, ChainCall, kernel_calls

ROUNDS = 5


@pytest.fixture(params=KERNELS)
def call(request, case):
    """One kernel on the arrays that it meets in the chain."""
    return next(call for call in kernel_calls(case) if call.name == request.param)


@pytest.mark.benchmark(group="kernel")
def test_kernel(benchmark, call):
    benchmark.pedantic(call.run, setup=call.restore, rounds=ROUNDS, warmup_rounds=1)


@pytest.mark.benchmark(group="kernel, floor")
def test_kernel_floor(benchmark, call):
    benchmark.pedantic(stream_arrays, args=(call.reads, call.writes), rounds=ROUNDS, warmup_rounds=1)


@pytest.mark.benchmark(group="chain")
def test_chain(benchmark, case):
    benchmark.pedantic(ChainCall(case), rounds=ROUNDS, warmup_rounds=1)


@pytest.mark.benchmark(group="chain, floor")
def test_chain_floor(benchmark, case):
    call = ChainCall(case)
    benchmark.pedantic(stream_arrays, args=([call.exposure.raw], call.written), rounds=ROUNDS, warmup_rounds=1)
