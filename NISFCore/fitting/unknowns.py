"""The order of a fit's unknowns: u, then those of the whole study, w_n, t_n and the receive gain,
then (w_j, t_j, log s_j) slice after slice."""

from NISFCore.model.receive_gain import N_GAIN

POSE = 6  # of the global pose: w_n, t_n
GLOBAL = POSE + N_GAIN
PER_SLICE = 7  # unknowns of a slice: w_j, t_j, log s_j
