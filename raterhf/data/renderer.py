"""The one place that renders examples into token ids.

A rendered example is `tokenizer(prompt with the rater's text) + tokenizer(completion) + [eos]`, for training and scoring alike. To a chat
model (a tokenizer with a chat template) a prompt that is text is a user's turn, unless `model.chat` is never. A conversation goes through
the template, which says how it begins; `model.system` opens it where it has no system message. The rater's text opens the system message,
or where the template has none the first user message. Answers are without reasoning: where the template opens a block for it, the block is
closed before the answer.

Any other prompt begins with the tokenizer's BOS where it puts one before texts, then comes the rater's text, then the prompt, which ends in
a newline (one is added where it has no white space at its end), so that prompt and completion never share a token. Nothing is truncated: an
example longer than the window is an error.

`model.chat` and `model.system` are kept in the tokenizer (`set_chat`), so that every folder it is saved into is read alike.
"""

import re
from collections.abc import Iterable

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from raterhf.data.chat_template import render_chat
from raterhf.data.example import Example
from raterhf.errors import UserError

NO_SYSTEM = "put its text into the prompts, or use a model whose template has the role"
SAVED = "raterhf"  # the key of tokenizer_config.json that holds model.chat and model.system


def set_chat(tokenizer: PreTrainedTokenizerBase, chat: str, system: str | None) -> None:
    """Decide how prompts are put to the model of this tokenizer, from now on and wherever it is saved. Raises UserError where its template
    has no system message for `system` to be.
    """
    tokenizer.init_kwargs[SAVED] = {"chat": chat, "system": system}
    if system is None:
        return
    if tokenizer.chat_template is None:
        raise UserError(
            "model.system opens conversations, but the model's tokenizer has no chat template; leave it out, or use a chat model"
        )
    try:
        told = _templated(tokenizer, [{"role": "system", "content": system}, {"role": "user", "content": "?"}])
    except TemplateError as error:
        raise UserError(f"model.system: the model's chat template refuses the role system ({error}); {NO_SYSTEM}") from error
    if system.strip() not in told:
        raise UserError(f"model.system: the model's chat template leaves out what the role system says; {NO_SYSTEM}")


