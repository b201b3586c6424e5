"""Benchmarks: upramp, the peer (jwst) and the streaming floor, measured in the same run.

``python -m benchmarks`` writes a report and the table in the README; ``python -m benchmarks --quick`` is the small
version for CI; ``pytest benchmarks`` runs single figures under pytest-benchmark.
"""
