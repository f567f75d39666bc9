#!/usr/bin/env bash
# What to run first on a new GPU, in an hour at most: bash benchmarks/first_gpu_hour.sh [OPTION ...]
#
#   --data FOLDER      token shards for the study at the end (docs/data.md)
#   --hellaswag FILE   HellaSwag's JSONL file, for the same study
#   --out FOLDER       where results are collected (first-gpu-hour)
#   --minutes N        time for all steps; what does not fit is skipped (60)
#   --dry-run          the same commands with tiny sizes, to try them on a CPU
#
# Run it from the checkout, in an environment with a CUDA build of torch, deepen and pytest; PYTHON names another
# interpreter. Each step has a time limit and prints a line; a failure does not end the script. The steps are
# ordered by what a failure teaches: is anything computed right, then how fast, then how it behaves in long runs.
# docs/gpu.md says what to expect of each. FOLDER has the output of each step, and summary.txt.
set -u

python=${PYTHON:-python} out=first-gpu-hour minutes=60 dry='' data='' hellaswag=''
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry=yes ;;
        --data | --hellaswag | --out | --minutes)
            if [ $# -lt 2 ]; then
                echo "error: $1 needs a value" >&2
                exit 2
            fi
            declare "${1#--}=$2"
            shift
            ;;
        *)
            echo "error: $1 is unknown: use --data, --hellaswag, --out, --minutes or --dry-run" >&2
            exit 2
            ;;
    esac
    shift
done
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd)
deadline=$((SECONDS + 60 * minutes)) number=0 failed=0 running=''
trap 'if [ -n "$running" ]; then kill "$running" 2> /dev/null; fi; exit 130' INT TERM
: > "$out/summary.txt"

say() { printf '%s\n' "$1" | tee -a "$out/summary.txt"; }

# step NAME SECONDS PATTERN COMMAND ...: runs the command for that many seconds at most, and prints how it ended
# with the last line of its output that matches the pattern, or the last line of all.
step() {
    local name=$1 limit=$(($2 * patience)) pattern=$3 status began=$SECONDS log line how
    shift 3
    number=$((number + 1))
    log=$(printf '%s/%02d-%s.log' "$out" "$number" "$name")
    if [ $((deadline - SECONDS)) -lt "$limit" ]; then limit=$((deadline - SECONDS)); fi
    if [ "$limit" -le 0 ]; then
        say "$(printf '%02d %-22s skipped: no time left' "$number" "$name")"
        return
    fi
    printf '$ %s\n' "$*" > "$log"
    timeout --kill-after=20 "$limit" "$@" >> "$log" 2>&1 < /dev/null &
    running=$!
    wait "$running"
    status=$?
    case $status in
        0) how=ok ;;
        124 | 137) how="STOPPED after $limit s" failed=$((failed + 1)) ;;
        *) how="FAILED with exit code $status" failed=$((failed + 1)) ;;
    esac
    line=$(grep -E -- "$pattern" "$log" | tail -n 1)
    if [ -z "$line" ]; then line=$(grep -v '^ *$' "$log" | tail -n 1); fi
    say "$(printf '%02d %-22s %s, %d s: %s' "$number" "$name" "$how" $((SECONDS - began)) "$line" | cut -c 1-300)"
}

deepen() { step "$1" "$2" "$3" "$python" -m deepen "${@:4}"; }
measure() { step "$1" "$2" . "$python" "$here/gpu_step.py" "${@:3}"; }

if [ -n "$dry" ]; then
    patience=5 gpus=2 placements=shard # other programs may use the machine too
    model=pico vocab=512 unpadded=500 small=pico llama=pico large=pico study_model=nano
    sequences=4 few=4 many=4 too_many=4 small_batch=256 precision=fp32 compiled=no modes=no graphs=no against=()
    too_large=(--micro-batch-tokens 0) # refused in one line, as what does not fit is on a GPU
    train_steps=6 long_steps=12 bench_steps=1 stop_after=8 scale=6e-6
    tests=("$here/../tests/test_errors.py")
else
    patience=1 gpus=$("$python" -c 'import torch; print(torch.cuda.device_count())') placements='replicated shard'
    model=gpt2-124m vocab=50304 unpadded=50257 small=nano llama=llama-160m large=llama-1b study_model=gpt2-124m
    sequences='8 32 64' few=8 many=32 too_many=4 small_batch=65536 precision=bf16 compiled=yes
    modes='max-autotune cuda-graphs' graphs=cuda-graphs against=(--against loop --micro-batch-tokens 32768)
    too_large=(--micro-batch-tokens 524288 --activation-checkpointing no)
    train_steps=20 long_steps=60 bench_steps=3 stop_after=60 scale=0.0005
    tests=("$here/../tests/train" "$here/../tests/model")
