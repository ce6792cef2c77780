"""What a model remembers of texts that grow, with room for what is to come."""

from typing import Any

from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

ROOM = 64  # tokens, or a quarter of those that are there if that is more


class RoomyLayer(DynamicLayer):
    """Keys and values of all tokens; one more is written behind them, and those before stay.

    transformers' own layer copies all of them for each, which takes longer than attention does.
    """

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """The keys and values of all tokens, after these were added."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.rooms: dict[str, tuple[Tensor, Tensor]] = {}  # and what is used of them
        known = self.get_seq_length()
        self.keys = self._added("keys", key_states, known)
        self.values = self._added("values", value_states, known)
        return self.keys, self.values

    def _added(
        self, name: str, new: Float[Tensor, "N h t d"], known: int
    ) -> Float[Tensor, "N h T d"]:
        after = known + new.shape[-2]
        before = getattr(self, name)
        room, used = self.rooms.get(name, (None, None))
        if room is None or used is not before or room.shape[-2] < after:
            *rows, _, size = new.shape
            room = new.new_empty(*rows, after + max(ROOM, after // 4), size)
            if known:
                room[..., :known, :] = before
        room[..., known:after, :] = new
        self.rooms[name] = room, room[..., :after, :]
        return self.rooms[name][1]


def new_cache(model: PreTrainedModel) -> DynamicCache:
    """An empty cache, with sliding layers only where the configuration says which they are.

    A window that it merely mentions may be a leftover that the model does not heed.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    cache = DynamicCache(config=config if kinds - {"full_attention"} else None)
    cache.layers = [
        RoomyLayer() if type(layer) is DynamicLayer else layer  # type: ignore[no-untyped-call]
        for layer in cache.layers
    ]
    if cache.layer_class_to_replicate is DynamicLayer:
        cache.layer_class_to_replicate = RoomyLayer
    return cache
