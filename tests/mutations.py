"""Seeded damage for the fuzz tests: of bytes, of text, of JSON values; and the odd values that it puts in."""

import json
from random import Random
from typing import Any

TOKENS = (
    "\x00", "\x1b[31m", "\u2028", "\ufeff", "‮", '"', "'", "\n", "\r\n", ",", "{", "}", "[", "]", ":", "- ",
    "&a ", "*a", "<<: ", "!!int ", "%", "#",
    "\\ud800", "\\", "null", "true", "NaN", "-Infinity", "1e999", "-0", "0x7f", "9" * 50, "9" * 5000, "[" * 60,
    '{"a":' * 60, "1:" * 60,
    "new:7", "persona:x", "new:9999999x", "none", "../../etc", "/dev/zero", "[/b]", "{}", "{:>9999999999}", "{0.__class__}", "日本",
    "x" * 3000,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3.0, -0.5, 1e308, 10**9, 10**30, -(10**30), float("nan"), float("inf"), "", " ", "a", "new",
    "new:7", "all", "nan", "1", "3.0", "1_0", "\ud800", "x\x00y", "\x1b[2J", "[/b]", "a\nb", "{}", "{", "x" * 3000, [], [[]], {},
    {"role": "user"}, ["a", 1],
    [{"role": "user", "content": "x"}], [{"role": "assistant", "content": None}], {"a": {"b": {"c": 1}}}, "/dev/zero", "..", "0x1F", "1e-3",
)  # fmt: skip


def damaged_bytes(data: bytes, rng: Random, times: int = 3) -> bytes:
    """One to `times` bytes or pieces changed, removed, doubled, put in, or the end cut off."""
    for _ in range(rng.randint(1, times)):
        place, other = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        how = rng.randrange(6)
        if how == 0 and data:
            place = min(place, len(data) - 1)
            data = data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]
        elif how == 1:
            data = data[:place] + data[min(other, place + 20) :]
        elif how == 2:
            data = data[:other] + data[place:other] + data[other:]
        elif how == 3:
            data = data[:place]
        elif how == 4:
            data = data[:place] + rng.randbytes(rng.randint(1, 8)) + data[place:]
        else:
            data = data[:place] + rng.choice(TOKENS).encode("utf-8", "surrogatepass") + data[place:]
    return data


def damaged_text(text: str, rng: Random) -> str:
    """A token put in, or in another's place; lines doubled, removed or exchanged."""
    lines = text.splitlines(keepends=True) or [""]
    for _ in range(rng.randint(1, 3)):
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        how = rng.randrange(5)
        if how == 0:
            lines[i] += lines[j]
        elif how == 1:
            lines[i] = ""
        elif how == 2:
            lines[i], lines[j] = lines[j], lines[i]
        else:
            words = lines[i].split(" ")
            words[rng.randrange(len(words))] = rng.choice(TOKENS)
            lines[i] = " ".join(words)
    return "".join(lines)


def odd(rng: Random) -> Any:
    return rng.choice(VALUES)


def damaged_value(value: Any, rng: Random) -> Any:
    """A JSON value with something in it replaced, removed or added."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        how = rng.randrange(8)
        if how == 0:
            return {k: v for k, v in value.items() if k != key}
        if how == 1:
            return value | {str(odd(rng))[:50]: odd(rng)}
        return value | {key: damaged_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        i = rng.randrange(len(value))
        how = rng.randrange(6)
        if how == 0:
            return value[:i] + value[i + 1 :]
        if how == 1:
            return [*value, value[i]]
        return [*value[:i], damaged_value(value[i], rng), *value[i + 1 :]]
    return odd(rng)


def json_lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode("utf-8", "surrogatepass")
