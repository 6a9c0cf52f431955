"""Nothing mixes devices: models on a device that is not there, raters and data given on the CPU, and the same numbers as on the CPU."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_device import CPU, DEVICE, MixedDevices, OnDevice, fake_device
from small_run import CONFIG, one_gaussian

from raterhf.data.comparisons import ComparisonData, OwnAnswers
from raterhf.data.example import Example
from raterhf.data.renderer import Renderer
from raterhf.engine import scorer as scoring
from raterhf.engine.rater_policy import RaterPolicy
from raterhf.engine.sampler import Sampler
from raterhf.engine.scorer import Scorer, completion_log_probs
from raterhf.engine.session import Session
from raterhf.models.idiosyncratic import make_idiosyncratic
from raterhf.models.load import build_model, train_tokenizer
from raterhf.models.place import place
from raterhf.models.policy import Policy
from raterhf.models.reward import RewardModel
from raterhf.raters.batch import RaterBatch
from raterhf.raters.pool import RaterPool
from raterhf.raters.space import RaterSpace, unit_spread
from raterhf.recipe import PolicySettings
from raterhf.training.algorithms.base import Start, load_algorithm
from raterhf.training.monitor import Watched
from raterhf.training.objective import Objective
from raterhf.training.persistence import fit_persistence, linear_weights, mean_answers, persistence_weights
from raterhf.training.reward_module import RewardBatch, RewardModule, calibrate, evaluate, marginal_likelihood
from raterhf.training.stages.policy import progress

PROMPTS, ANSWERS = ["Pick a colour.", "Roll a die, please."], ["red", "maybe blue", "four"]
DIM, OWN = 2, 4
VECTORS = torch.randn(6, DIM + OWN, generator=torch.Generator().manual_seed(1))
RATERS = RaterBatch(VECTORS, torch.arange(6) == 5)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def device() -> Iterator[torch.device]:
    with fake_device() as device:
        yield device


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(PROMPTS + ANSWERS, 300)


@pytest.fixture(scope="module")
def renderer(tokenizer) -> Renderer:
    return Renderer(tokenizer, 48)


@pytest.fixture(scope="module")
def examples(renderer) -> list[Example]:
    return [renderer.example(prompt, answer) for prompt in PROMPTS for answer in ANSWERS]


def make_reward(tokenizer, conditioning: str | None = "head") -> RewardModel:
    lm, soft = build_model(CONFIG, tokenizer, 64, 0), conditioning is not None
    torch.manual_seed(0)
    taste = make_idiosyncratic(OWN if soft else 0, lm, tokenizer)
    model = RewardModel(lm.get_decoder(), DIM if soft else 0, 2, conditioning or "head", taste)
    if soft:
        torch.nn.init.normal_(taste.question)
    return model.eval()


def make_policy(tokenizer, soft: bool = True) -> Policy:
    lm = build_model(CONFIG, tokenizer, 64, 1)
    torch.manual_seed(0)
    return Policy(lm, DIM if soft else 0, 2, make_idiosyncratic(OWN if soft else 0, lm, tokenizer)).eval()


def make_pool() -> RaterPool:
    vectors = VECTORS[:3, :DIM].numpy()
    return RaterPool(["ann", "bob", "cy"], vectors, OWN, "embedding", {}, {}, {"": one_gaussian(0.0)})


def taste_of(raters: RaterBatch) -> RaterBatch:
    return RaterBatch(raters.vectors[:, :DIM], raters.null)


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Numbers on the device that are those of the CPU."""
    assert found.device == DEVICE and expected.device == CPU
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-5)


# The device itself


MIXES = {
    "sum": lambda there, here: there + here,
    "a number of the device beside the CPU": lambda there, here: here + there.sum(),
    "product": lambda there, here: there @ here.T,
    "put together": lambda there, here: torch.cat([there, here]),
    "chosen": lambda there, here: torch.where(here > 0, there, 0.0),
    "indices of the device": lambda there, here: here[(there > 0).nonzero()[:, 0]],
    "mask of the device": lambda there, here: here[there > 0],
    "rows by number": lambda there, here: there.index_select(0, torch.tensor([0])),
    "gathered": lambda there, here: there.gather(1, torch.tensor([[0], [1]])),
    "embedded": lambda there, here: torch.nn.functional.embedding(torch.tensor([0]), there),
    "written": lambda there, here: there.index_put((torch.tensor([0]),), here[:1]),
    "added in place": lambda there, here: there.add_(here),
    "read as numpy": lambda there, here: there.numpy(),
    "a generator of the CPU": lambda there, here: torch.randn(2, generator=torch.Generator(), device=there.device),
}


@pytest.mark.parametrize("mix", MIXES)
def test_the_fake_device_refuses_what_cuda_refuses(device, mix):
    with pytest.raises((MixedDevices, RuntimeError)) as error:
        MIXES[mix](torch.randn(2, 3, device=device), torch.randn(2, 3))
    assert error.type is MixedDevices or mix == "read as numpy"


