"""The pipeline from file to files: upramp, the streaming floor, and the peer in a process of its own."""

import pytest

from .floor import remove_files, stream_files
from .ours import product_sizes, remove_products, run_pipeline
from .peer import run_pipeline as run_peer

ROUNDS = 5


@pytest.mark.benchmark(group="file to files")
def test_pipeline(benchmark, case):
    benchmark.pedantic(run_pipeline, args=(case,), setup=lambda: remove_products(case), rounds=ROUNDS, warmup_rounds=1)


@pytest.mark.benchmark(group="file to files, floor")
def test_pipeline_floor(benchmark, case, tmp_path):
    run_pipeline(case)
    written = {tmp_path / path.name: size for path, size in product_sizes(case).items()}
    benchmark.pedantic(
        stream_files, args=([case.raw], written), setup=lambda: remove_files(written), rounds=ROUNDS, warmup_rounds=1
    )


@pytest.mark.benchmark(group="file to files, peer (with the start of its process)")
def test_peer(benchmark, case):
    pytest.importorskip("jwst", reason="the peer is not installed")
    benchmark.pedantic(run_peer, args=(case, 1), rounds=1)
