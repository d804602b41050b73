"""Groups of patients, machines and views."""

import csv

import pytest

from triage_agent.learning.metrics import METRICS
from triage_agent.learning.mura import DataError, read_roots
from triage_agent.learning.subgroups import age_band, read_facts, subgroups


@pytest.fixture
def studies(layout):
    """Thirty studies of two images, half of them abnormal."""
    entries = [
        (
            "valid",
            "XR_KNEE",
            f"patient{number:05d}",
            f"study1_{'positive' if number % 2 else 'negative'}",
            number % 2,
            None,
        )
        for number in range(30)
        for _ in range(2)
    ]
    return layout(entries)


def metadata(root, rows, columns):
    with (root / "valid_metadata.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["image", *columns], *rows])


def relative(root, image):
    return image.path.relative_to(root).as_posix()


def measured(root, probabilities=None):
    images = read_roots([root], "valid")
    values = probabilities or [0.2 + 0.6 * image.label for image in images]
    return subgroups(images, values, read_facts([root], "valid"), 0.5, seed=0, resamples=20)


def test_each_group_has_every_figure_and_small_ones_their_number_only(studies):
    images = read_roots([studies], "valid")
    rows = [
        [
            relative(studies, image),
            "f" if int(image.patient[-5:]) < 24 else "M",
            7 if int(image.patient[-5:]) < 2 else 55,
        ]
        for image in images
    ]
    metadata(studies, rows, ["sex", "age"])
    found = measured(studies)
    assert found.keys() == {"sex", "age"}
    assert found["sex"]["M"] == {"n": 6}
    assert found["sex"]["F"]["n"] == 24
    assert set(METRICS) <= found["sex"]["F"].keys()
    assert found["age"].keys() == {"0-17", "40-59"}


def test_a_group_of_one_class_has_its_number_only(studies):
    images = read_roots([studies], "valid")
    metadata(studies, [[relative(studies, image), f"AE{image.label}"] for image in images], ["sending_ae"])
    assert measured(studies)["sending_ae"] == {"AE0": {"n": 15}, "AE1": {"n": 15}}


def test_a_study_is_in_each_group_with_its_images_of_that_group(studies):
    images = read_roots([studies], "valid")
    views = ["ap" if image.path.name == "image1.png" else "lat" for image in images]
    metadata(studies, [[relative(studies, image), view] for image, view in zip(images, views, strict=True)], ["view"])
    right_in_ap_only = [float(image.label) if view == "ap" else 0.3 for image, view in zip(images, views, strict=True)]
    found = measured(studies, right_in_ap_only)["view"]
    assert (found["AP"]["n"], found["LAT"]["n"]) == (30, 30)
    assert (found["AP"]["auroc"]["value"], found["LAT"]["auroc"]["value"]) == (1.0, 0.5)


def test_images_of_which_nothing_is_said_are_a_group_of_their_own(studies):
    images = read_roots([studies], "valid")
    metadata(studies, [[relative(studies, image), "Acme"] for image in images[:44]], ["manufacturer"])
    found = measured(studies)["manufacturer"]
    assert (found["Acme"]["n"], found["not stated"]) == (22, {"n": 8})


def test_the_side_of_the_table_of_grades_counts(layout):
    entries = [("valid", "XR_KNEE", f"p{n}", f"study1_{n}", n % 2, 3 * (n % 2)) for n in range(24)]
    assert measured(layout(entries))["side"]["L"]["n"] == 24


def test_without_tables_there_are_no_groups(studies):
    assert measured(studies) == {}


@pytest.mark.parametrize(
    ("text", "band"),
    [
        ("0", "0-17"),
        ("17", "0-17"),
        ("18", "18-39"),
        ("39.9", "18-39"),
        ("063Y", "60-79"),
        ("80", "80 and over"),
        ("101", "80 and over"),
        ("011M", "0-17"),
        ("003D", "0-17"),
        ("300m", "18-39"),
    ],
)
def test_ages_become_bands(text, band):
    assert age_band(text) == band


def test_what_is_no_age_or_names_no_images_is_told(studies):
    metadata(studies, [["valid/XR_KNEE/patient00000/study1_negative/image1.png", "old"]], ["age"])
    with pytest.raises(DataError, match=r"valid_metadata.csv has the age 'old'"):
        read_facts([studies], "valid")
    (studies / "valid_metadata.csv").write_text("picture,sex\n")
    with pytest.raises(DataError, match="no column 'image'"):
        read_facts([studies], "valid")
