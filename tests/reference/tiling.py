"""Regions as a driver of the tile operations could choose them: uneven, and covering the frame once."""

from itertools import pairwise


def regions(ny, nx, rows=3, columns=5):
    """(first, last, left, right) of tiles with at most ``rows`` x ``columns`` pixels."""
    row_edges = [*range(0, ny, rows), ny]
    column_edges = [*range(0, nx, columns), nx]
    return [(*r, *c) for r in pairwise(row_edges) for c in pairwise(column_edges)]


def run_in_tiles(tile, *arguments):
    """Run a tile operation over all regions of the frame of its first argument, last region first."""
    return [tile(*arguments, *region) for region in reversed(regions(*arguments[0].shape[-2:]))]
