"""Rendering into token ids, and batches that are a function of the step."""

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from raterhf.data.batches import StepRows
from raterhf.data.example import Example, budget_batches, collate
from raterhf.data.prepare import Window
from raterhf.data.renderer import Renderer, set_chat
from raterhf.errors import UserError
from raterhf.models.load import build_model, load_tokenizer, train_tokenizer
from raterhf.recipe_reader import parse_recipe

TINY = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1}
CHAT = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["Name a colour.\nred", "Name a colour.\nblue", "A die is rolled."], 300)


def text_of(tokenizer, ids) -> str:
    return tokenizer.decode(ids)


def test_a_prompt_ends_in_white_space(tokenizer):
    renderer = Renderer(tokenizer, 64)
    assert renderer.prompt_text("Name a colour.") == "Name a colour.\n"
    assert renderer.prompt_text("Name a colour.\n") == "Name a colour.\n"
    assert renderer.prompt_text("Colour: ") == "Colour: "
    assert renderer.prompt_text("") == "\n"
    assert text_of(tokenizer, renderer.prompt("Name a colour.", "Rater 7: ")) == "Rater 7: Name a colour.\n"


def test_an_example_is_prompt_completion_and_one_eos(tokenizer):
    example = Renderer(tokenizer, 64).example("Name a colour.", "red", "Rater 7: ")
    assert text_of(tokenizer, example.ids[: example.prompt_length]) == "Rater 7: Name a colour.\n"
    assert text_of(tokenizer, example.ids[example.prompt_length : -1]) == "red"
    assert example.ids[-1] == tokenizer.eos_token_id
    assert example.ids.count(tokenizer.eos_token_id) == 1
    assert tokenizer.pad_token_id not in example.ids
    assert example.prompt.ids == example.ids[: example.prompt_length]
    assert len(example) == Renderer(tokenizer, 64).length("Name a colour.", "red", "Rater 7: ")


def test_prompt_and_completion_never_share_a_token(tokenizer):
    renderer = Renderer(tokenizer, 64)
    for prompt in ("Name a colour.", "Name a col", "Name a colour.\n", "Name a ", "x"):
        heads = {renderer.example(prompt, text).ids[: len(renderer.prompt(prompt))] for text in ("red", "our.", "\nred", " ", "1")}
        assert heads == {renderer.prompt(prompt)}
    assert renderer.example("x", "").ids == (*renderer.prompt("x"), tokenizer.eos_token_id)


def test_too_long_an_example_is_an_error_and_nothing_is_cut(tokenizer):
    length = Renderer(tokenizer, 64).length("Name a colour.", "red")
    assert len(Renderer(tokenizer, length).example("Name a colour.", "red")) == length
    with pytest.raises(UserError, match=rf"has {length} tokens, the window \(model.max_length\) {length - 1}; .*larger model.max_length"):
        Renderer(tokenizer, length - 1).example("Name a colour.", "red")
    with pytest.raises(UserError, match="prompt 'Name a colour.' has .* shorten the prompt"):
        Renderer(tokenizer, 4).prompt("Name a colour.")


def test_a_conversation_goes_through_the_chat_template():
    tokenizer = train_tokenizer(["Name a colour.\nred"], 300)
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a colour."}]
    with pytest.raises(UserError, match="no chat template"):
        Renderer(tokenizer, 96).prompt(talk)
    tokenizer.chat_template = CHAT
    example = Renderer(tokenizer, 96).example(talk, "red")
    assert text_of(tokenizer, example.prompt.ids) == "<system>Be brief.\n<user>Name a colour.\n<assistant>"
    assert text_of(tokenizer, example.ids[example.prompt_length : -1]) == "red"


def chats(template: str):
    """A renderer of conversations whose tokenizer puts <bos> before texts, as many do."""
    tokenizer = train_tokenizer(["Name a colour.\nred"], 300)
    tokenizer.add_special_tokens({"bos_token": "<bos>"})
    tokenizer._tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)])
    tokenizer.chat_template = template
    return Renderer(tokenizer, 200)


