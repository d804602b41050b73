"""Simulated radiographs of eight regions, with their truth: Beer-Lambert projections of analytic bones."""

from triage_agent.simulation.phantom.dicom import study_datasets
from triage_agent.simulation.phantom.files import FolderNotEmptyError, TruthRow, write_studies
from triage_agent.simulation.phantom.lesions import KINDS
from triage_agent.simulation.phantom.mura import write_mura
from triage_agent.simulation.phantom.study import ANATOMIES, PhantomStudy, PhantomView, simulate_kind, simulate_study

__all__ = [
    "ANATOMIES",
    "KINDS",
    "FolderNotEmptyError",
    "PhantomStudy",
    "PhantomView",
    "TruthRow",
    "simulate_kind",
    "simulate_study",
    "study_datasets",
    "write_mura",
    "write_studies",
]
