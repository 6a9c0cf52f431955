"""Answers as points, by their letters: how often each text has each run of one to three characters, along the main axes of all texts.

Runs of letters hold what people write of and how they write it, whatever the language; measured on short answers of unseen people they tell
authors apart as well as classifiers do (docs/howto/answers-alone.md). They cost seconds, and no model is needed to read a newcomer.

Notation: N texts, V runs of letters, D axes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

RUNS = (1, 3)  # characters
MOST = 4096  # different runs, the most frequent ones
AXES = 256


@dataclass(frozen=True)
class Letters:
    """The runs of letters that count, `terms` [V], how rare they are, `rarity` [V], and the main axes of texts, `axes` [V, D]."""

    terms: list[str]
    rarity: np.ndarray
    axes: np.ndarray

    def points(self, texts: Sequence[str]) -> np.ndarray:
        """[N, D]."""
        return np.asarray(_weights(texts, self.terms, self.rarity) @ self.axes)


def fit_letters(texts: Sequence[str], seed: int) -> Letters:
    """The letters of these texts. Latent semantic analysis (Deerwester et al. 1990) of characters; a run counts by the logarithm of how
    often it stands in a text, and of how few texts have it."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer  # slow to import, and only this needs them

    counted = TfidfVectorizer(analyzer="char", ngram_range=RUNS, lowercase=False, sublinear_tf=True, max_features=MOST)
    found = counted.fit_transform(texts)
    terms = list(counted.get_feature_names_out())
    axes = TruncatedSVD(max(1, min(AXES, min(found.shape) - 1)), random_state=seed).fit(found).components_.T
    return Letters(terms, counted.idf_, np.ascontiguousarray(axes))


def _weights(texts: Sequence[str], terms: list[str], rarity: np.ndarray) -> csr_matrix:
    """Vectors [N, V] of unit length."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    counted = TfidfVectorizer(analyzer="char", ngram_range=RUNS, lowercase=False, sublinear_tf=True, vocabulary=terms)
    counted.idf_ = rarity
    return counted.transform(texts)
