"""`anypo serve`: become a vLLM server that takes weights from a run."""

import os
import sys
from typing import Annotated

import torch
import typer

from anypo import check_installed, model_path
from anypo_vllm import guard
from anypo_vllm.addresses import KEY, LOOPBACK
from anypo_vllm.plugin import WITHOUT_GPU
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


def serve(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Directory or hub name.")],
    host: Annotated[
        str, typer.Option(help="Address; whoever reaches it can replace the weights.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="To listen at.")] = 8000,
    dtype: Annotated[
        str | None, typer.Option(help="float32 or bfloat16, by itself the latter on a GPU.")
    ] = None,
    memory: Annotated[float | None, typer.Option(help="Share of the GPU's memory.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Tokens of prompt and completion.")] = None,
    tensor_parallel: Annotated[int, typer.Option(help="GPUs that share the model.")] = 1,
    eager: Annotated[bool, typer.Option("--eager", help="No CUDA graphs.")] = False,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
    ] = False,
    api_key: Annotated[
        str | None,
        typer.Option(envvar=KEY, help="What a run must know too: in that variable of its own."),
    ] = None,
) -> None:
    """Serve a model with vLLM for `anypo run … --sampler vllm --vllm-url URL`."""
    options = {name: value for name, value in locals().items() if name not in ("model", "api_key")}
    check_installed("vllm", "serving", WITHOUT_GPU)
    if host not in LOOPBACK and not api_key:
        print(
            f"note: whoever reaches {host} can replace the weights and have files read: set "
            f"--api-key, or {KEY}",
            file=sys.stderr,
        )
    on_cpu, has_key = not torch.cuda.is_available(), bool(api_key)
    command, settings = serve_command(model_path(model), on_cpu=on_cpu, has_key=has_key, **options)
    # Variables of the environment that are set stay. A key among the arguments, all would see.
    key = {KEY: api_key} if api_key else {}
    os.execve(command[0], command, {**settings, **os.environ, **key})


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
    has_key: bool = False,
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
        has_key: Whether the environment has a key that whoever asks must know.
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
        "middleware": guard.NAME if has_key else None,
    }
    flags = {
        "enforce-eager": eager or on_cpu,
        "trust-remote-code": trust_remote_code,
        "no-enable-chunked-prefill": on_cpu,  # which rewinds seeds, as no CPU can
    }
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    for name, value in options.items():
        command += [] if value is None else [f"--{name}", str(value)]
    command += [f"--{name}" for name, given in flags.items() if given]
    return command, {**SETTINGS, **(ON_A_CPU if on_cpu else {})}
