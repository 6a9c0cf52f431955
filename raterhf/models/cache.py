"""Keys and values of texts that grow token by token, in room made ahead.

transformers' own cache is copied whole at every token, which took a third of the time of short samples; its static cache computes attention
over all of the room at every token. Here a token's keys are written beside the others, and attention reads those that are there.
"""

from typing import cast

from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

ROOM = 32  # tokens at first


class RoomyLayer(DynamicLayer):
    """A layer's keys and values [N, H, L, d], row n continuing `row[n]` of another layer's, with room that doubles when it is full."""

    keys: Tensor
    values: Tensor

    def __init__(self, layer: DynamicLayer, row: Tensor):
        super().__init__()
        self.dtype, self.device, self.is_initialized = layer.dtype, layer.device, True
        keys, values = cast(tuple[Tensor, Tensor], (layer.keys, layer.values))  # None only before it has read a text
        self.room = tuple(_roomier(x[row], ROOM) for x in (keys, values))
        self._show(keys.shape[-2])

    def _show(self, length: int) -> None:
        self.keys, self.values = (x[:, :, :length] for x in self.room)

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        before, more = self.keys.shape[-2], key_states.shape[-2]
        if before + more > self.room[0].shape[2]:
            self.room = tuple(_roomier(x, before + more) for x in (self.keys, self.values))
        for room, new in zip(self.room, (key_states, value_states)):
            room[:, :, before : before + more] = new
        self._show(before + more)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        length = self.keys.shape[-2]
        self.room = tuple(x[indices] for x in self.room)
        self._show(length)


def _roomier(x: Tensor, more: int) -> Tensor:
    """x [N, H, L, d] with room for so many tokens more."""
    made = x.new_empty(x.shape[0], x.shape[1], x.shape[2] + more, x.shape[3])
    made[:, :, : x.shape[2]] = x
    return made


def continued(cache: Cache, row: Tensor) -> Cache:
    """The cache after which sample n continues `row[n]`."""
    layers = [RoomyLayer(layer, row) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    for layer in layers:
        if not isinstance(layer, RoomyLayer):
            layer.batch_select_indices(row)  # type: ignore[union-attr]  # models with layers that have none are refused at loading
    cache.layers = layers
    return cache
