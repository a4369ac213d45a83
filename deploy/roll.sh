#!/usr/bin/env bash
# Replaces every receiver by a new one, one at a time; streams move to others, and no stream fails.
# First a new replica starts and becomes healthy; the gateway finds it within two seconds. Then an
# old one stops: it waits until the gateway sees that, sends its streams elsewhere, and is removed.
set -euo pipefail
cd "$(dirname "$0")/.."

patience=${ROLL_TIMEOUT:-60} # seconds that a new replica may take to become healthy

say() { echo "roll: $*" >&2; }
replicas() { docker compose ps --quiet receiver; }
healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$1")" = healthy ]; }

new=
give_up() { # whatever happens, no half-started replica stays
    [ -z "$new" ] || docker rm --force "$new" >/dev/null
    say "stopped early; the replicas that are left go on as they were"
}
trap give_up EXIT

docker compose build --quiet receiver
docker compose rm --force receiver 2>/dev/null # a killed replica must not be started again as "new"
old=$(replicas)
[ -n "$old" ] || { say "no receiver is running; start with: make up"; exit 1; }
count=$(echo "$old" | wc -l)

number=0
for container in $old; do
    before=$(docker ps --all --quiet --no-trunc)
    docker compose up --detach --no-deps --no-recreate --scale receiver=$((count + 1)) receiver
    new=$(replicas | grep --invert-match --line-regexp --fixed-strings "$before" || true)
    [ -n "$new" ] || { say "no new replica came up"; exit 1; }
    deadline=$((SECONDS + patience))
    until healthy "$new"; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            docker logs --tail 20 "$new" >&2
            say "the new replica is not healthy after $patience s"
            exit 1
        fi
        sleep 0.5
    done
    new=
    docker stop "$container" >/dev/null # within stop_grace_period of docker-compose.yml
    docker rm "$container" >/dev/null
    number=$((number + 1))
    say "replaced $number of $count"
done
trap - EXIT