def test_the_fake_device_allows_what_cuda_allows(device):
    there, here = torch.randn(2, 3, device=device), torch.randn(2, 3)
    assert isinstance(there, OnDevice) and there.device == DEVICE and there.new_zeros(2).device == DEVICE
    assert torch.equal((there + here.sum()).cpu(), there.cpu() + here.sum())
    for rows in (torch.tensor([1, 0]), [1, 0], np.array([1, 0])):
        assert torch.equal(there[rows].cpu(), there.cpu()[[1, 0]])
    assert there.cpu().numpy().tolist() == there.tolist() and float(there[0, 0]) == there.tolist()[0][0]
    assert torch.equal(torch.tensor([1, 2], device=device).cpu(), torch.tensor([1, 2]))
    there[:1] = here[:1]
    assert torch.equal(there[0].cpu(), here[0])
    layer = torch.nn.Linear(3, 2).to(device)
    layer(there).sum().backward()
    assert layer.weight.grad.device == DEVICE
    with pytest.raises(MixedDevices):
        layer(here)


# Scoring


@pytest.mark.parametrize("conditioning", ["head", "suffix", "prefix", None])
def test_scores(device, tokenizer, examples, conditioning):
    model = make_reward(tokenizer, conditioning)
    raters = RaterBatch.nobody(6) if conditioning is None else RATERS
    rows = torch.tensor([5, 0, 3, 3, 1, 2])
    with torch.no_grad():
        scorer = Scorer(model)
        expected = [scorer.pairs(examples, taste_of(raters), rows), scorer.matrix(examples, taste_of(raters))]
        expected += [scorer.utility(examples, raters), Scorer(model, deterministic=True).utility(examples, raters)]
        scorer = Scorer(place(model, device))
        found = [scorer.pairs(examples, taste_of(raters), rows), scorer.matrix(examples, taste_of(raters))]
        found += [scorer.utility(examples, raters), Scorer(model, deterministic=True).utility(examples, raters)]
    for there, here in zip(found, expected):
        assert_same(there, here)


@pytest.mark.parametrize("conditioning", ["head", "suffix", "prefix"])
def test_sessions(device, tokenizer, examples, conditioning):
    scorer = Scorer(place(make_reward(tokenizer, conditioning), device))
    prompts = [example.prompt.ids for example in examples]
    session, said = Session(scorer, prompts, taste_of(RATERS)), [example.ids[example.prompt_length :] for example in examples]
    session.extend([answer[:1] for answer in said])
    with torch.no_grad():
        assert_same(session.extend([answer[1:] for answer in said]), scorer.matrix(examples, taste_of(RATERS)).cpu())


# Sampling and log-probabilities


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("min_p", [0.0, 0.05])
def test_samples(device, tokenizer, examples, own, min_p):
    policy, prompts = make_policy(tokenizer), [example.prompt.ids for example in examples]

    def said() -> list[Example]:
        sampler = Sampler(policy, tokenizer.pad_token_id, tokenizer.eos_token_id, 6, min_p)
        return sampler.generate(prompts, RATERS, 3, 0.9, idiosyncratic=own)

    expected = said()
    place(policy, device)
    assert said() == expected


@pytest.mark.parametrize("chunk", [scoring.CHUNK_LOGITS, 1000])
def test_log_probs_and_their_gradients(device, tokenizer, examples, monkeypatch, chunk):
    monkeypatch.setattr(scoring, "CHUNK_LOGITS", chunk)  # a small one is computed again in the backward pass

    def run(policy: Policy) -> tuple[torch.Tensor, torch.Tensor]:
        log_prob, entropy = completion_log_probs(policy, examples, RATERS)
        (log_prob.sum() + entropy.sum()).backward()
        return log_prob.detach(), policy.reader.linear.weight.grad

    expected = run(make_policy(tokenizer))
    for there, here in zip(run(place(make_policy(tokenizer), device)), expected):
        assert_same(there, here)


def test_a_policy_and_its_raters(device, tokenizer, renderer, examples):
    asked = RaterPolicy("tiny", place(make_policy(tokenizer), device), renderer, make_pool(), "new", 4, 0.05)
    raters, contexts = asked.raters(6, 0), [example.ids[:-1] for example in examples]
    assert len(asked.texts(asked.answer(PROMPTS * 3, raters, 0))) == 6
    assert len(asked.go_on(contexts, raters, 0)) == 6
    assert np.isfinite(asked.log_probs(examples, raters)).all()
    found = asked.next_distributions(contexts, raters)
    on_cpu = replace(asked, policy=make_policy(tokenizer)).next_distributions(contexts, raters)
    np.testing.assert_allclose(np.exp(found), np.exp(on_cpu), atol=1e-5)


# Training


