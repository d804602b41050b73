"""What an artifact says to whoever reads it, taken out of its bytes by other means than those that put it there."""

from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydicom import dcmread
from pypdf import PdfReader

from triage_agent.domain.vocabulary import Family


def read(artifact):
    """A DICOM artifact's data set."""
    return dcmread(BytesIO(artifact.body))


def words_of(artifact):
    """Everything legible in it, in one line: text of elements at any depth, a PDF's pages, a message's segments."""
    if artifact.kind.family is not Family.DICOM_OBJECT:
        return artifact.body.decode("utf-8", "replace")
    data_set = read(artifact)
    said = [str(element.value) for element in data_set.iterall() if element.VR not in {"OB", "OW", "SQ", "UN"}]
    if "EncapsulatedDocument" in data_set:
        said.append(words_on(pdf_of(data_set)))
    return " ".join(" ".join(said).split())


def pdf_of(data_set):
    """The document that an Encapsulated PDF holds, opened."""
    return PdfReader(BytesIO(data_set.EncapsulatedDocument[: data_set.EncapsulatedDocumentLength]))


def words_on(document):
    """The text of all pages, in one line."""
    return " ".join(" ".join(page.extract_text() for page in document.pages).split())


def stands_on(page, text, font, size):
    """Whether a page (rows x columns, light on dark) has `text` in that font somewhere at its left margin.

    A strip of the page that is exactly the text as drawn alone: whatever is drawn wrong, elsewhere or cut is not found.
    """
    face = ImageFont.truetype(str(font), size, layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = face.getbbox(text)
    alone = Image.new("L", (right + 8, bottom + 8))
    ImageDraw.Draw(alone).text((0, 0), text, fill=255, font=face)
    wanted = np.asarray(alone)[top:bottom, left:right]
    height, width = wanted.shape
    ink = np.flatnonzero(page.max(axis=0))
    if not ink.size:
        return False
    for column in range(max(0, int(ink[0]) - 8), int(ink[0]) + 9):
        strip = page[:, column : column + width]
        if strip.shape[1] == width and any(
            np.array_equal(strip[row : row + height], wanted) for row in range(page.shape[0] - height + 1)
        ):
            return True
    return False
