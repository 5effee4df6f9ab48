"""Figures of sweeps, runs, spectra and partitions.

Every function returns a matplotlib Figure that belongs to no window. `python -m blockwise.figures`
draws what a folder holds.
"""
