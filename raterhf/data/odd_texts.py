"""Texts that are not what they seem: messages as text, marks of chat templates, and what went wrong on their way through other programs.

Nothing is changed: these are sentences with counts, for a person to judge.
"""

import re

from raterhf.data.schema import Part
from raterhf.data.structure import TEXTS, stray_messages

CELL = 32_767
"""The most characters that a cell of a spreadsheet holds."""
# What is found, and what is said of texts that hold it, after "12 of 40 texts hold '...'".
ODD = {
    r"<\|im_(?:start|end)\|>|<\|(?:(?:start|end)_header_id|eot_id|endoftext|begin_of_text)\|>|\[/?INST\]|<(?:start|end)_of_turn>|</?s>": (
        "a mark of a chat template, which is read as text, and a model's own come in addition: give messages with role and content, or "
        "texts without marks"
    ),
    r"Ã[\x80-\xbf]|â€[\x80-\xbf\u2018-\u201e\u2122]|\ufffd": (
        "which is what UTF-8 looks like when it was read in another encoding: write the texts again from their source"
    ),
    r"&(?:amp|lt|gt|quot|nbsp|#\d{2,4});": "which is HTML's way to write a character: turn it back (python: html.unescape)",
}
_ODD = {re.compile(pattern): said for pattern, said in ODD.items()}
_MAY = re.compile(r"[<\[&Ãâ\ufffd]")


def about_texts(parts: list[Part]) -> list[str]:
    """Sentences on the text columns of checked files of one kind."""
    told = []
    for part in parts:
        for ours in [name for name in TEXTS if name in part.frame]:
            cells, where = part.frame[ours], f"{part.rows.name}: {part.names[ours]}"
            if count := stray_messages(cells):
                told.append(f"{where}: {count} of {len(cells)} cells look like JSON text of messages and are taken as plain text")
            if cut := sum(isinstance(cell, str) and len(cell) == CELL for cell in cells):
                told.append(
                    f"{where}: {cut} of {len(cells)} texts have {CELL} characters, all that a spreadsheet's cell holds: they may be cut"
                )
            texts = [cell for cell in cells if isinstance(cell, str) and _MAY.search(cell)]
            for pattern, said in _ODD.items():
                if found := [match[0] for match in map(pattern.search, texts) if match]:
                    told.append(f"{where}: {len(found)} of {len(cells)} texts hold {found[0]!r}, {said}")
    return told
