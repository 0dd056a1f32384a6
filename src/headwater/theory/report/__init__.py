"""Figures of simulated networks: all that their table holds, with a sentence each. No torch."""

from headwater.theory.report.figures import save_theory, theory_figures

__all__ = ["save_theory", "theory_figures"]
