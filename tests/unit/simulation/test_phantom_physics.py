from dataclasses import replace

import numpy as np
import pytest

from triage_agent.simulation.phantom.physics import Exposure, detect, transmission
from triage_agent.simulation.phantom.projection import Thickness

SHAPE = (64, 64)
QUIET = Exposure(photons=1e9, scatter=0.0, blur=0.1, sharpening=0.0, sharpening_range=3.0)


def slab(**millimetres):
    names = ("bone", "mineral", "soft", "fat", "air", "metal")
    return Thickness(*(np.full(SHAPE, millimetres.get(name, 0.0), dtype=np.float32) for name in names))


def attenuation(exposure, seed=0, primary=0.5):
    lit = np.ones(SHAPE, dtype=np.float32)
    return detect(primary * lit, lit, 0.2, exposure, np.random.default_rng(seed))


def test_nothing_in_the_beam_lets_everything_through():
    np.testing.assert_allclose(transmission(slab()), 1.0)


def test_tissues_attenuate_in_the_order_fat_muscle_bone_metal():
    through = [
        transmission(slab(soft=10, fat=10)),
        transmission(slab(soft=10)),
        transmission(slab(soft=10, bone=10, mineral=10)),
        transmission(slab(soft=10, metal=10)),
    ]
    values = [float(image[0, 0]) for image in through]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 4


def test_a_harder_beam_is_left_behind_twice_the_thickness():
    thin, thick = (float(transmission(slab(soft=t))[0, 0]) for t in (50, 100))
    assert thick > thin**2  # beam hardening: more than Beer-Lambert at one energy would leave


def test_air_takes_the_place_of_tissue():
    assert transmission(slab(soft=100, air=60))[0, 0] == pytest.approx(transmission(slab(soft=40))[0, 0])


def test_the_detector_reports_the_logarithm_of_the_exposure():
    assert attenuation(QUIET).mean() == pytest.approx(-np.log(0.5), abs=1e-3)


def test_noise_falls_with_the_square_root_of_the_dose():
    loud, soft = (attenuation(replace(QUIET, photons=photons)).std() for photons in (1e5, 4e5))
    assert loud / soft == pytest.approx(2.0, rel=0.1)


def test_scatter_fogs_the_image():
    assert attenuation(replace(QUIET, scatter=0.5)).mean() < attenuation(QUIET).mean()


def test_beyond_the_collimator_almost_nothing_arrives():
    lit = np.ones(SHAPE, dtype=np.float32)
    lit[:, :32] = 0.0
    seen = detect(np.ones(SHAPE, dtype=np.float32), lit, 0.2, QUIET, np.random.default_rng(0))
    assert seen[:, :24].min() > 3.0
    assert seen[:, 40:].max() < 0.5