USER = [{"role": "user", "content": "Name a colour."}]
BRIEF = [{"role": "system", "content": "Be brief."}, *USER]
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHAT
SILENT = CHAT.replace("in messages %}", "in messages if message.role != 'system' %}")
ALTERNATE = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('must alternate') }}{% endif %}"
    "{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "prompt", "text"),
    [
        (CHAT, "Name a colour.", "<bos><system>Rater 7:\n<user>Name a colour.\n<assistant>"),
        (CHAT, USER, "<bos><system>Rater 7:\n<user>Name a colour.\n<assistant>"),
        (CHAT, BRIEF, "<bos><system>Rater 7: Be brief.\n<user>Name a colour.\n<assistant>"),
        (NO_SYSTEM, USER, "<bos><user>Rater 7: Name a colour.\n<assistant>"),
        (SILENT, USER, "<bos><user>Rater 7: Name a colour.\n<assistant>"),
        (SILENT, BRIEF, "<bos><user>Rater 7: Name a colour.\n<assistant>"),
    ],
)
def test_a_raters_text_stands_behind_bos_and_in_the_conversation(template, prompt, text):
    renderer = chats("<bos>" + template)
    assert text_of(renderer.tokenizer, renderer.prompt(prompt, "Rater 7: ")) == text
    example = renderer.example(prompt, "red", "Rater 7: ")
    assert example.prompt.ids == renderer.prompt(prompt, "Rater 7: ")
    assert len(example) == renderer.length(prompt, "red", "Rater 7: ")


def test_nobodys_text_leaves_a_conversation_as_it_is():
    renderer = chats("<bos>" + CHAT)
    assert text_of(renderer.tokenizer, renderer.prompt(USER)) == "<bos><user>Name a colour.\n<assistant>"


def test_prompts_that_render_alike_are_one():
    renderer = chats("<bos>" + CHAT)
    # To a chat model a text is a user's turn.
    assert renderer.different(["b", "a", USER, "b", "Name a colour.", list(USER)]) == ["b", "a", USER]
    set_chat(renderer.tokenizer, "never", None)
    renderer = Renderer(renderer.tokenizer, 200)
    prompts = ["b\n", "a", USER, "b", list(USER), renderer.prompt_text(USER)]
    # The conversation as text is another prompt: a text begins with a <bos> of its own.
    assert renderer.different(prompts) == ["b", "a", USER, renderer.prompt_text(USER)]


@pytest.mark.parametrize(
    ("chat", "system", "prompt", "text"),
    [
        ("auto", None, "Name a colour.", "<bos><user>Name a colour.\n<assistant>"),
        ("auto", None, USER, "<bos><user>Name a colour.\n<assistant>"),
        ("auto", "Be kind.", "Name a colour.", "<bos><system>Be kind.\n<user>Name a colour.\n<assistant>"),
        ("auto", "Be kind.", USER, "<bos><system>Be kind.\n<user>Name a colour.\n<assistant>"),
        ("auto", "Be kind.", BRIEF, "<bos><system>Be brief.\n<user>Name a colour.\n<assistant>"),
        ("never", None, "Name a colour.", "<bos>Name a colour.\n"),
        ("never", None, USER, "<bos><user>Name a colour.\n<assistant>"),
    ],
)
def test_a_text_to_a_chat_model_is_a_users_turn_wherever_its_tokenizer_was_saved(chat, system, prompt, text, tmp_path):
    tokenizer = chats("<bos>" + CHAT).tokenizer
    set_chat(tokenizer, chat, system)
    build_model(TINY, tokenizer, 64, 0).save_pretrained(tmp_path / "a")
    tokenizer.save_pretrained(tmp_path / "a")
    load_tokenizer(tmp_path / "a").save_pretrained(tmp_path / "b")
    for read in (tokenizer, AutoTokenizer.from_pretrained(tmp_path / "a"), AutoTokenizer.from_pretrained(tmp_path / "b")):
        assert text_of(read, Renderer(read, 200).prompt(prompt)) == text


