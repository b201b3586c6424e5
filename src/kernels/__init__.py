"""Compiled corrections on plain arrays; usable without the rest of the package."""
