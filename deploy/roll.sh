#!/usr/bin/env bash
# Replaces every receiver by a new one, one at a time; streams move to others, and no stream fails.
# A new replica gets the name of the one that it replaces, so metrics and logs continue under it.
# First it starts and becomes healthy; the gateway finds it within two seconds. Then the old one
# stops: it waits until the gateway sees that, sends its streams elsewhere, and is removed.
set -euo pipefail
cd "$(dirname "$0")/.."

patience=${ROLL_TIMEOUT:-60} # seconds that a new replica may take to become healthy

say() { echo "roll: $*" >&2; }
replicas() { docker compose ps --quiet receiver; }
created() { docker compose ps --quiet --all receiver; }
healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$1")" = healthy ]; }
name_of() { docker inspect --format '{{.Name}}' "$1" | tr --delete /; }

tidy() { # what an interrupted roll has left: a container that was replaced, or one that was not
    local container name
    for container in $(created); do
        name=$(name_of "$container")
        [[ $name == *-leaving ]] || continue
        if docker inspect "${name%-leaving}" >/dev/null 2>&1; then
            docker stop "$container" >/dev/null
            docker rm "$container" >/dev/null
        else
            docker rename "$container" "${name%-leaving}"
        fi
    done
}

new= old_name= leaving=
give_up() { # whatever happens, no half-started replica stays, and the old one gets its name back
    if [ -n "$new" ]; then
        docker rm --force "$new" >/dev/null || say "remove the container $new by hand"
        [ -z "$leaving" ] || docker rename "$leaving" "$old_name" || true # the next roll tries again
    fi
    say "stopped early; the replicas that are left go on as they were"
}
trap give_up EXIT

docker compose build --quiet receiver
docker compose rm --force receiver 2>/dev/null # a killed replica must not be started again as "new"
tidy
old=$(replicas)
[ -n "$old" ] || { say "no receiver is running; start with: make up"; exit 1; }
count=$(echo "$old" | wc -l)

number=0
for container in $old; do
    before=$(created)
    docker compose up --no-start --no-deps --no-recreate --scale receiver=$((count + 1)) receiver
    new=$(created | grep --invert-match --line-regexp --fixed-strings "$before" || true)
    [ -n "$new" ] || { say "no new replica came up"; exit 1; }
    old_name=$(name_of "$container")
    docker rename "$container" "$old_name-leaving"
    leaving=$container
    docker rename "$new" "$old_name"
    docker start "$new" >/dev/null
    deadline=$((SECONDS + patience))
    until healthy "$new"; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            docker logs --tail 20 "$new" >&2
            say "the new replica is not healthy after $patience s"
            exit 1
        fi
        sleep 0.5
    done
    new= leaving= # from here on the new one counts; tidy removes an old one that is left
    docker stop "$container" >/dev/null # within stop_grace_period of docker-compose.yml
    docker rm "$container" >/dev/null
    number=$((number + 1))
    say "replaced $number of $count"
done
trap - EXIT
