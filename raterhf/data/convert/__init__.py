"""Exports of annotation tools and public data sets -> rows in our columns.

One file here for each tool. Exports are recognised by their columns, never by the name of the file.
"""

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from raterhf.data.checks import is_missing
from raterhf.data.convert import (
    alpaca_farm,
    arena,
    argilla,
    doccano,
    helpsteer3,
    label_studio,
    multipref,
    prism,
    prodigy,
    wide,
)  # fmt: skip
from raterhf.data.convert.base import Ask, Converted
from raterhf.data.files import Rows, read_rows
from raterhf.data.structure import parse_cells
from raterhf.errors import UserError
from raterhf.io import write_bytes

TOOLS: dict[str, Any] = {
    "label-studio": label_studio,
    "argilla": argilla,
    "prodigy": prodigy,
    "doccano": doccano,
    "arena": arena,
    "prism": prism,
    "helpsteer3": helpsteer3,
    "multipref": multipref,
    "alpaca-farm": alpaca_farm,
    "wide": wide,
}


def recognise(frame: pd.DataFrame) -> str | None:
    """The tool whose export has these columns, or None."""
    return next((name for name, tool in TOOLS.items() if tool.matches(frame)), None)


def kinds_of(rows: Rows) -> list[str]:
    """Kinds of labels that an export holds, as `recognise` knows it; none where it is no export."""
    tool = recognise(rows.frame)
    return list(convert(rows, tool, Ask()).parts) if tool else []


def convert(rows: Rows, tool: str, ask: Ask) -> Converted:
    """The rows of one file as frames in our columns. Raises UserError for an unknown tool and for a file without a label that is read."""
    if tool not in TOOLS:
        raise UserError(f"{tool!r} is no tool whose exports are read; there are {', '.join(TOOLS)}")
    if TOOLS[tool] is not wide and not TOOLS[tool].matches(rows.frame):
        raise UserError(
            f"{rows.name}: not the columns of {tool} ({TOOLS[tool].ABOUT}); it has {', '.join(map(str, rows.frame.columns))}: "
            "choose another of "
            f"{', '.join(TOOLS)}, or map its columns"
        )
    try:
        made = TOOLS[tool].convert(parse_cells(rows), ask)
    except UserError as error:
        raise UserError(str(error) if str(error).startswith(rows.name) else f"{rows.name}: {error}") from error
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:  # nested lists and objects of another shape
        raise UserError(
            f"{rows.name}: has the columns of {tool} but other things in them ({type(error).__name__}: {error}); export it again, or write "
            "rows of our columns"
        ) from error
    if not any(len(frame) for frame in made.parts.values()):
        raise UserError(f"{rows.name}: no label that is read as {tool}; {'; '.join(made.told()) or 'it is empty'}")
    return made


def convert_rows(rows: Rows, tool: str, columns: dict[str, str], kind: str) -> Rows:
    """An export's rows of one kind as those of a file in our columns; what was done stands in their notes."""
    made = convert(rows, tool, Ask({name.partition(".")[2] or name: theirs for name, theirs in columns.items()}))
    if kind not in made.parts:
        there = ", ".join(made.parts)
        raise UserError(f"{rows.name} ({tool}) holds {there}, no {kind}: give it as data.{next(iter(made.parts))}")
    frame = made.parts[kind]
    others = [
        f"{len(part)} {name} in it are not read here: give the file as data.{name} too" for name, part in made.parts.items() if name != kind
    ]
    notes = (*rows.notes, f"read as {tool}", *made.told(), *others)
    origin = [rows.origin[i] for i in frame.index] if rows.origin is not None else frame.index.tolist()
    return replace(rows, frame=frame.reset_index(drop=True).astype(object), origin=origin, notes=notes)


def convert_files(
    paths: list[str], tool: str, out: Path, kind: str | None, columns: dict[str, str], annotators: tuple[str, ...], attributes: bool
) -> list[str]:
    """Write the labels of an export's files into `out`; returns lines that say what was kept and left out.

    Raises UserError, among others where the export holds two kinds of labels and `kind` does not choose one.
    """
    lines: list[str] = []
    frames: dict[str, list[pd.DataFrame]] = {}
    for path in paths:
        made = convert(read_rows(path), tool, Ask(columns, annotators, attributes))
        lines += [f"{path}: {sentence}" for sentence in made.told()]
        for name, frame in made.parts.items():
            frames.setdefault(name, []).append(frame)
    if kind is None and len(frames) > 1:
        raise UserError(
            f"{', '.join(paths)}: holds {' and '.join(frames)}; write one into {out} with --kind {next(iter(frames))}, then the other"
        )
    chosen = kind or next(iter(frames))
    if chosen not in frames:
        raise UserError(f"{', '.join(paths)}: holds {' and '.join(frames)}, no {chosen}")
    whole = pd.concat(frames[chosen], ignore_index=True)
    write_rows(whole, out)
    people = f"{whole['rater_id'].nunique()} raters" if "rater_id" in whole else "nobody is named who judged"
    lines.append(f"{out}: {len(whole)} {chosen}, {people}, columns {', '.join(map(str, whole))}")
    return [*lines, f"next: raterhf data check --{chosen} {out}"]


def write_rows(frame: pd.DataFrame, path: Path) -> None:
    """Write rows as parquet or JSON lines, by suffix; whole or not at all. IDs and labels become text."""
    names = [name for name in ("rater_id", "label", "attribute", "within", "group") if name in frame]
    frame = frame.astype(object).where(frame.notna(), None)
    for name in names:
        frame[name] = [None if is_missing(cell) else str(cell) for cell in frame[name]]
    if path.suffix.lower() == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False, default=float) + "\n" for row in frame.to_dict("records"))
        write_bytes(path, text.encode("utf-8", "surrogatepass"))
        return
    if path.suffix.lower() != ".parquet":
        raise UserError(f"{path}: labels are written as .parquet or .jsonl; name such a file")
    buffer = BytesIO()
    frame.to_parquet(buffer, index=False)
    write_bytes(path, buffer.getvalue())
