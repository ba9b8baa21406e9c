"""What a run ran in: environment variables on an allow-list, installed packages, the host."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import translate

from tracker.code.host import capture_host
from tracker.code.packages import capture_packages
from tracker.secrets import MASK, is_secret_name, mask_text

__all__ = ["ALLOWED", "capture_environment", "capture_host", "capture_packages"]

ALLOWED = (
    *("HINDSIGHT_*", "AIRFLOW_CTX_*", "PREFECT__*", "SLURM_*", "SLURMD_*", "SUBMITIT_*", "PBS_*", "LSB_*"),
    *("CUDA_*", "NVIDIA_VISIBLE_DEVICES", "NCCL_*", "CUBLAS_*", "CUDNN_*", "ROCR_*", "HIP_*", "HSA_*"),
    *("OMP_*", "MKL_*", "OPENBLAS_*", "KMP_*", "GOMP_*", "NUMEXPR_*", "VECLIB_*"),
    *("TORCH_*", "PYTORCH_*", "TORCHELASTIC_*"),
    *(
        "TF_CPP_*",
        "TF_GPU_*",
        "TF_FORCE_*",
        "TF_ENABLE_*",
        "TF_XLA_*",
        "TF_NUM_*",
        "XLA_*",
        "JAX_*",
        "ACCELERATE_*",
        "DEEPSPEED_*",
    ),
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    *("MASTER_ADDR", "MASTER_PORT", "OMPI_COMM_WORLD_*", "PMI_*"),
    *("HF_HOME", "HF_*_OFFLINE", "TRANSFORMERS_*", "TOKENIZERS_PARALLELISM"),
    *("PYTHON*", "VIRTUAL_ENV", "CONDA_DEFAULT_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH", "LD_PRELOAD"),
    *("LANG", "LANGUAGE", "LC_*", "TZ", "SOURCE_DATE_EPOCH"),
    *("CI", "GITHUB_SHA", "GITHUB_REF", "GITHUB_RUN_ID", "GITHUB_REPOSITORY", "CI_COMMIT_*", "CI_JOB_ID", "BUILD_ID"),
)
"""Names, with ``*`` as wildcard, of the environment variables that are recorded."""

_ALWAYS_MASKED = frozenset({"HINDSIGHT_STORAGE_OPTIONS"})  # JSON with keys of a store under names of its back end
_MAX_LENGTH = 4096
_SURROGATES = re.compile("[\ud800-\udfff]")


def capture_environment(environ: Mapping[str, str], *, allow: Iterable[str] = ()) -> dict[str, str]:
    """The variables that are allowed, by name; secrets are masked, whatever the list says.

    ``allow`` adds names to ``ALLOWED``, with ``*`` as wildcard. Values are cut at 4,096 characters.

    >>> capture_environment({"OMP_NUM_THREADS": "4", "HOME": "/root", "MY_TOKEN": "x"}, allow=["MY_*"])
    {'MY_TOKEN': '***', 'OMP_NUM_THREADS': '4'}
    """
    allowed = re.compile("|".join(translate(pattern) for pattern in (*ALLOWED, *allow)))
    return {_text(name): _mask(name, value) for name, value in sorted(environ.items()) if allowed.match(name)}


def _mask(name: str, value: str) -> str:
    if value and (name in _ALWAYS_MASKED or is_secret_name(name, value)):
        return MASK
    masked = _text(mask_text(value))
    return masked if len(masked) <= _MAX_LENGTH else f"{masked[:_MAX_LENGTH]}… ({len(masked):,} characters)"


def _text(value: str) -> str:
    """Bytes that are not UTF-8 reach Python as surrogates, which JSON cannot hold."""
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", value)
