"""Idiosyncratic taste at sampling, as a logits processor of transformers that a folder carries with it.

`write_taste` writes `rater_taste.py`, made of the sources of what samples here, so that it draws the same tokens from the same seeds and
imports nothing of raterhf; and `rater_taste.safetensors` beside it. It needs the model's hidden states of the prompt, which vLLM gives to
no logits processor: there raters draw afresh.
"""

import inspect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedModel

from raterhf.engine.rater_policy import RaterPolicy
from raterhf.models import draw, idiosyncratic, policy
from raterhf.models.draw import sample_keys
from raterhf.models.idiosyncratic import IdiosyncraticSampling, IdiosyncraticTaste
from raterhf.models.policy import sampling_distributions, sayable_logits
from raterhf.raters.pool import Rater

SCRIPT, TENSORS = "rater_taste.py", "rater_taste.safetensors"
OPENING = '''\
"""Draws tokens as the raters of this folder do: what persists in a rater is said again when the same is asked again.

    sys.path.append(folder)
    from rater_taste import RaterTaste
    model.generate(**inputs, logits_processor=[RaterTaste(model, folder, seed=0)], num_return_sequences=5)

One prompt a call; its rater is read from its first tokens. Written by raterhf.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from math import ceil, isqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import LogitsProcessor, PreTrainedModel

ONCE = 0
GAMMA, MIX = {gamma:#x}, {mix}
'''


class Taste:
    """The tensors of `IdiosyncraticTaste`, and what it does with them."""

    BUCKETS = IdiosyncraticTaste.BUCKETS
    share, questions, turned = IdiosyncraticTaste.share, IdiosyncraticTaste.questions, IdiosyncraticTaste.turned

    def __init__(self, tensors: dict[str, Tensor]):
        self.__dict__.update(tensors)


class RaterTaste(LogitsProcessor):
    """Draws the tokens of one `generate` call, for samples of one prompt; everything else gets the score -inf.

    The tokens are a function of the seed, the rater and the prompt. `temperature` is given here and left at 1 in `generate`.
    """

    def __init__(self, model: PreTrainedModel, folder: str | Path, seed: int = 0, temperature: float = 1.0):
        with safe_open(Path(folder) / "rater_taste.safetensors", "pt", device=str(model.device)) as file:
            self.about = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        self.own = tensors.pop("own")
        self.model, self.seed, self.temperature = model, seed, temperature
        self.taste: Any = Taste(tensors)
        self.begun = self.read = -1  # tokens of the prompt, and of what was read last

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if input_ids.shape[1] != self.read + 1:
            self.begun, self.sampling = input_ids.shape[1], self._begin(input_ids)
        self.read = input_ids.shape[1]
        about, fold = self.about, self.taste.fold
        logits = sayable_logits(scores[:, : len(fold)].float(), about["ends"], about["vocabulary"])
        distributions = sampling_distributions(logits, about["min_p"], self.temperature)
        rows = torch.arange(len(scores), device=scores.device)
        token = self.sampling(input_ids[:, self.begun :], distributions, rows)
        return torch.full_like(scores, -torch.inf).scatter(1, token[:, None], 0.0)

    @torch.no_grad()
    def _begin(self, input_ids: Tensor) -> IdiosyncraticSampling:
        """What samples of this prompt are drawn by. Raises ValueError where the rows are different prompts, or begin with no rater."""
        if (input_ids != input_ids[:1]).any():
            raise ValueError("the rows are different prompts; call generate once for each, and num_return_sequences for several samples")
        raters, soft = self.about["raters"], self.about["tokens"]
        rater = next((name for name in raters if raters[name] == input_ids[0, :soft].tolist()), None)
        if rater is None:
            raise ValueError(f"the prompt begins with no rater's tokens; give one to the chat template: {', '.join(raters)}")
        prompt = input_ids[:1, soft:]
        nobody = torch.tensor([raters["none"]], device=prompt.device)
        states = self.model.get_decoder()(torch.cat([nobody, prompt], 1)).last_hidden_state[:, soft:].float()
        features = torch.cat([states.mean(1), states[:, -1]], 1).expand(len(input_ids), -1)
        own = self.taste.turned(self.own[list(raters).index(rater)].expand(len(input_ids), -1), features)
        share = self.taste.share(features) * (rater != "none")
        key = sample_keys(self.seed, [tuple(prompt[0].tolist())] * len(input_ids), [rater] * len(input_ids))
        return IdiosyncraticSampling(self.taste, own, share, key.to(prompt.device))


def write_taste(folder: Path, asked: RaterPolicy, people: Sequence[Rater], words: dict[str, list[int]]) -> None:
    """Write the processor and its tensors into a folder. `words` are the token ids of the raters, nobody's among them."""
    taste, reader = asked.policy.idiosyncratic, asked.policy.reader
    assert taste is not None and reader is not None and asked.pool is not None  # a policy that has it has all of these
    names = ("directions", "frequencies", "persistence", "question", "fold", "starts_word", "blank")
    tensors = {name: getattr(taste, name) for name in names} | {"own": asked.batch(people).idiosyncratic(reader.dim, taste.dim)}
    about = {
        "raters": words, "tokens": reader.tokens, "ends": list(asked.policy.ends), "vocabulary": asked.policy.vocabulary,
        "min_p": asked.min_p,
    }  # fmt: skip
    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, folder / TENSORS, {"about": json.dumps(about)})
    (folder / SCRIPT).write_text(_script(), "utf-8")


def _script() -> str:
    """The processor, and all that it calls, as one file."""
    of_draw = (draw.key_of, draw.sample_keys, draw.uniforms, draw.draw, draw._mixed, draw._right, draw._signed)
    of_policy = (policy.sayable_logits, policy.sampling_distributions)
    sampling = (idiosyncratic.gumbel_of_normal, idiosyncratic.IdiosyncraticSampling)
    methods = (IdiosyncraticTaste.share, IdiosyncraticTaste.questions, IdiosyncraticTaste.turned)
    taste = (
        f"class Taste:\n    BUCKETS = {IdiosyncraticTaste.BUCKETS}\n\n    def __init__(self, tensors: dict[str, Tensor]):\n"
        "        self.__dict__.update(tensors)\n\n" + "\n".join(inspect.getsource(one) for one in methods)
    )
    parts: list[Callable] = [*of_draw, *of_policy, *sampling]
    sources = [*(inspect.getsource(part) for part in parts), taste, inspect.getsource(RaterTaste)]
    return OPENING.format(gamma=draw.GAMMA, mix=draw.MIX) + "\n\n" + "\n\n\n".join(source.rstrip() for source in sources) + "\n"
