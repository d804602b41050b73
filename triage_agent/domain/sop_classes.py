"""The kinds of objects that the model may be asked about (PS3.4 table B.5-1); all others are kept and never scored."""

CR = "1.2.840.10008.5.1.4.1.1.1"
DX_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"
XRF = "1.2.840.10008.5.1.4.1.1.12.2"

RADIOGRAPHS = frozenset({CR, DX_FOR_PRESENTATION, XRF})
"""What can be a radiograph to score, going by its SOP Class UID alone."""
