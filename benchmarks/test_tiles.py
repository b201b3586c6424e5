"""The chain at several sizes of its tiles: what `upramp.kernels.chain.TILE_BYTES` was chosen by."""

import pytest

from .ours import ChainCall


@pytest.mark.parametrize("tile_bytes", [100_000, 200_000, 400_000, 800_000, 1_600_000])
@pytest.mark.parametrize("block", [16, 32, 64])
@pytest.mark.benchmark(group="tiles")
def test_tile_size(benchmark, cases, tile_bytes, block):
    call = ChainCall(cases["nircam_full_2x10"], tile_bytes=tile_bytes, block=block)
    benchmark.pedantic(call, rounds=5, warmup_rounds=1)
