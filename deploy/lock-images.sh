#!/usr/bin/env bash
# Writes deploy/images.env: each image of others that docker-compose.yml names, by its digest in the
# registry. Builds and starts by `make` use these digests from then on.
set -euo pipefail
cd "$(dirname "$0")/.."

file=deploy/images.env
new=$(mktemp "$file.XXXXXX")
trap 'rm -f "$new"' EXIT

echo "# Written by \`make lock-images\`. Without this file the tags in docker-compose.yml hold." >"$new"
sed -nE 's/.*\$\{([A-Z]+_IMAGE):-([^}@]+)\}.*/\1 \2/p' docker-compose.yml | sort -u |
    while read -r variable image; do
        docker pull --quiet "$image" >/dev/null
        [[ $(docker image inspect --format '{{.RepoDigests}}' "$image") =~ sha256:[0-9a-f]{64} ]] || {
            echo "$image has no digest: it has not come from a registry" >&2
            exit 1
        }
        digest=${BASH_REMATCH[0]}
        echo "$variable=$image@$digest" >>"$new"
    done
chmod 644 "$new"
mv "$new" "$file"
cat "$file"
