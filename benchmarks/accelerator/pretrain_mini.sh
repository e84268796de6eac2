#!/usr/bin/env bash
# Train `mini` on for some minutes on a GPU machine that has JAX and no package index; prepare.py and carry_corpora.py made .carried/.
# Usage: benchmarks/accelerator/pretrain_mini.sh OUTPUT MINUTES [options of pretrain_mini]
set -euo pipefail
cd "$(dirname "$0")/../.."
output=$1 minutes=$2
shift 2
site=$(mktemp -d)
python3 -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --target "$site" .carried/wheels/*.whl
export PYTHONPATH="$site:$PWD" KERAS_BACKEND=jax PYTHONUNBUFFERED=1
# XLA tries many kernels for every product otherwise, which takes longer than the run; an XLA that has lost a flag would not start.
for flag in --xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false; do
    if XLA_FLAGS="${XLA_FLAGS:-} $flag" JAX_PLATFORMS=cpu python3 -c "import jax; jax.devices()" 2>/dev/null; then
        export XLA_FLAGS="${XLA_FLAGS:-} $flag"
    fi
done
echo "XLA_FLAGS=${XLA_FLAGS:-}"
python3 -m benchmarks.accelerator.pretrain_mini .carried/corpora "$output" --minutes "$minutes" "$@"
