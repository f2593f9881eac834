"""Learned priors of cardiac motion within a short-axis plane (`docs/motion.md`, "Priors").

After the abstract of Bell et al. 2026, "Learning Cardiac Motion Priors for Implicit Neural
Representations" (arXiv 2607.00955); nothing but the abstract was known, this is not their code.
"""
