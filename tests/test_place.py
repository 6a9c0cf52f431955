"""Models move whole, and only their language models change precision."""

import pytest
import torch
from small_run import CONFIG

from raterhf.models.idiosyncratic import make_idiosyncratic
from raterhf.models.load import build_model, train_tokenizer
from raterhf.models.place import place
from raterhf.models.policy import Policy
from raterhf.models.reward import RewardModel

META = torch.device("meta")


@pytest.fixture(params=["policy", "reward"])
def model(request):
    tokenizer = train_tokenizer(["Roll a die. 1 2 3 4 5 6"], 300)
    lm = build_model(CONFIG, tokenizer, 48, 0)
    taste = make_idiosyncratic(2, lm, tokenizer)
    return Policy(lm, 2, 2, taste) if request.param == "policy" else RewardModel(lm.get_decoder(), 2, 2, "suffix", taste)


def tensors(model) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def test_every_tensor_moves(model):
    assert place(model, META) is model
    assert {tensor.device for tensor in tensors(model).values()} == {META}


def test_precision_changes_in_the_language_model_alone(model):
    before = {name: tensor.clone() for name, tensor in tensors(model).items()}
    place(model, dtype=torch.bfloat16)
    for name, tensor in tensors(model).items():
        trunk = name.startswith(("lm.", "backbone.")) and "inv_freq" not in name
        wanted = torch.bfloat16 if trunk and before[name].is_floating_point() else before[name].dtype
        assert tensor.dtype == wanted, name
        assert torch.equal(tensor, before[name].to(wanted))
    assert any(tensor.dtype == torch.bfloat16 for tensor in tensors(model).values())
    assert {tensor.device for tensor in tensors(model).values()} == {torch.device("cpu")}


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_stays(model, training):
    assert place(model.train(training), META, torch.bfloat16).training is training


def test_a_language_model_alone_is_placed_too(model):
    trunk = model.lm if isinstance(model, Policy) else model.backbone
    assert place(trunk, dtype=torch.bfloat16).dtype == torch.bfloat16


def test_nothing_given_changes_nothing(model):
    before = {name: (tensor.device, tensor.dtype, tensor.clone()) for name, tensor in tensors(model).items()}
    place(model)
    for name, tensor in tensors(model).items():
        assert (tensor.device, tensor.dtype) == before[name][:2] and torch.equal(tensor, before[name][2])
