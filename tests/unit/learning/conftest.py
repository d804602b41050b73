import csv

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def layout(tmp_path):
    """Writes a MURA layout: each entry is (split, anatomy, patient, study, label, grade or None)."""

    def write(entries, name="mini", side=32):
        root = tmp_path / name
        paths, studies, grades = {}, {}, {}
        for split, anatomy, patient, study, label, grade in entries:
            folder = f"{split}/{anatomy}/{patient}/{study}"
            (root / folder).mkdir(parents=True, exist_ok=True)
            number = len(list((root / folder).iterdir())) + 1
            pixels = np.full((side, side), 40, dtype=np.uint8)
            pixels[: side // 2] += 150 * label
            Image.fromarray(pixels).save(root / folder / f"image{number}.png")
            paths.setdefault(split, []).append([f"{name}/{folder}/image{number}.png"])
            studies.setdefault(split, {})[f"{name}/{folder}/"] = label
            if grade is not None:
                grades.setdefault(split, []).append([f"{folder}/image{number}.png", "L", grade, int(grade >= 2)])
        for split, rows in paths.items():
            _csv(root / f"{split}_image_paths.csv", rows)
            _csv(root / f"{split}_labeled_studies.csv", [list(item) for item in studies[split].items()])
        for split, rows in grades.items():
            _csv(root / f"{split}_grades.csv", [["image", "side", "kl_grade", "abnormal"], *rows])
        return root

    return write


def _csv(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
