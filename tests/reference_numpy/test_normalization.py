"""Standardisation."""

import numpy as np

from reference_numpy.normalization import standardization_statistics, standardize


def test_a_constant_feature_is_centred_and_not_blown_up_even_where_its_mean_rounds():
    x = np.column_stack([np.full(427, 0.1), np.arange(427.0)])
    mean, standard_deviation = standardization_statistics(x)
    assert standard_deviation[0] == 1
    assert np.abs(standardize(x, mean, standard_deviation)[:, 0]).max() < 1e-15


def test_the_training_set_itself_gets_mean_zero_and_standard_deviation_one():
    x = np.random.default_rng(0).normal(1e4, 3.0, (500, 4))
    scaled = standardize(x, *standardization_statistics(x))
    assert np.abs(scaled.mean(axis=0)).max() < 1e-10
    assert np.abs(scaled.std(axis=0) - 1).max() < 1e-12
