#!/usr/bin/env bash
# Everything that needs a GPU, in less than 8 minutes: a look at the machine, one workload verified by
# the command line, the suite `gpu-quick` (every arm is checked against float64 before it is timed,
# the long training step excepted; energy is measured for some), all tests of a card, and a profile
# with its roofline.
#
#   tests/gpu/check.sh [-a ARCHIVE] [FOLDER [PART...]]
#
# FOLDER (default gpu-check) gets a log of each part, the records, and `gpu.jsonl`, the run of the
# suite. ARCHIVE, a .tar.gz, gets the whole folder after each part, so that a machine that goes away
# leaves what was done. PART is one of doctor verify suite tests profile (default: all of them, in
# this order), or compiled: torch.compile beside static, which takes minutes and is left out.
#
# Nothing is installed and nothing is fetched: the checkout need not be installed, and what it needs is
# named where it is missing. Each part has a share of the time; one that fails does not stop the
# others. The exit code is 0 only where all went well. Without a GPU it says so and ends with 6.
set -u
archive=
while getopts a: option; do
    case $option in
    a) archive=$(realpath -m "$OPTARG") ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
folder=$(realpath -m "${1:-gpu-check}")
[ $# -gt 0 ] && shift
parts=${*:-doctor verify suite tests profile}
for each in $parts; do
    case $each in
    doctor | verify | suite | tests | profile | compiled) ;;
    *)
        echo "expected parts among doctor verify suite tests profile compiled, received $each" >&2
        exit 2
        ;;
    esac
done
cd "$(dirname "$0")/../.." || exit 2
python=${PYTHON:-$(command -v python3 || command -v python)}
mkdir -p "$folder" || exit 2
export BENCHCTL_CHECK_FOLDER=$folder PYTHONUNBUFFERED=1
export PYTHONPATH=$PWD:$PWD/engines:$PWD/workloads${PYTHONPATH:+:$PYTHONPATH}
worst=0

needed="numpy numba click rich jinja2 matplotlib pandas psutil threadpoolctl pytest pytest_timeout hypothesis"
missing=$("$python" - $needed <<'END'
import importlib.util, sys
print(*(each for each in sys.argv[1:] if importlib.util.find_spec(each) is None))
END
) || exit 2
if [ -n "$missing" ]; then
    echo "nothing checked: $python expected $needed, has no $missing (pip install $missing)" >&2
    exit 2
fi
site=$("$python" tests/gpu/registered.py "$folder/site") || exit 2
PYTHONPATH=$PYTHONPATH${site:+:$site}

reason=$("$python" -c '
from benchctl_engines.devices.availability import device_availability
state = device_availability("gpu")
print("" if state.ok else f"{state.reason} ({state.hint})")
') || exit 2
if [ -n "$reason" ]; then
    echo "nothing checked: $reason"
    exit 6
fi

part() { # NAME SECONDS COMMAND...
    local name=$1 seconds=$2 start=$SECONDS
    shift 2
    [[ " $parts " == *" $name "* ]] || return 0
    timeout --signal=INT --kill-after=10 "$seconds" "$@" >"$folder/$name.log" 2>&1
    local code=$?
    echo "$name: exit $code after $((SECONDS - start)) s, log in $folder/$name.log"
    tail -n "${lines:-4}" "$folder/$name.log" | sed 's/^/    /'
    [ "$code" -gt "$worst" ] && worst=$code
    pack
}

pack() {
    [ -z "$archive" ] || tar -czf "$archive" -C "$(dirname "$folder")" "$(basename "$folder")"
}

quick() { # NAME SECONDS ARGUMENTS...: a run whose record is kept under its name, and shown
    local name=$1 seconds=$2
    shift 2
    [[ " $parts " == *" $name "* ]] || return 0
    part "$name" "$seconds" "$python" -m benchctl run "$@" --store "$folder"
    "$python" -m benchctl show last --store "$folder" --full >"$folder/$name.txt" 2>&1
    local run
    run=$(find "$folder/runs" -name '*.jsonl' -printf '%T@ %p\n' 2>/dev/null | sort -n | tail -n 1 | cut -d' ' -f2-)
    [ "$name" = suite ] && name=gpu
    [ -n "$run" ] && cp "$run" "$folder/$name.jsonl"
    pack
}

lines=40 part doctor 40 "$python" -m benchctl doctor
part verify 40 "$python" -m benchctl verify xyz --device gpu -a size=3x4 \
    --engine static --engine eager --engine numpy --engine torch
lines=60 quick suite 270 gpu-quick --budget 250s
lines=30 part tests 100 "$python" -m pytest -m gpu tests/gpu -ra -p no:cacheprovider --timeout 90
lines=40 part profile 30 "$python" -m benchctl profile vgg16 --steps 5 --store "$folder" \
    -a mode=inference -a batch=16 -a layout=NHWC --engine static@gpu/tf32 --engine static@gpu/fp16
lines=40 quick compiled 280 vgg16 --engine static@gpu --engine static:autotune=on@gpu \
    --engine torch@gpu --engine torch-compile@gpu --budget 240s \
    -a mode=inference -a batch=16 -a layout=NHWC
exit "$worst"
