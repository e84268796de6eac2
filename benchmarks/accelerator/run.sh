#!/usr/bin/env bash
# Run the model on Keras's JAX backend: the answers beside recorded ones, and the speed beside PEFT's, on one device.
#
#   benchmarks/accelerator/run.sh OUT [--quick] [--seconds N]
#
# `prepare.py` must have filled .carried/ before. OUT gets parity.json, speed.json, device.json, results.json, results.md and log.txt.
# A section that fails or runs out of time leaves what it has found, and the others still run.
#
#   --quick      tiny models, for a dry run on a CPU
#   --seconds N  when all must be over; default 285
#
# PYTHON (default python3) runs this library; it needs JAX. PEER_PYTHON (default: the same) runs PEFT; it needs PyTorch.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

out=${1:?usage: benchmarks/accelerator/run.sh OUT [--quick] [--seconds N]}
shift
quick=() total=285
while [ $# -gt 0 ]; do
    case $1 in
        --quick) quick=(--quick) ;;
        --seconds) total=$2; shift ;;
        *) echo "Options are --quick and --seconds N. Received: $1." >&2; exit 2 ;;
    esac
    shift
done

mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
work=$(mktemp -d)
python=${PYTHON:-python3}
peer=${PEER_PYTHON:-$python}
carried=${ACCELERATOR_CARRIED:-$PWD/.carried}

export PEER_PYTHONPATH=${PYTHONPATH-} ACCELERATOR_CARRIED=$carried
export ACCELERATOR_MODELS=${ACCELERATOR_MODELS:-$work/models}
export KERAS_BACKEND=jax KERAS_HOME=$work/keras PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=2
export XLA_PYTHON_CLIENT_PREALLOCATE=false  # PyTorch gets its share of the card
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false

jobs_started=()
finish() {
    for job in "${jobs_started[@]:-}"; do [ -n "$job" ] && kill "$job" 2>/dev/null; done
    rm -rf "$work"
}
trap finish EXIT

left() { echo $((total - SECONDS)); }
section() {  # NAME SECONDS COMMAND...: run it, and say how it ended
    local name=$1 limit=$2 status
    shift 2
    echo "=== $name, at most $limit s, at $SECONDS s"
    timeout -k 5 "$limit" "$@"
    status=$?
    echo "=== $name ended with status $status, at $SECONDS s"
    return $status
}

main() {
    if ! "$python" -c 'from importlib.util import find_spec as f; exit(not (f("keras") and f("keras_hub")))'; then
        section install 90 "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade \
            --disable-pip-version-check --target "$work/site" "$carried"/wheels/*.whl
        export PYTHONPATH=$work/site${PYTHONPATH:+:$PYTHONPATH}
        "$python" -m compileall -q -j 0 "$work/site" || true  # once, and not by each process
    fi
    if [ ${#quick[@]} -gt 0 ]; then
        shapes="tiny tiny_original"
    else
        shapes="small original_small base large"
    fi
    for shape in $shapes; do  # at once, while the first sections run
        "$python" -m benchmarks.accelerator.write_models "$shape" &
        jobs_started+=($!)
    done
    section device 60 "$python" -m benchmarks.accelerator.device "$out"
    section parity $(($(left) / 3 + 10)) "$python" -m benchmarks.accelerator.parity \
        --output "$out" --seconds $(($(left) / 3)) "${quick[@]}"
    section speed $(($(left) - 10)) "$python" -m benchmarks.accelerator.speed \
        --output "$out" --seconds $(($(left) - 25)) --peer-python "$peer" "${quick[@]}"
    section report 60 "$python" -m benchmarks.accelerator.report "$out"
}

main > >(tee "$out/log.txt") 2>&1
status=$?
sleep 0.2  # for tee
[ -s "$out/results.md" ] && exit "$status"
exit 1
