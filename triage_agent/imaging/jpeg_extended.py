"""JPEG extended with 12-bit samples, through GDCM.

pydicom's own GDCM plug-in declines it, as the GDCM of its time could not; since 3.0 GDCM gives what dcmtk gives, bit
for bit. Its libjpeg still prints a remark to standard error first, because it tries 8 bits before 12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gdcm
import numpy as np

from triage_agent.domain.errors import UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SYNTAX = "1.2.840.10008.1.2.4.51"
_PRECISION = 12


def decode_12_bit(frame: bytes, rows: int, columns: int) -> NDArray[np.uint16]:
    """Decode one monochrome frame (ITU-T T.81, process 4).

    Args:
        frame: the codestream, complete, of that many rows and columns.
        rows: height.
        columns: width.

    Returns:
        uint16 [rows, columns], 0 to 4095.

    Raises:
        UnreadableImageError: the codestream is damaged.
    """
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    monochrome = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(monochrome))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(_SYNTAX)))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, _PRECISION, _PRECISION - 1, 0))
    buffer: Any = image.GetBuffer()  # bytes in a str, the way SWIG hands out a char *
    if buffer is None:
        raise UnreadableImageError("the JPEG extended (12 bit) pixel data is damaged")
    return np.frombuffer(buffer.encode("utf-8", "surrogateescape"), "<u2").reshape(rows, columns).astype(np.uint16)
