"""The command that starts a vLLM server which takes weights from a run."""

from __future__ import annotations

import sys

from anypo_vllm.worker import NAME

SETTINGS = {  # environment variables
    "VLLM_SERVER_DEV_MODE": "1",  # the routes by which weights are sent
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
}
ON_A_CPU = {
    "OMP_NUM_THREADS": "1",  # threads that wait for each other make it 10 times slower
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "TORCH_COMPILE_DISABLE": "1",
}


def serve_command(
    model: str,
    *,
    host: str,
    port: int,
    on_cpu: bool,
    dtype: str | None = None,
    memory: float | None = None,
    max_length: int | None = None,
    tensor_parallel: int = 1,
    eager: bool = False,
    trust_remote_code: bool = False,
) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment variables of a server.

    Args:
        model: Directory or hub name.
        host: Address to listen at; whoever reaches it can replace the weights.
        port: To listen at.
        on_cpu: Whether it runs without a GPU.
        dtype: Of weights and computation; bfloat16 on a GPU, else float32, if None.
        memory: Share of the GPU's memory.
        max_length: Tokens of prompt and completion; the model's own limit if None.
        tensor_parallel: GPUs that share the model.
        eager: Whether to do without CUDA graphs.
        trust_remote_code: Whether to run Python code that comes with the model.
    """
    options = {
        "model": model,
        "host": host,
        "port": port,
        "dtype": dtype or ("float32" if on_cpu else "bfloat16"),
        "generation-config": "vllm",  # not the model's: it would change the distribution
        "logprobs-mode": "processed_logprobs",
        "worker-extension-cls": NAME,
        "tensor-parallel-size": tensor_parallel,
        "max-model-len": max_length,
        "gpu-memory-utilization": memory,
    }
    flags = {"enforce-eager": eager or on_cpu, "trust-remote-code": trust_remote_code}
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    for name, value in options.items():
        command += [] if value is None else [f"--{name}", str(value)]
    command += [f"--{name}" for name, given in flags.items() if given]
    return command, {**SETTINGS, **(ON_A_CPU if on_cpu else {})}
