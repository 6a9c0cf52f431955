"""Is a text language? Repetition within it, and words that nobody uses. Pure functions of texts and counts."""

from collections.abc import Collection, Sequence

RUN = 4  # words that, when they come again in order, are a repetition (Welleck et al. 2020)


def repetitions(words: Sequence[str], run: int = RUN) -> tuple[int, int]:
    """How many runs of so many words came before in the same text, and how many runs there are: 0 of 0 in a shorter text."""
    runs = [tuple(words[i : i + run]) for i in range(len(words) - run + 1)]
    return len(runs) - len(set(runs)), len(runs)


def known_words(words: Sequence[str], known: Collection[str]) -> tuple[int, int]:
    """How many of the words are known, and how many there are."""
    return sum(word in known for word in words), len(words)