def test_a_raters_text_stands_before_the_system_message_of_the_recipe():
    tokenizer = chats("<bos>" + CHAT).tokenizer
    set_chat(tokenizer, "auto", "Be kind.")
    told = Renderer(tokenizer, 200).prompt("Name a colour.", "Rater 7: ")
    assert text_of(tokenizer, told) == "<bos><system>Rater 7: Be kind.\n<user>Name a colour.\n<assistant>"


def test_a_system_message_that_the_template_has_no_place_for_is_refused():
    with pytest.raises(UserError, match=r"model.system: .* refuses the role system \(System role not supported\); put its text into"):
        set_chat(chats(NO_SYSTEM).tokenizer, "auto", "Be kind.")
    with pytest.raises(UserError, match=r"model.system: .* leaves out what the role system says"):
        set_chat(chats(SILENT).tokenizer, "auto", "Be kind.")
    with pytest.raises(UserError, match="model.system opens conversations, but .* no chat template"):
        set_chat(train_tokenizer(["red"], 300), "auto", "Be kind.")
    with pytest.raises(UserError, match="`model.system` opens conversations, and `model.chat` never makes a text one"):
        parse_recipe({"name": "x", "data": {}, "model": {"chat": "never", "system": "Be kind."}}, "x.yaml")


@pytest.mark.parametrize(
    ("opening", "closed"),
    [
        ("<think>\n", "<think>\n\n</think>\n\n"),
        ("<think>", "<think>\n\n</think>\n\n"),
        ("{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}", "<think>\n\n</think>\n\n"),
        ("", ""),
    ],
)
def test_a_block_for_reasoning_is_closed_before_an_answer_without(opening, closed):
    renderer = chats(CHAT.replace("<assistant>", "<assistant>" + opening))
    example = renderer.example(USER, "red")
    assert text_of(renderer.tokenizer, example.ids[:-1]) == f"<user>Name a colour.\n<assistant>{closed}red"


def test_a_role_that_the_template_refuses_is_named():
    with pytest.raises(UserError, match=r"refuses the role system \(System role not supported\); put its text into a user message"):
        chats(NO_SYSTEM).prompt(BRIEF)
    with pytest.raises(UserError, match=r"refuses the role system \(System role not supported\)"):
        chats(NO_SYSTEM).prompt(BRIEF, "Rater 7: ")
    with pytest.raises(UserError, match=r"refuses the roles user, user \(must alternate\); let user and assistant alternate"):
        chats(ALTERNATE + CHAT).prompt(USER * 2)
    with pytest.raises(UserError, match="leaves out the rater's text"):
        chats("{% for message in messages %}{{ message.content | replace('Rater', '') }}{% endfor %}").prompt(USER, "Rater 7: ")


def test_the_row_that_a_template_refuses_is_named():
    frame = pd.DataFrame({"prompt": [USER, BRIEF], "completion": ["red", "blue"], "rater_id": ["r0", "r1"]}, index=[3, 5])
    with pytest.raises(UserError, match=r"^demonstrations, row 6 as read, by rater r1: conversation .* refuses the role system"):
        Window(chats(NO_SYSTEM), 0.0).keep("demonstrations", frame, ["completion"], ["", ""])


def test_a_tokenizer_without_pad_or_eos_is_an_error():
    tokenizer = train_tokenizer(["red"], 300)
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="no EOS or no pad token"):
        Renderer(tokenizer, 8)


