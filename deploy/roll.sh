#!/usr/bin/env bash
# Replaces every receiver by a new one, one at a time; streams move on, none fails.
# A new replica first, ready and known to the gateway; then an old one is told to stop,
# sends its streams elsewhere, and is removed.
set -euo pipefail
cd "$(dirname "$0")/.."

patience=${ROLL_TIMEOUT:-60} # seconds that a new replica may take to become healthy
grace=30                     # seconds; longer than RECEIVER_DRAIN_TIMEOUT

replicas() { docker compose ps --quiet receiver; }

healthy() { # healthy CONTAINER
    [ "$(docker inspect --format '{{.State.Health.Status}}' "$1")" = healthy ]
}

await_healthy() { # await_healthy CONTAINER
    local deadline=$((SECONDS + patience))
    until healthy "$1"; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            echo "roll: $1 is not healthy after $patience s; the older replicas go on as they were" >&2
            docker logs --tail 20 "$1" >&2
            exit 1
        fi
        sleep 0.5
    done
}

mapfile -t old < <(replicas)
[ "${#old[@]}" -gt 0 ] || { echo "roll: no receiver is running; start with: make up" >&2; exit 1; }

for number in "${!old[@]}"; do
    before=$(replicas)
    docker compose up --detach --no-deps --no-recreate --scale receiver=$((${#old[@]} + 1)) receiver
    new=$(replicas | grep --invert-match --line-regexp --fixed-strings "$before")
    await_healthy "$new"
    docker stop --time "$grace" "${old[$number]}" >/dev/null
    docker rm "${old[$number]}" >/dev/null
    echo "roll: replaced $((number + 1)) of ${#old[@]}"
done
