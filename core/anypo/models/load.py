"""Load models and tokenizers, and what a run must know of them."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from anypo.errors import ModelError, one_line, told
from anypo.models.precision import cast_anyway, settle_quantized
from anypo.models.whole import check_files, check_loaded
from anypo.support.foreign import foreign
from anypo.support.saving import Tell, newest_whole

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
TINY = 5_000_000  # parameters; below, a second thread costs more than it brings


def model_path(path: str, tell: Tell | None = None) -> str:
    """The model in a run directory; any other path or name as it is.

    Of a run that saved none, its newest whole checkpoint is taken if there is somebody to `tell`.

    Raises:
        ModelError: The run saved no model, the directory holds an adapter alone or damaged weights,
            or there is none and the name is none of the hub.
    """
    model = Path(_of_run(path, tell))
    if model.is_file():
        raise ModelError(f"'{path}' is a file, but a model is a directory or a name of the hub")
    if not model.is_dir():
        try:
            validate_repo_id(path)
        except HFValidationError as error:
            raise ModelError(f"there is no directory '{path}'") from error
    check_files(model)
    return str(model)


def _of_run(path: str, tell: Tell | None) -> str:
    if Path(path, "adapter_config.json").is_file():
        raise ModelError(
            f"'{path}' is an adapter, not a model: merge it into its base (merge_and_unload of "
            "peft), and save that with its tokenizer"
        )
    if not Path(path, "config.toml").is_file():
        return path
    if Path(path, "model").is_dir():
        return str(Path(path, "model"))
    checkpoint = newest_whole(Path(path, "checkpoints"), tell or (lambda _: None))
    ended = f"run directory '{path}' holds no model: the run ended before it saved one"
    if checkpoint is None:
        raise ModelError(ended)
    if tell is None:
        raise ModelError(f"{ended}; name its newest checkpoint, '{checkpoint}'")
    tell(f"{ended}; its newest checkpoint is used, '{checkpoint}'")
    return str(checkpoint)


def load_tokenizer(path: str, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a model directory or hub name.

    Raises:
        ModelError: The directory holds none, or the name is unknown.
    """
    if Path(path).is_dir() and not any(Path(path, name).exists() for name in TOKENIZER_FILES):
        raise ModelError(
            f"model directory '{path}' holds no tokenizer; save one beside the model with "
            "tokenizer.save_pretrained"
        )
    with _errors_of("the tokenizer of", path):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            path, trust_remote_code=trust_remote_code
        )
    if tokenizer.eos_token_id is None:
        raise ModelError(f"the tokenizer of '{path}' has no end-of-sequence token; set eos_token")
    return tokenizer


def load_config(path: str, *, trust_remote_code: bool = False) -> PreTrainedConfig:
    """The configuration of a model directory or hub name, without its weights.

    Raises:
        ModelError: There is no such model.
    """
    with _errors_of("the configuration of", path):
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            path, trust_remote_code=trust_remote_code
        )
    return config


def load_model(
    path: str,
    *,
    scalar_head: bool = False,
    trust_remote_code: bool = False,
    empty: bool = False,
    **stored: Any,
) -> PreTrainedModel:
    """The model of a directory or hub name, in float32 unless `stored` otherwise, without dropout.

    With `scalar_head` it scores a text instead of continuing it; a model that has no such head gets
    a random one, on what it has. An `empty` one is made without its weights, on torch's `meta`.

    Raises:
        ModelError: There is no such model, its weights do not load, lack some or hold no numbers,
            or they are of the other kind.
    """
    known = load_config(path, trust_remote_code=trust_remote_code)
    _check_kind(path, known, scalar_head)
    new_head = scalar_head and not has_scalar_head(known)
    if not scalar_head:
        _check_generation(path)
    auto_class: Any = AutoModelForSequenceClassification if scalar_head else AutoModelForCausalLM
    options = {"dtype": torch.float32, **stored, "trust_remote_code": trust_remote_code}
    model: PreTrainedModel
    if empty:
        if scalar_head:
            known.num_labels = 1
        with _errors_of("model", path), torch.device("meta"):
            model = auto_class.from_config(known, **options)
        model.to("meta")  # type: ignore[arg-type]  # what some functions of torch made elsewhere
    else:
        options |= {"num_labels": 1} if scalar_head else {}
        options |= {"ignore_mismatched_sizes": True, "output_loading_info": True}
        with _errors_of("model", path), _quiet():
            model, found = auto_class.from_pretrained(path, **options)
        check_loaded(model, path, found, new_head=new_head)
        settle_quantized(model)
    text = model.config.get_text_config()
    if scalar_head and (text.pad_token_id is None or new_head):
        tokenizer = load_tokenizer(path, trust_remote_code=trust_remote_code)
        text.pad_token_id = _padding(text, tokenizer)
    model.eval()  # log-probs must be the same whoever computes them: never with dropout
    return model


