"""Whether a model is all there: its files, and what was loaded of them."""

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel

from anypo.errors import ModelError, one_line

SHOWN = 3  # names


def check_files(folder: Path) -> None:
    """Refuse damaged files of weights; no more is read than what they say of themselves.

    Raises:
        ModelError: One is damaged, cannot be read, or holds something else than tensors.
    """
    safe = sorted(folder.glob("model*.safetensors"))
    for file in safe or sorted(folder.glob("pytorch_model*.bin")):
        try:
            if safe:
                with safe_open(file, "pt"):
                    pass
            else:
                torch.load(file, "meta", weights_only=True, mmap=is_zipfile(file))
        except OSError as error:
            raise ModelError(f"weights '{file}' cannot be read: {one_line(error)}") from error
        except Exception as error:
            raise ModelError(
                f"weights '{file}' are damaged, or something else than tensors "
                f"({type(error).__name__}): copy or download them again"
            ) from error


def check_loaded(
    model: PreTrainedModel, path: str, found: Mapping[str, Any], *, new_head: bool
) -> None:
    """Refuse a model of which a part was made up, left out, or is no number.

    Args:
        model: As it was loaded.
        path: Where from.
        found: What `from_pretrained` says of that.
        new_head: Whether what stands beside the body is rightly made up.

    Raises:
        ModelError: Weights are missing, of another shape, or not finite; or there are more layers
            than the configuration says.
    """
    own = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    old = [name for name in own if not (new_head and _is_of_head(model, name))]
    if missing := [name for name in old if name in found["missing_keys"]]:
        raise ModelError(
            f"model '{path}' is not whole: its files lack {_listed(missing)}, which its "
            "configuration asks for"
        )
    shapes = {name: shapes for name, *shapes in found["mismatched_keys"]}
    for name in filter(shapes.__contains__, old):
        there, asked = map(list, shapes[name])
        raise ModelError(
            f"'{name}' of model '{path}' has the shape {there}, but its configuration asks for "
            f"{asked}"
        )
    if further := list(_of_further_layers(found["unexpected_keys"], own)):
        raise ModelError(
            f"model '{path}' would be cut: its files hold {_listed(further)}, for which its "
            "configuration has no layer"
        )
    for name, weight in model.named_parameters():
        if not _is_finite(weight):
            raise ModelError(f"'{name}' of model '{path}' holds NaN or infinity: it is broken")


def _is_of_head(model: PreTrainedModel, name: str) -> bool:
    return ".pooler." in name or not name.startswith(f"{model.base_model_prefix}.")


def _of_further_layers(unused: Collection[str], own: Collection[str]) -> Iterator[str]:
    """Of tensors that the model has no place for, those of layers that are like its own.

    Layers of another kind are none of it, such as those that predict several tokens at a time.
    """
    kinds = set(map(_unnumbered, own))
    for layer, found in groupby(sorted(unused), _layer):
        names = list(found)
        if layer and kinds.issuperset(map(_unnumbered, names)):
            yield from names


def _layer(name: str) -> str:
    numbered = re.match(r".*?\.\d+(?=\.)", name)
    return numbered[0] if numbered else ""


def _unnumbered(name: str) -> str:
    return re.sub(r"\.\d+(?=\.)", ".0", name)


def _is_finite(weight: Tensor) -> bool:
    if not (weight.is_floating_point() and weight.itemsize > 1 and weight.numel()):
        return True  # what is quantized has no such numbers
    return bool(torch.stack(torch.aminmax(weight.detach())).isfinite().all())


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in list(names)[:SHOWN])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return shown + more
