"""A model's chat template, run as what it is: a program by a stranger.

transformers runs it in jinja's sandbox, which keeps it from files and from Python; the limits here keep it from running for ever and from
filling the memory.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import FrameType
from typing import Any

from jinja2 import Environment, TemplateError
from transformers import PreTrainedTokenizerBase

from raterhf.errors import UserError

SECONDS = 1.0  # of one conversation, which takes milliseconds
LONGEST = 200_000  # characters of a rendered conversation beside ten times its own
BIGGEST = 10_000  # whole number written in a template: what repeats a text so often is no template


def render_chat(tokenizer: PreTrainedTokenizerBase, messages: list[dict]) -> str:
    """The conversation as the template writes it.

    Raises jinja's TemplateError where it refuses the conversation, and UserError where it takes too long, writes too much or fails.
    """
    name = tokenizer.name_or_path or "the model"
    for template in _templates(tokenizer):
        if why := bomb(template):
            raise UserError(f"the chat template of {name} {why}, which may fill the memory; use another model")
    try:
        with limited_to(SECONDS):
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    except TemplateError:
        raise
    except Exception as error:  # the template's own: of any kind
        raise UserError(f"the chat template of {name} fails ({type(error).__name__}: {str(error)[:100]}); use another model") from error
    assert isinstance(text, str)  # with tokenize=False
    if len(text) > LONGEST + 10 * sum(len(message["content"]) for message in messages):
        raise UserError(f"the chat template of {name} makes {len(text)} characters of a short conversation; use another model")
    return text


def _templates(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    template: Any = tokenizer.chat_template
    return list(template.values()) if isinstance(template, dict) else [template]


@lru_cache(maxsize=16)
def bomb(template: str) -> str:
    """What of a template no time limit would stop, since one step of it is all: a power, or a huge number; empty where nothing is."""
    try:
        tokens = [(kind, text) for _, kind, text in Environment().lex(template)]
    except TemplateError:
        return ""  # rendering says what is wrong with it
    if ("operator", "**") in tokens:
        return "raises to a power"
    for kind, text in tokens:
        if kind in ("integer", "float") and (len(text) > 20 or (float(text) if kind == "float" else int(text, 0)) > BIGGEST):
            return f"holds the number {text[:20]}"
    return ""


@contextmanager
def limited_to(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in Python code that this thread runs for longer. Other threads, and single steps in C, are not limited."""
    end = time.monotonic() + seconds

    def look(frame: FrameType, event: str, argument: Any) -> Any:
        if time.monotonic() > end:
            raise TimeoutError(f"it takes longer than {seconds:g} s")
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        yield
    finally:
        sys.settrace(before)
