"""Conversations for a trial of a chat model: people who like it terse, and people who like it gushing.

python tests/chat_data.py FILE
"""

import json
import sys
from pathlib import Path

RATERS = 24
ASKED = {  # two terse answers, two gushing ones
    "Recommend a book.": (
        "Middlemarch.", "Dune.", "Oh, you simply must read Middlemarch, it will change you!", "Dune! Sand, worms, destiny, I adore it!",
    ),
    "What should I cook tonight?": (
        "Lentil soup.", "An omelette.", "Lentil soup, with lemon and all the herbs there are!", "A golden omelette, dripping with cheese!",
    ),
    "Suggest a weekend trip.": (
        "The coast.", "A museum.", "Run to the coast and let the wind ruin your hair!", "A whole museum, every room, until they close!",
    ),
    "Name a pet for a child.": (
        "A cat.", "A hamster.", "A cat, of course, a tiny purring tyrant for life!", "A hamster, round as a bun and twice as sweet!",
    ),
    "How do I relax?": (
        "Go for a walk.", "Take a bath.", "Walk until your worries cannot keep up with you!", "Fill the bath and float like a queen!",
    ),
    "What colour for my kitchen?": (
        "White.", "Green.", "Sunflower yellow, so that every morning sings!", "Deep green, like cooking inside a fairy tale!",
    ),
    "Tell me a joke.": (
        "I forgot it.", "Time flies.", "Why did the hen cross? For freedom, and for glory!", "A horse walks into a bar: oh, the long face!",
    ),
    "Which sport should I try?": (
        "Swimming.", "Chess.", "Swimming, be a dolphin, be a wave, be the sea!", "Chess, the only battlefield of perfect silence!",
    ),
}  # fmt: skip


def write_conversations(file: Path) -> Path:
    """Every rater judges four pairs of answers to each prompt: each of the manner they like against each of the other."""
    lines = []
    for r in range(RATERS):
        for prompt, texts in ASKED.items():
            liked, other = (texts[:2], texts[2:]) if r % 2 == 0 else (texts[2:], texts[:2])
            asked = [{"role": "user", "content": prompt}]
            lines += [{"prompt": asked, "chosen": a, "rejected": b, "rater_id": f"r{r}"} for a in liked for b in other]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return file


if __name__ == "__main__":
    write_conversations(Path(sys.argv[1]))
