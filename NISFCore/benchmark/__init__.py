"""The paper's evaluation, and more than it, on simulated hearts whose truth is known.

`run.run_benchmark` measures; every module before it is one experiment on one simulated subject and
returns plain numbers, which `figures`, `tables` and `pictures` turn into what people read.
"""
