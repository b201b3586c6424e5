"""Data-quality bits that the kernels set or test (the JWST definitions); models/dqflags has the whole list."""

DO_NOT_USE = 1 << 0
SATURATED = 1 << 1
AD_FLOOR = 1 << 6
NO_LIN_CORR = 1 << 20
NO_SAT_CHECK = 1 << 21
REFERENCE_PIXEL = 1 << 31
