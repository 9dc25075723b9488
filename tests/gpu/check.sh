#!/usr/bin/env bash
# Everything that needs a GPU, in less than 8 minutes: tests, the results of every engine against
# float64 in both layouts, a profile with phases and limits of the card, energy, and the suite `gpu`,
# whose records end up in FOLDER (default gpu-check).
#
#   tests/gpu/check.sh [FOLDER]
#
# Each part has a share of the time and a log of its own; a part that fails does not stop the others.
# The exit code is 0 only where all went well. Without a GPU it says so and ends with 6.
set -u
cd "$(dirname "$0")/../.." || exit 2
folder=${1:-gpu-check}
mkdir -p "$folder"
export BENCHCTL_CHECK_FOLDER=$folder
export PYTHONPATH=$PWD:$PWD/engines:$PWD/workloads${PYTHONPATH:+:$PYTHONPATH}
python=${PYTHON:-python}
worst=0

part() { # NAME SECONDS COMMAND...
    local name=$1 seconds=$2 start=$SECONDS
    shift 2
    timeout --signal=INT --kill-after=10 "$seconds" "$@" >"$folder/$name.log" 2>&1
    local code=$?
    echo "$name: exit $code after $((SECONDS - start)) s, log in $folder/$name.log"
    tail -n 3 "$folder/$name.log" | sed 's/^/    /'
    [ "$code" -gt "$worst" ] && worst=$code
}

reason=$("$python" -c '
from benchctl_engines.devices.availability import device_availability
state = device_availability("gpu")
print("" if state.ok else f"{state.reason} ({state.hint})")
') || exit 2
if [ -n "$reason" ]; then
    echo "nothing checked: $reason"
    exit 6
fi

part doctor 20 "$python" -m benchctl doctor --json
part tests 140 "$python" -m pytest -m gpu tests/gpu -ra -p no:cacheprovider --timeout 60
part verify 55 "$python" -m benchctl verify xyz vgg16 layout heads --device gpu \
    --engine static --engine eager --engine numpy --engine torch \
    -a image_size=32 -a width=32 -a layout=NCHW,NHWC -a size=3x4,200x200 \
    -a mode=inference,training -a direction=forward,backward
part flow 25 "$python" -m benchctl verify conditional dynamic_shapes --device gpu \
    --engine static --engine eager -a mode=gradient -a form=branch,loop,while -a size=1000
part profile 30 "$python" -m benchctl profile vgg16 --device gpu --engine static --engine eager \
    -a mode=training -a batch=16 --steps 5 --store "$folder"
part energy 40 "$python" -m benchctl run vgg16 --device gpu --engine static --energy --rounds 2 \
    -a mode=inference -a batch=4 --store "$folder"
part halves 30 "$python" -m benchctl verify xyz vgg16 layout heads --device gpu --precision fp16 \
    --engine static --engine eager --engine torch --engine static@gpu/bf16 \
    -a image_size=32 -a width=32 -a layout=NHWC -a size=200x200 \
    -a mode=inference,training -a direction=forward,backward
part suite 135 "$python" -m benchctl run gpu --budget 95s --store "$folder" \
    --json "$folder/suite.json"
"$python" -m benchctl show last --store "$folder" --full >"$folder/suite.txt" 2>&1
exit "$worst"