fi
train=(train full --model "$model" --vocab "$vocab" --precision "$precision")
batch=(--model "$model" --vocab "$vocab" --precision "$precision")
if [ -n "$dry" ]; then batch+=(--batch-tokens 512); fi

# What it runs on: these lines head every table of results.
{
    git -C "$here" describe --always --dirty 2>&1
    nvidia-smi --query-gpu=name,driver_version,memory.total,power.limit --format=csv,noheader 2>&1
    "$python" -c 'import torch as t; print("torch", t.__version__, t.version.cuda, t.backends.cudnn.version())'
} | tee "$out/machine.txt"
deepen doctor 60 'GPU' doctor

# Is it right? Losses against the CPU; a step made infinite must be named and change nothing.
measure agree 120 agree --model "$small" --precision fp32 --compile no
measure agree-compiled 120 agree --model "$small" --precision fp32
deepen train 300 'training loss' "${train[@]}" --steps "$train_steps" --out "$out/train"
measure nonfinite 120 nonfinite "${batch[@]}"

# How fast is it? Micro-batches, compiled and not; the vocabulary's padding; compile modes; fp32.
for count in $sequences; do
    measure "compiled-$count" 180 time "${batch[@]}" --sequences "$count" --compile "$compiled"
done
measure "eager-$many" 120 time "${batch[@]}" --sequences "$many" --compile no
measure "vocab-$unpadded" 180 time "${batch[@]}" --vocab "$unpadded" --sequences "$many" --compile "$compiled"
measure profile 150 profile "${batch[@]}" --sequences "$many" --compile "$compiled" --trace "$out/trace.json"
step bench 480 'achieves' env TORCH_LOGS=recompiles "$python" -m deepen bench --model "$model" --vocab "$vocab" \
    --precision "$precision" --compile "$compiled" --steps "$bench_steps" "${against[@]}" --out "$out/bench.json"
deepen plan 60 'seconds|hours|GPU' plan one-shot --model "$model" --vocab "$vocab" --bench "$out/bench.json"
measure evaluate 120 evaluate "${batch[@]}" --sequences "$many" --compile "$compiled"
for mode in $modes; do
    measure "$mode" 240 time "${batch[@]}" --sequences "$many" --compile "$mode"
done
measure fp32 120 time "${batch[@]}" --precision fp32 --batch-tokens "$small_batch" --sequences "$few"
small_step=(time --precision "$precision" --batch-tokens "$small_batch")
measure "$llama" 180 "${small_step[@]}" --model "$llama" --sequences "$few"
measure "$large" 180 "${small_step[@]}" --model "$large" --sequences 1
measure "$large-checkpointed" 240 "${small_step[@]}" --model "$large" --sequences "$too_many"

# How does it behave in a run? Growth; frozen blocks; memory that runs out; stopped and continued; several GPUs; a
# study from end to end; the tests.
deepen growth 300 'training loss' train one-shot --model "$model" --vocab "$vocab" --precision "$precision" \
    --steps "$train_steps" --out "$out/growth"
deepen frozen-graphs 300 'training loss' train two-phase --stages 2 --model "$model" --vocab "$vocab" \
    --precision "$precision" --compile "$graphs" --steps "$train_steps" --out "$out/frozen-graphs"
# The inner shell expands "$@".
# shellcheck disable=SC2016
step out-of-memory 180 '^error' bash -c '! "$@"' - \
    "$python" -m deepen "${train[@]}" "${too_large[@]}" --steps "$train_steps" --out "$out/out-of-memory"
# shellcheck disable=SC2016
step continue 300 'training loss' bash -c \
    'timeout --preserve-status --signal=INT "$0" "$@"; echo "stopped with exit code $?"; "$@"' \
    "$stop_after" "$python" -m deepen "${train[@]}" --steps "$long_steps" --out "$out/continued"
if [ "$gpus" -gt 1 ]; then
    for placement in $placements; do
        options=()
        if [ "$placement" = shard ]; then options=(--shard); fi
        step "two-gpus-$placement" 240 'training loss' "$python" -m torch.distributed.run --nproc-per-node=2 \
            -m deepen "${train[@]}" --steps "$train_steps" "${options[@]}" --out "$out/two-gpus-$placement"
    done
fi
if [ -n "$data" ]; then
    tasks=()
    if [ -n "$hellaswag" ]; then tasks=(--hellaswag "$hellaswag"); fi
    deepen study 600 'Report' study paper --model "$study_model" --scale "$scale" --data "$data" "${tasks[@]}" \
        --jobs 1 --out "$out/paper"
fi
step tests 600 '[0-9] (passed|failed|error)' "$python" -m pytest --gpu -p no:cacheprovider --rootdir "$here/.." "${tests[@]}"

say "$number steps, $failed of them not ok, $((SECONDS / 60)) minutes; send the folder $out"
[ "$failed" -eq 0 ]
