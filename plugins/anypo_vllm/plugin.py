"""The sampler that `--sampler vllm` asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field
from torch import cuda

from anypo import ConfigError, Engine, Runtime, SamplerPlugin, SamplingRequest, check_installed

WITHOUT_GPU = " (without a GPU: see docs/rollouts.md)"
if TYPE_CHECKING:
    from anypo_vllm.sampler import Backend

COLDEST = 0.01  # vLLM takes this in place of a lower temperature
OF_SERVERS = ("timeout", "exchange")
OF_THIS_PROCESS = ("memory", "max_length", "tensor_parallel", "eager", "sleep")


class VLLM(SamplerPlugin):
    """Samples with vLLM, in this process or on servers."""

    draws: ClassVar = True
    url: str | None = Field(
        None, description="URLs of servers, separated by commas. Without it, in this process."
    )
    timeout: float = Field(600.0, gt=0, description="Seconds that a server may take to answer.")
    exchange: str | None = Field(
        None, description="Directory by which servers get weights. Without it, in memory."
    )
    memory: float = Field(0.3, gt=0, le=1, description="Share of the device's memory to take.")
    max_length: int | None = Field(
        None, ge=2, description="Tokens of prompt and completion. Without it, what limits say."
    )
    tensor_parallel: int = Field(1, ge=1, description="GPUs that share the model.")
    eager: bool = Field(False, description="No CUDA graphs; on a CPU, always.")
    sleep: bool = Field(False, description="Free the GPU's memory whenever it is not sampling.")

    @property
    def outside(self) -> bool:
        """On servers."""
        return bool(self.url)

    def unread(self) -> dict[str, str]:
        """Options of the other way, in this process or on servers."""
        if not self.url:
            return dict.fromkeys(OF_SERVERS, "vllm_url is not, so nothing would read it")
        why = "the sampler is vllm servers, so nothing would read it; it is for anypo serve"
        return dict.fromkeys(OF_THIS_PROCESS, why)

    def check(self, request: SamplingRequest, runtime: Runtime) -> None:
        """See `SamplerPlugin`."""
        if self.url:
            from anypo_vllm.addresses import addresses, check_addresses

            check_addresses(addresses(self.url), self.exchange)
        else:
            check_installed("vllm", "sampler 'vllm'", WITHOUT_GPU)
        if runtime.device.type == "cpu" and (self.sleep or self.tensor_parallel > 1):
            option = "vllm_sleep" if self.sleep else "vllm_tensor_parallel"
            raise ConfigError(f"{option} is set, but it is about GPUs, and this run has none")
        if request.temperature < COLDEST:
            raise ConfigError(
                f"temperature is {request.temperature:g}, but vLLM samples at {COLDEST:g} or more"
            )

    def start(self, model: Any, runtime: Runtime, max_length: int) -> Engine:
        """See `SamplerPlugin`."""
        from anypo_vllm.sampler import VLLMEngine  # with all that only sampling needs

        engine = VLLMEngine(self._backend(model, runtime, max_length))
        engine.sync(model)  # whatever vLLM holds, it starts with the trainer's weights
        return engine

    def _backend(self, model: Any, runtime: Runtime, max_length: int) -> Backend:
        if self.url:
            from anypo_vllm.addresses import addresses
            from anypo_vllm.servers import Servers

            return Servers(
                addresses(self.url), model.config, timeout=self.timeout, exchange=self.exchange
            )
        from anypo_vllm.engine import LocalEngine, check_unchanged  # imports vLLM

        if runtime.device.type == "cuda":
            cuda.empty_cache()  # vLLM measures what is free
        engine = LocalEngine(
            model.name_or_path,
            model.config,
            device=runtime.device.type,
            dtype=str(runtime.dtype).removeprefix("torch."),
            max_length=self.max_length or max_length,
            memory=self.memory,
            tensor_parallel=self.tensor_parallel,
            eager=self.eager,
            sleeps=self.sleep,
            trust_remote_code=runtime.trust_remote_code,
        )
        check_unchanged(model)
        return engine