def _check_kind(path: str, known: PreTrainedConfig, scalar_head: bool) -> None:
    if not scalar_head and has_scalar_head(known):
        raise ModelError(f"model '{path}' scores texts, but one that continues them is needed here")
    if scalar_head and not _can_score(known):
        raise ModelError(
            f"'{path}' cannot score texts: transformers has no such model of type "
            f"'{known.model_type}'"
        )


def _check_generation(path: str) -> None:
    """Refuse settings from which transformers would take no end of a text, and say nothing."""
    if Path(path, "generation_config.json").is_file():
        with _errors_of("generation_config.json of", path):
            _ends(GenerationConfig.from_pretrained(path))


def has_scalar_head(config: PreTrainedConfig) -> bool:
    """Whether the model gives a text one score."""
    kinds = getattr(config, "architectures", None) or []
    return config.num_labels == 1 and any("SequenceClassification" in kind for kind in kinds)


def _can_score(config: PreTrainedConfig) -> bool:
    own = getattr(config, "auto_map", None) or {}
    kinds = AutoModelForSequenceClassification._model_mapping.keys()
    return type(config) in kinds or "AutoModelForSequenceClassification" in own


def frozen_copy(model: PreTrainedModel, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """A copy that no gradient reaches: the reference model.

    Where the precision of computation is given, it says the same as the model in less memory.
    """
    shrunk = {
        id(weight): nn.Parameter(weight.detach().to(dtype, copy=True), requires_grad=False)
        for weight in (cast_anyway(model) if dtype else ())
    }
    return copy.deepcopy(model, shrunk).requires_grad_(False)


def end_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, learnt: Iterable[int] = ()
) -> list[int]:
    """Every token id that ends a completion: chat models often have several.

    Args:
        model: A model that scores texts has none of its own.
        tokenizer: Its own.
        learnt: Further ones, which the policy learns to end completions with.
    """
    generation = getattr(model, "generation_config", None)
    return sorted({*_ends(generation), tokenizer.eos_token_id, *learnt})


def agree(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, end_tokens: Sequence[int]
) -> None:
    """Let whoever loads the model and its tokenizer end completions, and pad, as here."""
    if model.can_generate():
        if _ends(model.generation_config) != set(end_tokens):
            model.generation_config.eos_token_id = list(end_tokens)
    else:
        padding = model.config.get_text_config().pad_token_id
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(padding)


def _padding(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """A token that ends no text, if there is one: a score is read at the last that is no padding.

    Where nothing but the end is left, scores are read before it, here and by everybody else.
    """
    added = [i for i, token in tokenizer.added_tokens_decoder.items() if token.special]
    own = config.pad_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id, *added
    usable = [i for i in own if i is not None and 0 <= i < config.vocab_size]
    ends = {*_ends(config), tokenizer.eos_token_id}
    return next((i for i in usable if i not in ends), cast(int, tokenizer.eos_token_id))


def _ends(config: Any) -> set[int]:
    configured = getattr(config, "eos_token_id", None)
    several = configured if isinstance(configured, list) else [configured]
    ends = {token for token in several if token is not None}
    if not all(isinstance(token, int) for token in ends):
        raise ModelError(f"eos_token_id is {configured!r:.60}, not the number of a token")
    return ends


def context_length(config: PreTrainedConfig) -> int | None:
    """How many tokens the model can attend to; None if it does not say."""
    text = config.get_text_config()
    length: int | None = getattr(text, "max_position_embeddings", None)
    if length is None or length < 1:  # -1 is how some do not say
        return None
    told = getattr(text, "rope_parameters", None) or {}
    ropes = [told, *(rope for rope in told.values() if isinstance(rope, dict))]
    stretches = [rope.get("factor", 1) for rope in ropes if rope.get("rope_type") == "dynamic"]
    return int(length * min(stretches, default=1))


@contextmanager
def sensible_threads(model: PreTrainedModel) -> Iterator[None]:
    """One CPU thread for a tiny model: with two, and another program running, it is 5 times slower.

    Small matrices keep a second thread waiting, and it waits by spinning.
    """
    before = torch.get_num_threads()
    if model.device.type == "cpu" and model.num_parameters() < TINY:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """What is missing or left over is looked at here."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _errors_of(what: str, path: str) -> AbstractContextManager[None]:
    """Turn what transformers, or code of a model, raises into one line that names the path."""
    return foreign(partial(_unloaded, what, path), passing=())


def _unloaded(what: str, path: str, error: BaseException) -> ModelError:
    flag = "`trust_remote_code=True`"
    cause = one_line(error).replace(flag, f"{flag} (--trust-remote-code)")
    if " " not in cause:
        cause = told(error)
    if "CONVERSION" in cause:  # which is said in a table that nobody sees
        cause = "some of its tensors are missing, or do not fit together"
    if not Path(path).exists():
        cause = f"there is no such directory, and of the hub: {cause}"
    return ModelError(f"{what} '{path}' does not load: {cause}")
