"""Outlines and pictures of maps, read back from the objects that hold them."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import ImageFont
from support.evidence import drawn_in, map_of, spot
from support.saying import read, stands_on, words_of

from triage_agent.domain.evidence import EVIDENCE_NOTICE
from triage_agent.results.contours import outlines
from triage_agent.results.evidence_picture import build_evidence_picture, has_maps
from triage_agent.results.evidence_state import build_evidence_state, can_outline
from triage_agent.results.page import BOLD, wrapped

FIRST, SECOND = "1.2.3.4.1.1", "1.2.3.4.1.2"


@pytest.fixture(scope="module")
def images(header):
    def images(**values):
        shown = {"Rows": 400, "Columns": 300, "PhotometricInterpretation": "MONOCHROME2"} | values
        return [header(1, **shown), header(2, **shown)]

    return images


@pytest.fixture(scope="module")
def with_maps(context, images):
    def with_maps(maps=None, **values):
        if maps is None:
            maps = {uid: map_of(uid, spot(400, 300, 100, 200, 30)) for uid in (FIRST, SECOND)}
        return replace(context(headers=images(**values)), maps=maps)

    return with_maps


@pytest.mark.parametrize(("rows", "columns"), [(400, 300), (4000, 3000), (60, 900), (7, 5)])
@pytest.mark.parametrize("stored", [1, 2.5])
def test_an_outline_lies_around_its_place_in_pixels_of_the_stored_image(rows, columns, stored):
    """`stored`: pixels were wider than high, and the map is of the image made square."""
    row, column = rows * 0.25, columns * 0.6
    radius = min(rows, columns) / 6
    lines = outlines(spot(rows, columns, row, column, radius), round(columns / stored), rows)
    (line,) = lines
    assert np.array_equal(line[0], line[-1])
    away = np.hypot((line[:, 0] * stored - column), line[:, 1] - row)
    cell = max(rows, columns) / 96 + 1
    assert np.abs(away - radius).max() < max(2.0, 1.5 * cell)


def test_outlines_of_several_places_come_largest_first_without_holes_and_stay_in_the_image():
    heat = np.zeros((96, 96), np.float32)
    heat[0:30, 60:96] = 1  # at the edge
    heat[8:20, 70:80] = 0  # with a hole
    heat[60:70, 10:20] = 1
    large, small = outlines(heat, 960, 960)
    assert (large.min(axis=0).tolist(), large.max(axis=0).tolist()) == ([600, 0], [960, 300])
    assert small.mean(axis=0) == pytest.approx([150, 650], abs=10)


@pytest.mark.parametrize("heat", [np.zeros((40, 40), np.float32), np.eye(1, 9000, dtype=np.float32).reshape(90, 100)])
def test_of_a_map_without_a_place_there_is_no_outline(heat):
    assert outlines(heat, 40, 40) == []


def test_a_whole_image_is_outlined_as_a_whole():
    (line,) = outlines(np.ones((50, 50), np.float32), 500, 400)
    assert (line.min(), line.max(axis=0).tolist()) == (0, [500, 400])


def test_the_state_outlines_each_image_and_says_what_it_is_not(with_maps):
    state = read(build_evidence_state(with_maps()))
    assert (state.SOPClassUID, state.SeriesNumber) == ("1.2.840.10008.5.1.4.1.1.11.1", 9916)
    assert state.ContentDescription == EVIDENCE_NOTICE
    found = drawn_in(state)
    assert sorted(found) == [FIRST, SECOND]
    for annotation in state.GraphicAnnotationSequence:
        (line,) = annotation.GraphicObjectSequence
        assert (line.GraphicAnnotationUnits, line.GraphicType, line.GraphicFilled) == ("PIXEL", "POLYLINE", "N")
        (text,) = annotation.TextObjectSequence
        assert text.UnformattedTextValue.split("\r\n")[0] == EVIDENCE_NOTICE
        assert "ReferencedFrameNumber" not in annotation.ReferencedImageSequence[0]
    for (line,) in found.values():
        assert line.mean(axis=0) == pytest.approx([200, 100], abs=5)


def test_only_images_with_a_map_are_drawn_on_and_one_frame_of_several(with_maps):
    case = with_maps({SECOND: map_of(SECOND, spot(400, 300, 50, 60, 20), frame=3)}, NumberOfFrames=5)
    state = read(build_evidence_state(case))
    (annotation,) = state.GraphicAnnotationSequence
    (image,) = annotation.ReferencedImageSequence
    assert (image.ReferencedSOPInstanceUID, image.ReferencedFrameNumber) == (SECOND, 3)


def test_without_maps_there_is_nothing_to_show(with_maps, flag):
    bare = with_maps({})
    assert not can_outline(bare)
    assert not has_maps(bare)
    assert not can_outline(with_maps(PhotometricInterpretation="RGB"))


def test_the_picture_has_the_map_and_the_words_in_its_pixels(with_maps):
    heat = spot(400, 300, 100, 200, 30)
    found = map_of(FIRST, heat)
    found.picture[:] = (10, 200, 30)
    page = read(build_evidence_picture(with_maps({FIRST: found})))
    assert (page.SOPClassUID, page.PhotometricInterpretation) == ("1.2.840.10008.5.1.4.1.1.7", "RGB")
    pixels = page.pixel_array
    letters = ImageFont.truetype(str(BOLD), 21, layout_engine=ImageFont.Layout.BASIC)
    for row in wrapped(EVIDENCE_NOTICE, 800 - 2 * 32, letters.getlength):
        assert stands_on(pixels[:200].max(axis=2), row, BOLD, 21)
    assert (pixels == (10, 200, 30)).all(axis=2).sum() == 800 * 600
    (source,) = page.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == FIRST


def test_no_more_than_the_map_is_in_the_picture_of_a_study(with_maps):
    artifact = build_evidence_picture(with_maps())
    said = words_of(artifact)
    assert EVIDENCE_NOTICE in said
    assert "Lind" not in artifact.summary
    assert len(read(artifact).SourceImageSequence) == 2


@pytest.mark.parametrize(("said", "says"), [("YES", "YES"), ("NO", "NO"), ("", None), ("MAYBE", None)])
def test_what_is_burned_into_an_image_is_in_its_picture(said, says, with_maps):
    page = read(build_evidence_picture(with_maps(BurnedInAnnotation=said)))
    assert page.get("BurnedInAnnotation") == says
