"""Keys and values of texts that grow token by token, in room that is made once.

transformers' own cache is copied whole at every token, which took a third of the time of short samples; its static cache computes attention
over all of the room at every token. Here a token's keys are written beside the others, and attention reads those that are there.
"""

from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer


class RoomyLayer(DynamicLayer):
    """A layer's keys and values [N, H, L, d], row n continuing `row[n]` of another layer's, with room for so many tokens more."""

    def __init__(self, layer: DynamicLayer, row: Tensor, room: int):
        super().__init__()
        self.dtype, self.device, self.is_initialized = layer.dtype, layer.device, True
        self.room = tuple(self._make(x, row, room) for x in (layer.keys, layer.values))
        self._show(layer.keys.shape[-2])

    @staticmethod
    def _make(x: Tensor, row: Tensor, room: int) -> Tensor:
        made = x.new_empty(len(row), x.shape[1], x.shape[2] + room, x.shape[3])
        made[:, :, : x.shape[2]] = x[row]
        return made

    def _show(self, length: int) -> None:
        self.keys, self.values = (x[:, :, :length] for x in self.room)

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        before, more = self.keys.shape[-2], key_states.shape[-2]
        for room, new in zip(self.room, (key_states, value_states)):
            room.narrow(2, before, more).copy_(new)
        self._show(before + more)
        return self.keys, self.values


def continued(cache: Cache, row: Tensor, room: int) -> Cache:
    """The cache after which sample n continues `row[n]`, with room for so many tokens more where a layer keeps all it reads."""
    layers = [RoomyLayer(layer, row, room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    for layer in layers:
        if not isinstance(layer, RoomyLayer):
            layer.batch_select_indices(row)
    cache.layers = layers
    return cache
