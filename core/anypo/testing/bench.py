"""What a sampler is tried on: a tiny model, and what the trainer says of the completions."""

from __future__ import annotations

import copy
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from anypo.hooks.batch import Prompt, Sample, collate
from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import SamplerPlugin, SamplingRequest

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

VOCABULARY = 260
ENDS = tuple(range(20))  # often enough that some completions end and some do not
MODELS_OWN_ENDS = list(range(40, 80))  # which are none of the run's
CONTEXT = 512  # tokens
LONGEST_COMPLETION = 12  # tokens


def prompts_of(*lengths: int) -> list[Prompt]:
    """Prompts of so many tokens each, none of which begins like another."""
    draw = random.Random(0)
    return [Prompt([draw.randrange(80, VOCABULARY) for _ in range(n)], "") for n in lengths]


ALIKE = prompts_of(4, 4, 4, 4, 4)
ONE_TOKEN = prompts_of(1, 1)
MIXED = prompts_of(4, 1, 7, 2, 3)
LONG = prompts_of(300, 256, 40)  # longer than the blocks in which engines cache prefixes


class Bench:
    """An engine beside the model whose weights it shall have.

    Attributes:
        close: Nats by which log-probs of the same weights differ at most.
        before: What the sampler may not change, as it was before the engine started.
    """

    def __init__(self, plugin: SamplerPlugin, model: PreTrainedModel, runtime: Runtime) -> None:
        self.model, self.runtime = model, runtime
        self.close = 1e-3 if runtime.dtype == torch.float32 else 0.4
        self.before = self.state()
        self.engine = plugin.start(model, runtime, CONTEXT)

    def ask(
        self, prompts: Sequence[Prompt] = MIXED, n: int = 4, *, seed: int = 0, **parameters: Any
    ) -> list[Sample]:
        """The engine's completions."""
        torch.manual_seed(seed)
        return self.engine.sample(plain_request(prompts=prompts, n=n, **parameters))

    def move(self) -> None:
        """Change all weights of the model, as an optimizer step would, without telling."""
        noise = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in self.model.parameters():
                change = 0.02 * torch.randn(parameter.shape, generator=noise)
                parameter.add_(change.to(parameter.device))

    def state(self) -> dict[str, Any]:
        """What belongs to the trainer, in words."""
        model = self.model
        return {
            "whether gradients are recorded": torch.is_grad_enabled(),
            "the training mode of the model": [module.training for module in model.modules()],
            "the generation settings of the model": model.generation_config.to_dict(),
            **{f"the weights {name}": w.detach().clone() for name, w in model.named_parameters()},
        }

    def replace_model(self) -> None:
        """Go on with a copy of the model, without telling."""
        self.model = copy.deepcopy(self.model)

    @torch.no_grad()
    def trainers_logprobs(
        self, samples: Sequence[Sample], temperature: float
    ) -> Float[Tensor, "N T"]:
        """What the trainer says of the tokens; zeros beyond the end of a row."""
        from anypo.models.forward import score_tokens

        batch = collate(samples).to(self.model.device)
        with self.runtime.autocast():
            logprobs = score_tokens(self.model, batch, temperature=temperature).logprobs
        return logprobs.cpu()

    @torch.no_grad()
    def distributions(
        self, sample: Sample, temperature: float = 1.0, top_p: float = 1.0, top_k: int = 0
    ) -> Float[Tensor, "T V"]:
        """Log-probs of all tokens at every place of a completion, cut and renormalised."""
        ids = torch.tensor([sample.prompt_ids + sample.completion_ids], device=self.model.device)
        with self.runtime.autocast():
            logits: Tensor = self.model(ids).logits[0, len(sample.prompt_ids) - 1 : -1]
        logprobs = (logits.float().cpu() / temperature).log_softmax(-1)
        if top_k:
            least = logprobs.topk(top_k).values[:, -1:]
            logprobs = logprobs.masked_fill(logprobs < least, -torch.inf).log_softmax(-1)
        if top_p < 1:
            ordered = logprobs.sort(-1, descending=True).values
            likelier = ordered.exp().cumsum(-1) - ordered.exp()
            least = ordered.masked_fill(likelier >= top_p, torch.inf).amin(-1, keepdim=True)
            logprobs = logprobs.masked_fill(logprobs < least, -torch.inf).log_softmax(-1)
        return logprobs


def plain_request(**parameters: Any) -> SamplingRequest:
    """A request for short completions."""
    defaults = {"end_tokens": ENDS, "max_completion_length": LONGEST_COMPLETION}
    return SamplingRequest(**{**defaults, **parameters})


@contextmanager
def bench_of(plugin: SamplerPlugin, shape: str | None, runtime: Runtime) -> Iterator[Bench]:
    """A sampler that is started with a model of random weights, for the time of the block.

    Args:
        plugin: The sampler.
        shape: Directory of a model to take the configuration of; a tiny one if None.
        runtime: How it is run.

    Raises:
        AnypoError: The sampler refuses to work here, or does not start.
    """
    from anypo.models.load import load_config, sensible_threads

    plugin.check(plain_request(), runtime)
    config = _tiny_config() if shape is None else load_config(shape)
    with tempfile.TemporaryDirectory(prefix="anypo-sampler-") as folder:
        model = _random_model(config, folder)
        model.to(runtime.device)  # type: ignore[arg-type]
        with sensible_threads(model):
            bench = Bench(plugin, model, runtime)
            try:
                yield bench
            finally:
                bench.engine.close()


def _tiny_config() -> PreTrainedConfig:
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=32,  # the fewest that vLLM attends with on a CPU
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,  # an engine that forgets one of the two is found out
        pad_token_id=0,
    )


def _random_model(config: PreTrainedConfig, folder: str) -> PreTrainedModel:
    """A model whose choices differ, saved; none of its end tokens and settings may be heeded."""
    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.utils import logging

    config.eos_token_id = MODELS_OWN_ENDS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.25)
    model.eval()
    model.generation_config = GenerationConfig(
        do_sample=True,
        top_k=2,
        temperature=3.0,
        repetition_penalty=5.0,
        suppress_tokens=[100, 101, 102],
        eos_token_id=MODELS_OWN_ENDS,
        pad_token_id=0,
    )
    shows_progress = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    if shows_progress:
        logging.enable_progress_bar()
    model.name_or_path = folder
    return model
