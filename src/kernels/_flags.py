"""Data-quality bits that the kernels set or test (the JWST definitions); models/dqflags has the whole list."""

DO_NOT_USE = 1 << 0
SATURATED = 1 << 1
JUMP_DET = 1 << 2
PERSISTENCE = 1 << 5
AD_FLOOR = 1 << 6
CHARGELOSS = 1 << 7
NON_SCIENCE = 1 << 9
BAD_REF_PIXEL = 1 << 17
NO_FLAT_FIELD = 1 << 18
NO_GAIN_VALUE = 1 << 19
NO_LIN_CORR = 1 << 20
NO_SAT_CHECK = 1 << 21
FLUX_ESTIMATED = 1 << 28
REFERENCE_PIXEL = 1 << 31