@pytest.mark.parametrize(
    ("side", "ids", "mask", "answer"),
    [
        ("right", [[5, 6, 7, 1], [5, 1, 0, 0]], [[1, 1, 1, 1], [1, 1, 0, 0]], [[0, 0, 1, 1], [0, 1, 0, 0]]),
        ("left", [[5, 6, 7, 1], [0, 0, 5, 1]], [[1, 1, 1, 1], [0, 0, 1, 1]], [[0, 0, 1, 1], [0, 0, 0, 1]]),
    ],
)
def test_collate(side, ids, mask, answer):
    batch = collate([Example((5, 6, 7, 1), 2), Example((5, 1), 1)], pad_id=0, side=side)
    assert batch.ids.tolist() == ids and batch.ids.dtype == torch.long
    assert batch.mask.int().tolist() == mask
    assert batch.answer.int().tolist() == answer


@pytest.mark.parametrize("budget", [1, 10, 64, 10_000])
def test_budget_batches_cover_everything_once_within_the_budget(budget):
    lengths = np.random.default_rng(0).integers(1, 40, size=200).tolist()
    batches = budget_batches(lengths, budget)
    assert sorted(np.concatenate(batches).tolist()) == list(range(200))
    for rows in batches:
        assert len(rows) == 1 or len(rows) * max(lengths[i] for i in rows) <= budget
    assert budget_batches([], budget) == []


def test_budget_batches_by_hand():
    # in order of length 1, 2, 3, 5: two of width 2 fit into 6 tokens, three of width 3 do not
    assert [rows.tolist() for rows in budget_batches([5, 1, 3, 2], 6)] == [[1, 3], [2], [0]]


@pytest.mark.parametrize("block", [1, 3])
def test_every_example_once_an_epoch(block):
    groups = np.arange(24) % 5
    epochs = [[StepRows(groups, 6, block, seed=1)(4 * epoch + step) for step in range(4)] for epoch in range(3)]
    for parts in epochs:
        assert sorted(np.concatenate(parts).tolist()) == list(range(24))
    assert [p.tolist() for p in epochs[0]] != [p.tolist() for p in epochs[1]]


def test_a_batch_size_that_does_not_divide_leaves_less_than_a_batch_out():
    seen = np.concatenate([StepRows(np.zeros(10, np.int64), 4, 1, seed=0)(step) for step in range(2)])
    assert len(set(seen.tolist())) == 8
    # what one epoch leaves out, others hold
    assert len({i for step in range(10) for i in StepRows(np.zeros(10, np.int64), 4, 1, seed=0)(step)}) == 10


def test_batches_are_a_function_of_seed_and_step():
    groups = np.random.default_rng(0).integers(0, 6, size=50)
    rows = StepRows(groups, 8, 4, seed=3)
    there = [rows(step).tolist() for step in range(40)]
    back = [rows(step).tolist() for step in reversed(range(40))]
    assert there == back[::-1]
    assert there != [StepRows(groups, 8, 4, seed=4)(step).tolist() for step in range(40)]


def test_blocks_hold_one_group():
    groups = np.repeat(np.arange(5), 8)
    order = np.concatenate([StepRows(groups, 8, 4, seed=0)(step) for step in range(5)])
    blocks = groups[order].reshape(10, 4)
    assert (blocks == blocks[:, :1]).all()
    # blocks, not whole groups: the two blocks of a group are not always neighbours
    assert any(blocks[i, 0] != blocks[i + 1, 0] for i in range(0, 10, 2))


@pytest.mark.parametrize("block", [1, 2, 64])
@pytest.mark.parametrize("n", [1, 3, 7])
def test_a_batch_size_above_the_number_of_examples_gives_all_of_them(n, block):
    groups = np.arange(n) % 2
    for step in range(5):
        assert sorted(StepRows(groups, 8, block, seed=0)(step).tolist()) == list(range(n))


def test_the_order_of_an_epoch_is_made_once():
    """A step costs the same however many examples there are; each made, and hashed, an array of all of them."""
    rows = StepRows(np.arange(24) % 5, 6, 3, seed=1)
    rows(0)
    first = rows.order
    rows(3)
    assert rows.order is first
    rows(4)
    assert rows.order is not first