class Renderer:
    """Prompt, completion and rater text -> token ids. Remembers what it has rendered."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int):
        if tokenizer.eos_token_id is None or tokenizer.pad_token_id is None:
            raise UserError(
                f"tokenizer of {tokenizer.name_or_path or 'the model'} has no EOS or no pad token; both are needed: "
                "set them with tokenizer.add_special_tokens and save the folder again"
            )
        self.tokenizer, self.max_length = tokenizer, max_length
        begun = list(tokenizer("a")["input_ids"])[:1]
        self._begin = tuple(begun) if begun and begun[0] == tokenizer.bos_token_id else ()
        saved = tokenizer.init_kwargs.get(SAVED, {"chat": "auto", "system": None})
        self.chats, self.system = tokenizer.chat_template is not None and saved["chat"] == "auto", saved["system"]
        self._cache: dict[str, tuple[int, ...]] = {}
        self._heads: dict[tuple[str, str, bool], tuple[int, ...]] = {}

    @property
    def begins(self) -> bool:
        """Whether a prompt that is text begins with the tokenizer's BOS."""
        return bool(self._begin)

    def _tokens(self, text: str) -> tuple[int, ...]:
        if text not in self._cache:
            self._cache[text] = tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return self._cache[text]

    def conversation(self, prompt: str | list[dict]) -> str | list[dict]:
        """A prompt as it is put to the model: the messages of a conversation, or text where the model is no chat model."""
        if isinstance(prompt, str):
            if not self.chats:
                return prompt
            prompt = [{"role": "user", "content": prompt}]
        opened = self.system is None or any(message["role"] == "system" for message in prompt)
        return prompt if opened else [{"role": "system", "content": self.system}, *prompt]

    def prompt_text(self, prompt: str | list[dict], rater_text: str = "") -> str:
        """A prompt as it is tokenised. Raises UserError where the chat template refuses it."""
        prompt = self.conversation(prompt)
        if isinstance(prompt, str):
            return rater_text + (prompt if prompt[-1:].isspace() else prompt + "\n")
        if self.tokenizer.chat_template is None:
            raise UserError("the data hold conversations, but the tokenizer has no chat template; use text prompts or another model")
        refused = None
        for messages in [_told(prompt, rater_text, role) for role in ("system", "user")] if rater_text else [prompt]:
            try:
                text = _templated(self.tokenizer, messages)
            except TemplateError as error:
                refused = error
                continue
            if rater_text.strip() in text:  # some templates leave out a system message without a word
                return text
        raise self._refusal(prompt, refused)

    def _refusal(self, prompt: list[dict], error: TemplateError | None) -> UserError:
        roles, begun = [message["role"] for message in prompt], f"conversation {str(prompt)[:60]!r}: the model's chat template"
        if error is None:
            return UserError(f"{begun} leaves out the rater's text; use raters.encoding=embedding, or another model")
        for role in sorted({*roles} - {"user", "assistant"}):
            try:
                _templated(self.tokenizer, [message for message in prompt if message["role"] != role])
            except TemplateError:
                continue
            remedy = "put its text into a user message, or use a model whose template has the role"
            return UserError(f"{begun} refuses the role {role} ({error}); {remedy}")
        remedy = "let user and assistant alternate, user first, or use another model"
        return UserError(f"{begun} refuses the roles {', '.join(roles)} ({error}); {remedy}")

    def different(self, prompts: Iterable[str | list[dict]]) -> list[str | list[dict]]:
        """Prompts without those that are the same token ids, in the order in which they appear first."""
        return list({self._head(prompt, ""): prompt for prompt in prompts}.values())

    def prompt(self, prompt: str | list[dict], rater_text: str = "") -> tuple[int, ...]:
        """Token ids of a prompt to generate from. Raises UserError where it leaves no room in the window."""
        ids = self._head(prompt, rater_text)
        if len(ids) >= self.max_length:
            raise UserError(
                f"prompt {str(prompt)[:60]!r} has {len(ids)} tokens, the window (model.max_length) {self.max_length}; "
                "shorten the prompt or raise model.max_length"
            )
        return ids

    def length(self, prompt: str | list[dict], completion: str, rater_text: str = "") -> int:
        return len(self._head(prompt, rater_text)) + len(self._tokens(completion)) + 1

    def _head(self, prompt: str | list[dict], rater_text: str) -> tuple[int, ...]:
        key = (str(prompt), rater_text, isinstance(prompt, str))
        if key not in self._heads:
            begin = self._begin if isinstance(self.conversation(prompt), str) else ()
            self._heads[key] = begin + self._tokens(self.prompt_text(prompt, rater_text))
        return self._heads[key]

    def example(self, prompt: str | list[dict], completion: str, rater_text: str = "") -> Example:
        """Token ids of prompt + completion + EOS. Raises UserError where they do not fit the window."""
        head = self.prompt(prompt, rater_text)
        ids = head + self._tokens(completion) + (self.tokenizer.eos_token_id,)
        if len(ids) > self.max_length:
            raise UserError(
                f"example {(str(prompt) + ' ' + completion)[:80]!r} has {len(ids)} tokens, the window (model.max_length) "
                f"{self.max_length}; shorten it, or train with a larger model.max_length"
            )
        return Example(ids, len(head))


def _templated(tokenizer: PreTrainedTokenizerBase, messages: list[dict]) -> str:
    return re.sub(r"<think>\s*$", "<think>\n\n</think>\n\n", render_chat(tokenizer, messages))


def _told(messages: list[dict], text: str, role: str) -> list[dict]:
    """A conversation with `text` before its first message of a role; where there is no system message, with one of `text` alone."""
    first = next((i for i, message in enumerate(messages) if message["role"] == role), None)
    if first is None:
        return [{"role": "system", "content": text.strip()}, *messages] if role == "system" else messages
    told = messages[first] | {"content": text + messages[first]["content"]}
    return [*messages[:first], told, *messages[first + 1 :]]
