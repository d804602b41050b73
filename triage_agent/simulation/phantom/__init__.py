"""Simulated radiographs of eight regions, with their truth: Beer-Lambert projections of analytic bones."""

from triage_agent.simulation.phantom.lesions import KINDS
from triage_agent.simulation.phantom.mura import write_mura
from triage_agent.simulation.phantom.study import ANATOMIES, PhantomStudy, PhantomView, simulate_kind, simulate_study

__all__ = ["ANATOMIES", "KINDS", "PhantomStudy", "PhantomView", "simulate_kind", "simulate_study", "write_mura"]