def start_on(device: torch.device, tokenizer, renderer: Renderer, settings: PolicySettings, pool: RaterPool | None) -> Start:
    soft = pool is not None
    policy, reference = (place(make_policy(tokenizer, soft), device) for _ in range(2))
    reward = place(make_reward(tokenizer, "head" if soft else None), device)
    objective = Objective(Scorer(reward.requires_grad_(False)), reference.requires_grad_(False), pool, 0)
    of_reference, of_policy = (Sampler(model, tokenizer.pad_token_id, tokenizer.eos_token_id, 6) for model in (reference, policy))
    return Start(policy, objective, of_reference, of_policy, renderer, PROMPTS, settings, 0, ComparisonData.nothing())


OPTIONS = {
    "rloo": [{"target_kl": 0.5}],
    "forward_kl": [{"choices": 2}, {"choices": 2, "idiosyncratic": False}],
    "reword": [{"choices": 2}],
    "best_of_n": [{"choices": 2}],
    "feedme": [{"choices": 2}],
}


@pytest.mark.parametrize("algorithm, options", [(name, options) for name, several in OPTIONS.items() for options in several])
@pytest.mark.parametrize("soft", [True, False])
def test_algorithms(device, tokenizer, renderer, algorithm, options, soft):
    settings = PolicySettings(
        steps=2, lr=1e-3, algorithm=algorithm, options=options, batch_size=12, prompts=2, raters=6, samples=4, max_new_tokens=6
    )

    def run(device: torch.device) -> torch.Tensor:
        start = start_on(device, tokenizer, renderer, settings, make_pool() if soft else None)
        made = load_algorithm(settings)(start)
        for step in range(3):
            torch.manual_seed(step)
            loss, log = made.loss(made.batch(step), step)
            loss.backward()
        assert all(torch.as_tensor(value).detach().isfinite() for value in log.values())
        return loss.detach()

    assert_same(run(device), run(CPU))


def comparisons(examples: list[Example]) -> ComparisonData:
    """Three raters, every comparison twice."""
    a, b = np.array([0, 3, 1, 4, 2, 5] * 2), np.array([1, 4, 2, 5, 0, 3] * 2)
    return ComparisonData(examples, a, b, np.array([1, -1, 0, 1, -1, 1, 1, 1, 0, 1, -1, 1]), np.arange(12) % 3, np.arange(12) % 2)


def module_on(device: torch.device, tokenizer, conditioning: str | None) -> RewardModule:
    model = make_reward(tokenizer, conditioning)
    torch.manual_seed(1)
    space = RaterSpace(3, DIM, 0.5) if conditioning else None
    return place(RewardModule(model, space, 0.1, None, 0, (0.5, 0.5)), device)


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
@pytest.mark.parametrize("conditioning", ["head", "suffix", "prefix", None])
def test_the_reward_stage(device, tokenizer, examples, conditioning):
    data, said = comparisons(examples), OwnAnswers(examples, np.arange(6) % 3, np.arange(6) // 3)
    batch = RewardBatch(data, data.off_topic(4, 48, np.random.default_rng(0)), said)

    def run(device: torch.device) -> list[torch.Tensor]:
        module = module_on(device, tokenizer, conditioning).train()
        loss = module.training_step((0, batch), 0)
        loss.backward()
        margin = evaluate(module, data, module.known(data.rater))
        calibrate(module, margin, torch.as_tensor(data.label, device=margin.device))
        if conditioning:
            unit_spread(module.space, module.model.reader)
        return [loss.detach(), module.model.head.weight.grad, margin, module.model.scale]

    expected = run(CPU)
    for there, here in zip(run(device), expected):
        assert_same(there, here)


def test_populations_are_compared(device, tokenizer, examples):
    data, draws = comparisons(examples), VECTORS[:, :DIM].numpy()
    expected = marginal_likelihood(module_on(CPU, tokenizer, "head"), data)(draws)
    assert marginal_likelihood(module_on(device, tokenizer, "head"), data)(draws) == pytest.approx(expected, abs=1e-5)


def test_what_persists_is_fitted_and_carried_to_a_policy(device, tokenizer, examples):
    data, taste = comparisons(examples), place(make_reward(tokenizer), device).idiosyncratic
    with torch.no_grad():
        asked, answers = mean_answers(taste, data.judged)
        features = Scorer(place(make_reward(tokenizer), device)).prompt_features(asked)
        for share in (taste.share(features), taste.share(features).cpu()):
            assert persistence_weights(features, share).device == DEVICE
        assert linear_weights(features, answers).device == DEVICE
    fitted = fit_persistence(features.cpu(), torch.tensor([True, False]), torch.tensor([1.0, -1.0]), torch.tensor(0.05))
    taste.persistence.copy_(fitted)
    assert taste.persistence.device == DEVICE


def test_what_is_watched(device, tokenizer, renderer):
    start = start_on(device, tokenizer, renderer, PolicySettings(steps=1, lr=1e-3), make_pool())
    watched = Watched(RaterPolicy("tiny", start.policy, renderer, make_pool(), "new", 4), PROMPTS)
    examples, raters = watched.answer(5, 0)
    with torch.no_grad():
        figures = progress(start.policy, start.objective, 0.05, examples, taste_of(raters))
    assert all(np.isfinite(value) for value in figures.values())
