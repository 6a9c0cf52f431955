"""Halves of symmetric matrices, by hand."""

import numpy as np

from raterhf.raters.symmetric import halves, inner_weights, outer_halves, whole


def test_halves_by_hand():
    matrix = np.array([[[1.0, 2.0], [2.0, 5.0]]])
    assert halves(matrix).tolist() == [[1, 2, 5]] and whole(halves(matrix)).tolist() == matrix.tolist()
    assert outer_halves(np.array([[2.0, 3.0]])).tolist() == [[4, 6, 9]]
    assert (halves(matrix) * halves(matrix)) @ inner_weights(2) == 1 + 2 * 4 + 25


def test_halves_of_one_and_of_many_rows():
    for k in (1, 7, 26):
        vectors = np.random.default_rng(k).standard_normal((3, k))
        outer = vectors[:, :, None] * vectors[:, None, :]
        assert np.array_equal(whole(outer_halves(vectors)), outer) and halves(outer).shape == (3, k * (k + 1) // 2)
