"""Keys in room made once are those that copying would give."""

import torch
from transformers import AutoConfig, DynamicCache
from transformers.cache_utils import DynamicSlidingWindowLayer

from raterhf.models.cache import RoomyLayer, continued

ROW = torch.tensor([1, 0, 1])


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def filled(**config) -> DynamicCache:
    """A cache of two layers that has read 5 tokens of 2 texts."""
    cache = DynamicCache(config=AutoConfig.for_model("qwen3", num_hidden_layers=2, **config))
    for layer in range(2):
        cache.update(draw(2, 4, 5, 8), draw(2, 4, 5, 9), layer)
    return cache


def test_keys_are_those_of_copying():
    ours, theirs = continued(filled(), ROW), filled()
    theirs.batch_select_indices(ROW)
    assert all(type(layer) is RoomyLayer for layer in ours.layers)
    for tokens in (1, 2, 40):  # the last are more than there is room for
        for layer in range(2):
            new = draw(3, 4, tokens, 8), draw(3, 4, tokens, 9)
            for found, expected in zip(ours.update(*new, layer), theirs.update(*new, layer)):
                torch.testing.assert_close(found, expected, rtol=0, atol=0)
        assert ours.get_seq_length() == theirs.get_seq_length()
        assert ours.get_mask_sizes(1, 0) == theirs.get_mask_sizes(1, 0)
    assert ours.layers[0].keys.shape[2] == 48


def test_texts_that_ended_are_left_out_and_the_others_go_on():
    ours, theirs = continued(filled(), ROW), filled()
    theirs.batch_select_indices(ROW)
    for rows in (torch.tensor([0, 2]), torch.tensor([1])):
        ours.batch_select_indices(rows)
        theirs.batch_select_indices(rows)
        for layer in range(2):
            new = draw(len(rows), 4, 1, 8), draw(len(rows), 4, 1, 9)
            for found, expected in zip(ours.update(*new, layer), theirs.update(*new, layer)):
                torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_layers_that_forget_stay_what_they_are():
    config = {"use_sliding_window": True, "sliding_window": 4, "layer_types": ["full_attention", "sliding_attention"]}
    cache = continued(filled(**config), ROW)
    assert [type(layer) for layer in cache.layers] == [RoomyLayer, DynamicSlidingWindowLayer]
    assert len(cache.layers[1].keys) == 3
