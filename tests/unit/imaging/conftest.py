import io

import gdcm
import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from triage_agent.imaging.part10 import read_part10

DX = "1.2.840.10008.5.1.4.1.1.1.1"


def _shapes(pixels):
    colour = pixels.shape[-1] == 3 and pixels.ndim > 2
    frames = pixels.shape[0] if pixels.ndim - colour == 3 else 1
    rows, columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    return rows, columns, frames, 3 if colour else 1


@pytest.fixture
def radiograph():
    """A DX for presentation around an array; keyword arguments set or (None) remove attributes."""

    def build(pixels, *, syntax=ExplicitVRLittleEndian, **attributes):
        rows, columns, frames, samples = _shapes(pixels)
        bits = 8 * pixels.dtype.itemsize
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.SOPClassUID, dataset.SOPInstanceUID = DX, "1.2.3.4"
        dataset.Modality, dataset.BodyPartExamined = "DX", "KNEE"
        dataset.PhotometricInterpretation = "MONOCHROME2" if samples == 1 else "RGB"
        dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, samples
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        if frames > 1:
            dataset.NumberOfFrames = frames
        if samples > 1:
            dataset.PlanarConfiguration = 0
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
        if "BitsStored" in attributes:
            attributes.setdefault("HighBit", attributes["BitsStored"] - 1)
        for keyword, value in attributes.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        return dataset

    return build


@pytest.fixture
def save(tmp_path):
    """Write a data set as a Part 10 file."""

    def write(dataset, name="image.dcm"):
        path = tmp_path / name
        dataset.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture
def lookup_item():
    """An item of a Modality or VOI LUT Sequence."""

    def build(descriptor, data, vr="OW"):
        item = Dataset()
        item.add_new("LUTDescriptor", "SS" if min(descriptor) < 0 else "US", list(descriptor))
        item.add_new("LUTData", vr, data)
        return Sequence([item])

    return build


@pytest.fixture
def limb():
    """A bone-like uint16 image of 12 bits, smooth enough to be an image and rough enough to be real."""

    def draw(rows=160, columns=128, *, bits=12, seed=0):
        y, x = np.mgrid[:rows, :columns] / max(rows, columns)
        bone = np.exp(-(((x - 0.4) / 0.12) ** 2)) * (0.7 + 0.3 * np.sin(9 * y))
        noise = np.random.default_rng(seed).normal(0, 0.01, bone.shape)
        shades = np.clip(0.15 + 0.7 * bone + noise, 0, 1)
        return (shades * ((1 << bits) - 1)).astype(np.uint8 if bits <= 8 else np.uint16)

    return draw


GDCM_SYNTAXES = {
    uid.JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    uid.JPEGLossless: gdcm.TransferSyntax.JPEGLosslessProcess14,
    uid.JPEGExtended12Bit: gdcm.TransferSyntax.JPEGExtendedProcess2_4,
}


@pytest.fixture
def compressed_by_gdcm(save):
    """A data set in another coding, as GDCM writes it."""

    def convert(dataset, syntax):
        path = save(dataset)
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(GDCM_SYNTAXES[syntax]))
        change.SetForce(True)  # noqa: FBT003 - SWIG has no names
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(path))
        assert writer.Write()
        return read_part10(path)

    return convert


@pytest.fixture
def baseline(radiograph, limb):
    """A JPEG baseline image as Pillow writes it, and what it shows."""

    def build(quality=95):
        pixels = limb(bits=8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
        dataset = radiograph(pixels, syntax=uid.JPEGBaseline8Bit, PixelData=encapsulate([stream.getvalue()]))
        dataset["PixelData"].is_undefined_length = True
        return dataset, pixels

    return build


@pytest.fixture
def refit():
    """Encapsulate the first frame anew after `change`."""

    def change_frame(dataset, change):
        frame = bytes(change(get_frame(dataset.PixelData, 0, number_of_frames=1)))
        dataset.PixelData = encapsulate([frame])
        return dataset

    return change_frame
