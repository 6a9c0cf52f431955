"""The one place that renders examples into token ids.

A rendered example is `tokenizer(rater text + prompt) + tokenizer(completion) + [eos]`, for training and scoring alike. A plain prompt
ends in a newline (one is added where it has no white space at its end), so that prompt and completion never share a token, and begins
with the tokenizer's BOS where it puts one before texts; a conversation goes through the tokenizer's chat template, which says how it
begins. Nothing is truncated: an example longer than the window is an error.
"""

from transformers import PreTrainedTokenizerBase

from raterhf.data.example import Example
from raterhf.errors import UserError


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
        self._cache: dict[str, tuple[int, ...]] = {}

    def _tokens(self, text: str) -> tuple[int, ...]:
        if text not in self._cache:
            self._cache[text] = tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return self._cache[text]

    def prompt_text(self, prompt: str | list[dict]) -> str:
        if isinstance(prompt, str):
            return prompt if prompt[-1:].isspace() else prompt + "\n"
        if self.tokenizer.chat_template is None:
            raise UserError("the data hold conversations, but the tokenizer has no chat template; use text prompts or another model")
        return self.tokenizer.apply_chat_template(list(prompt), tokenize=False, add_generation_prompt=True)

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
        return (self._begin if isinstance(prompt, str) else ()) + self._tokens(rater_text + self.prompt_text(prompt))

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
