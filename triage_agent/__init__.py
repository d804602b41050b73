"""A PACS-integrated DICOM triage agent for musculoskeletal radiographs."""

__version__ = "0.1.0"
