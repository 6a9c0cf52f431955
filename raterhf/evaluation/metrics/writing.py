"""How a text is written, whatever its subject: what people do without thinking of it, and so do alike."""

import re
from collections.abc import Sequence

import numpy as np

PERSONS = (("i", "me", "my", "we", "us", "our"), ("you", "your"), ("he", "she", "him", "her", "his", "they", "them", "their"))


HABITS = (r"^[a-z]", r"[.!?]\s*$", r"\bi\b", r"^I\b", r"^My\b", r"\w+ing\b", r"  ", r"\s$", r"'", r" ,|,\S", r"[A-Z]{3}", r"[^\x00-\x7f]")
"""Patterns that some texts have and others do not: a small letter first, a mark at the end, spaces, shouting and the like."""


def style(texts: Sequence[str]) -> np.ndarray:
    """Plain features [I, 16] of how a text is written, whatever its subject: lengths, punctuation, capitals, digits, persons."""
    return np.array([_style(text) for text in texts], float)


def _style(text: str) -> list[float]:
    words = re.findall(r"\w+", text) or [""]
    sentences = max(1, len(re.findall(r"[.!?]+", text)))
    lower = [word.lower() for word in words]
    n = len(words)
    found = [
        np.log(n),
        np.mean([len(word) for word in words]),
        np.log(n / sentences),
        np.log1p(text.count('"')),
        np.log1p(text.count("\n")),
    ]
    found += [text.count(mark) / sentences for mark in "?!:,"]
    found += [sum(word[:1].isupper() for word in words) / n, sum(word.isdigit() for word in words) / n, len(set(lower)) / n]
    found += [sum(word in persons for word in lower) / n for persons in PERSONS]
    return [*found, float(text.strip().endswith('"'))]


def habits(texts: Sequence[str]) -> np.ndarray:
    """Features [N, h]: `style`, and whether each of `HABITS` is found in a text (1 or 0)."""
    found = np.array([[re.search(pattern, text) is not None for pattern in HABITS] for text in texts], float)
    return np.concatenate([style(texts), found.reshape(len(texts), len(HABITS))], 1)
