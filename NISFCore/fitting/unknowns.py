"""The order of a fit's unknowns: u, then those of the whole study, w_n, t_n, the receive gain and
the tissues' offsets, then (w_j, t_j, log s_j) slice after slice."""

from NISFCore.labels import N_LABELS
from NISFCore.model.receive_gain import N_GAIN

POSE = 6  # of the global pose: w_n, t_n
GAIN = POSE + N_GAIN
GLOBAL = GAIN + N_LABELS
PER_SLICE = 7  # unknowns of a slice: w_j, t_j, log s_j
