"""vLLM in this process. The only module that imports its `LLM`."""

from __future__ import annotations

import gc
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from anypo import SamplerError, one_line, whole_weights
from anypo_vllm import worker
from anypo_vllm.sampler import Generated, Request
from anypo_vllm.weights import weights_file

SEQUENCES = 128  # at a time on a CPU
BLOCK = 128  # tokens of a block of its cache there


class LocalEngine:
    """vLLM beside the trainer, on the same device.

    Args:
        model: Directory or hub name of the configuration; the weights come by `load`.
        config: The model's.
        device: `cpu` or `cuda`.
        dtype: Of weights and computation.
        max_length: Tokens of prompt and completion.
        memory: Share of the device's memory.
        tensor_parallel: GPUs that share the model.
        eager: Whether to do without CUDA graphs.
        sleeps: Whether to free the GPU's memory whenever it is not needed.
        trust_remote_code: Whether to run Python code that comes with the model.

    Raises:
        SamplerError: vLLM does not start.
    """

    def __init__(
        self,
        model: str,
        config: PreTrainedConfig,
        *,
        device: str,
        dtype: str,
        max_length: int,
        memory: float,
        tensor_parallel: int = 1,
        eager: bool = False,
        sleeps: bool = False,
        trust_remote_code: bool = False,
    ) -> None:
        self.max_length, self.sleeps, self.version = max_length, sleeps, 0
        self.has_workers = tensor_parallel > 1  # processes, which take weights from a file
        self.dtype, self.on_cpu = dtype, device == "cpu"
        options = {
            "model": model,
            "load_format": "dummy",
            "skip_tokenizer_init": True,
            "trust_remote_code": trust_remote_code,
            "dtype": dtype,
            "max_model_len": max_length,
            "gpu_memory_utilization": memory,
            "tensor_parallel_size": tensor_parallel,
            "enforce_eager": eager or self.on_cpu,
            "enable_sleep_mode": sleeps,
            "generation_config": "vllm",  # not the model's: its top-p would bias every log-prob
            "logprobs_mode": "processed_logprobs",  # of the distribution sampled from
            "worker_extension_cls": worker.NAME,
        }
        if torch.distributed.is_initialized():  # each process of the trainer has an engine
            if tensor_parallel > 1:
                raise SamplerError(
                    "vllm_tensor_parallel is set, but each of several processes has one GPU: start "
                    "servers (anypo serve), and set vllm_url"
                )
            options["distributed_executor_backend"] = "external_launcher"
        if self.on_cpu:
            options["max_num_seqs"] = SEQUENCES
            options["enable_chunked_prefill"] = False  # which rewinds seeds, as no CPU can
            options["kv_cache_memory_bytes"] = _cpu_cache(config, dtype, max_length, memory)
        _set_environment()
        try:
            with _undisturbed():
                from vllm import LLM

                self.llm = LLM(**options)
        except Exception as error:
            raise SamplerError(
                f"vLLM does not start with model '{model}': {_line(error)}"
            ) from error
        self._rest()

    def generate(self, requests: Sequence[Request]) -> list[list[Generated]]:
        """See `anypo_vllm.sampler.Backend`.

        Raises:
            SamplerError: vLLM fails.
        """
        from vllm import SamplingParams

        prompts = [{"prompt_token_ids": request.prompt} for request in requests]
        # It has no tokenizer to find texts with: what follows one is left out afterwards.
        own = {"stop": None, "detokenize": False}
        parameters = [SamplingParams(**{**r.parameters, **own}) for r in requests]
        try:
            with self._awake(), self._without_compiler():
                answers = self.llm.generate(prompts, parameters, use_tqdm=False)
        except Exception as error:
            raise SamplerError(f"vLLM fails to sample: {_line(error)}") from error
        return [[_completion(output) for output in answer.outputs] for answer in answers]

    def load(self, model: PreTrainedModel) -> None:
        """See `anypo_vllm.sampler.Backend`.

        Raises:
            SamplerError: vLLM does not take the weights, or goes on using its prefix cache.
        """
        self.version += 1
        with self._awake():
            try:
                self._send(model, str(self.version))
            except Exception as error:
                raise SamplerError(f"vLLM does not take the weights: {_line(error)}") from error
            if not self.llm.reset_prefix_cache():
                raise SamplerError("vLLM does not empty its prefix cache, so it would be stale")

    def close(self) -> None:
        """See `anypo_vllm.sampler.Backend`."""
        with suppress(Exception):  # the run is over: what went wrong here must not cost its model
            self.llm.llm_engine.engine_core.shutdown()
        del self.llm
        gc.collect()

    def _send(self, model: PreTrainedModel, version: str) -> None:
        if self.has_workers:
            with weights_file(model, self.dtype) as path:
                self.llm.collective_rpc("anypo_load_file", args=(str(path), version))
        else:
            weights = whole_weights(model, getattr(torch, self.dtype))
            self.llm.collective_rpc("anypo_load", args=(weights, version))

    @contextmanager
    def _awake(self) -> Iterator[None]:
        if self.sleeps:
            self.llm.wake_up()
        try:
            yield
        finally:
            self._rest()

    def _rest(self) -> None:
        if self.sleeps:
            torch.cuda.empty_cache()
            self.llm.sleep(level=1)  # keeps the weights in the memory of the host

    def _without_compiler(self) -> AbstractContextManager[object]:
        """On a CPU, vLLM would spend up to 20 s compiling one little function."""
        return torch.compiler.set_stance("force_eager") if self.on_cpu else nullcontext()


def check_unchanged(model: PreTrainedModel) -> None:
    """Refuse a model whose code in transformers vLLM has changed, in order to run it by that.

    Raises:
        SamplerError: The trainer would run what is made for vLLM.
    """
    calls = {type(module).__call__ for module in model.modules()}
    if any(call.__module__.startswith("vllm.") for call in calls):
        raise SamplerError(
            f"vLLM changes how {type(model).__name__} is called, for the trainer too, if both are "
            "in one process: start a server (anypo serve) and set vllm_url"
        )


def _completion(output: Any) -> Generated:
    ids = list(output.token_ids)
    chosen = zip(output.logprobs, ids, strict=True)
    return Generated(ids, [logprobs[token].logprob for logprobs, token in chosen])


def _set_environment() -> None:
    """Settings that vLLM reads when it is imported; what the user set stays."""
    settings = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # weights need not leave the process
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the trainer runs on the same threads
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Undo what vLLM does to the process: seeds, the number of threads, what it tells launchers."""
    set_num_threads, environment = torch.set_num_threads, dict(os.environ)
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch._library.triton").setLevel(logging.ERROR)  # that there is none
        try:
            yield
        finally:
            torch.set_num_threads = set_num_threads
            for name in {"LOCAL_WORLD_SIZE", "LOCAL_RANK", "RANK", "WORLD_SIZE"} - {*environment}:
                os.environ.pop(name, None)


def _cpu_cache(config: PreTrainedConfig, dtype: str, max_length: int, memory: float) -> int:
    """Bytes for keys and values of `SEQUENCES` sequences, but no more than the share of memory."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    token = 2 * text.num_hidden_layers * heads * size * getattr(torch, dtype).itemsize
    blocks = SEQUENCES * -(-max_length // BLOCK)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(min(blocks * BLOCK * token, memory * machine))


def _line(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}")
