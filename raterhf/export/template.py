"""A chat template that takes `rater`, from the model's own: what `Renderer` does to a prompt, as a program in jinja.

    tokenizer.apply_chat_template(messages, add_generation_prompt=True, rater="new:7")

What the template prints is checked against the renderer, token by token, before it is kept. A model that reads plain text gets a template
that takes one message of the user, so that every model is asked in the same way.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from raterhf.data.chat_template import SECONDS, limited_to, render_chat
from raterhf.data.renderer import SAVED, Renderer
from raterhf.data.requests import Prompt
from raterhf.errors import UserError

# What the template is tried on: lines, blanks, what is not English; and conversations, where the model has them.
PROBES: tuple[Prompt, ...] = (
    "Say something.", "Two lines,\n\n  and  blanks: é ✓ ", "A line break.\n",
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."}],
    [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Go on."}],
)  # fmt: skip
TRIED = 3  # raters that the template is tried for: all are put alike

WHO = """\
{{%- set raters = {raters} -%}}
{{%- if rater is not defined or rater is none -%}}{{%- set rater = "none" -%}}{{%- endif -%}}
{{%- if rater not in raters -%}}
{{{{- raise_exception("rater " ~ rater ~ {known}) -}}}}
{{%- endif -%}}
"""
PLAIN = """\
{{%- if messages | length != 1 or messages[0].role != "user" -%}}
{{{{- raise_exception("this model reads one message of the user, and no conversation") -}}}}
{{%- endif -%}}
{{{{- {begin} ~ {text} ~ {lead} ~ messages[0].content -}}}}
{{%- if messages[0].content[-1:].strip() != "" -%}}{{{{- "\\n" -}}}}{{%- endif -%}}"""
OPENED = """\
{{%- if messages | selectattr("role", "equalto", "system") | list | length == 0 -%}}
{{%- set messages = [{{"role": "system", "content": {system}}}] + messages -%}}
{{%- endif -%}}
"""
TOLD = """\
{{%- if raters[rater] -%}}
{{%- set first = namespace(at=none) -%}}
{{%- for message in messages -%}}
{{%- if first.at is none and message.role == "{role}" -%}}{{%- set first.at = loop.index0 -%}}{{%- endif -%}}
{{%- endfor -%}}
{{%- if first.at is not none -%}}
{{%- set told = {{"role": "{role}", "content": raters[rater] ~ messages[first.at].content}} -%}}
{{%- set messages = messages[:first.at] + [told] + messages[first.at + 1:] -%}}
{otherwise}{{%- endif -%}}
{{%- endif -%}}
"""
ALONE = """\
{%- else -%}
{%- set messages = [{"role": "system", "content": raters[rater] | trim}] + messages -%}
"""
QUIET = "{%- if enable_thinking is not defined -%}{%- set enable_thinking = false -%}{%- endif -%}\n"
CLOSED = "<think>\n\n</think>\n\n"  # as the renderer closes a block for reasoning that the template opens


def plain_tokenizer(renderer: Renderer) -> PreTrainedTokenizerBase:
    """A tokenizer of its own for a folder, without what only raterhf reads."""
    tokenizer = copy.deepcopy(renderer.tokenizer)
    tokenizer.init_kwargs.pop(SAVED, None)
    return tokenizer


def set_template(
    tokenizer: PreTrainedTokenizerBase, renderer: Renderer, texts: Mapping[str, str], words: Mapping[str, list[str]]
) -> None:  # fmt: skip
    """Give an exported tokenizer the template under which it reads prompts as `renderer` does.

    `texts` are the raters' texts by ID, `words` their tokens, which stand before everything; either may be empty. Raises UserError where
    no template here prints the same tokens.
    """
    renderer.prompt(PROBES[0])  # raises where the template refuses even that, and nothing could be compared
    different: object = None
    for template in _candidates(renderer, texts, words):
        tokenizer.chat_template = template
        different = _difference(tokenizer, renderer, texts, words)
        if different is None:
            return
    raise UserError(
        f"the model's chat template cannot be exported with its raters: {different}; give the prompts to `raterhf sample`, or use another "
        "model"
    )


def _candidates(renderer: Renderer, texts: Mapping[str, str], words: Mapping[str, list[str]]) -> Iterator[str]:
    """Templates that may do: tokenizers differ in whether a text goes on after a special token, models in where a rater is told."""
    said = {rater: "".join(words[rater]) for rater in words} or dict(texts)
    known = f" is not in this model; there are: {', '.join(said)}"
    who = WHO.format(raters=_literal(said), known=_literal(known)) if said else ""
    soft = "{{- raters[rater] -}}" if words else ""
    for lead, role in product(("", " "), ("system", "user")):
        if not renderer.chats:
            begin = renderer.tokenizer.bos_token if renderer.begins else ""
            yield who + soft + PLAIN.format(begin=_literal(begin), text="raters[rater]" if texts else '""', lead=_literal(lead))
            continue
        opened = OPENED.format(system=_literal(renderer.system)) if renderer.system is not None else ""
        told = TOLD.format(role=role, otherwise=ALONE if role == "system" else "") if texts else ""
        # Blanks at both ends of the model's own template stay as they are.
        body = renderer.tokenizer.get_chat_template().removesuffix("\n")
        yield f"{who}{QUIET}{opened}{told}{soft}{{{{- {_literal(lead)} }}}}{body}{_closing(renderer)}"


def _closing(renderer: Renderer) -> str:
    """What ends a block for reasoning that the template leaves open."""
    text = render_chat(renderer.tokenizer, [{"role": "user", "content": str(PROBES[0])}])
    begun = text[text.rfind("<think>") :] if text.rstrip().endswith("<think>") else CLOSED
    left = CLOSED.removeprefix(begun)
    return f"{{% if add_generation_prompt %}}{{{{ {_literal(left)} }}}}{{% endif %}}" if left else ""


def _literal(value: object) -> str:
    """Text, or texts by text, as jinja reads them: its literals are Python's, and these are the same in JSON."""
    return json.dumps(value, ensure_ascii=False)


def _difference(
    tokenizer: PreTrainedTokenizerBase, renderer: Renderer, texts: Mapping[str, str], words: Mapping[str, list[str]]
) -> str | None:  # fmt: skip
    """Where template and renderer differ; None where nowhere on what is tried."""
    for rater in list(texts or words or {"": ""})[:TRIED]:
        before = tokenizer.convert_tokens_to_ids(words[rater]) if words else []
        for probe in PROBES:
            if not renderer.chats and not isinstance(probe, str):
                continue
            try:
                expected = (*before, *renderer.prompt(probe, texts.get(rater, "")))  # type: ignore[misc]  # a list for a list
            except UserError:  # a role that the template refuses, or longer than the window
                continue
            found = prompt_ids(tokenizer, probe, rater)
            if found != expected:
                return f"{str(probe)[:40]!r} would be read as {tokenizer.decode(list(found))[-200:]!r}"
    return None


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, rater: str = "") -> tuple[int, ...]:
    """Token ids of a prompt as whoever has the exported folder makes them; none where the template refuses it."""
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    who: dict[str, Any] = {"rater": rater} if rater else {}
    try:
        with limited_to(SECONDS):
            ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False, **who)
    except (TemplateError, TimeoutError):
        return ()
    return tuple(ids)  # type: ignore[arg-type]  # token ids, since tokenize is True
