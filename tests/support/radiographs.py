"""A small MURA layout of drawn images, learnable in seconds."""

import csv

import numpy as np
from PIL import Image

SPLITS = ("train", "valid")


def write_mura(root, *, patients=24, anatomies=("XR_KNEE",), side=48, seed=0, grades=True, boxes=False, splits=SPLITS):
    """Noisy grey images; abnormal ones have a bright bar. Odd patients are abnormal, and two images make a study."""
    generator = np.random.default_rng(seed)
    number = 0
    for split in splits:
        paths, studies, graded, boxed = [], [], [], []
        for anatomy in anatomies:
            for _ in range(patients if split == "train" else patients // 2):
                number += 1
                label = number % 2
                name = f"patient{number:05d}/study1_{'positive' if label else 'negative'}"
                folder = f"{split}/{anatomy}/{name}"
                (root / folder).mkdir(parents=True)
                studies.append([f"{root.name}/{folder}/", label])
                for image in (1, 2):
                    pixels, box = _draw(generator, side, label)
                    Image.fromarray(pixels).save(root / folder / f"image{image}.png")
                    if box:
                        boxed.append([f"{folder}/image{image}.png", *box])
                    paths.append([f"{root.name}/{folder}/image{image}.png"])
                    graded.append([f"{folder}/image{image}.png", "L", 3 * label, label])
        _write(root / f"{split}_image_paths.csv", paths)
        _write(root / f"{split}_labeled_studies.csv", studies)
        if grades:
            _write(root / f"{split}_grades.csv", [["image", "side", "kl_grade", "abnormal"], *graded])
        if boxes:
            _write(root / f"{split}_boxes.csv", [["image", "x0", "y0", "x1", "y1"], *boxed])
    return root


def _draw(generator, side, label):
    """The picture, and the box around its bar."""
    pixels, box = generator.normal(90, 12, (side, side + 8)), None
    if label:
        row = int(generator.integers(side // 4, side // 2))
        pixels[row : row + side // 6, side // 4 : -side // 4] += 110
        box = (side // 4, row, side + 8 - side // 4, row + side // 6)
    return np.clip(pixels, 0, 255).astype(np.uint8), box


def _write(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
