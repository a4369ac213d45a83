#!/bin/sh
# Fetches the source of ffmpeg, as Debian ships it, into /src/ffmpeg, with the tools to build it.
# The source comes from wherever the base image's packages come from; no mirror is named here.
# source.lock beside this file has the version, and the checksums of its files: another version, or
# other bytes, end the build. With --renew it is written anew, of the version that the mirror has.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
lock=$here/source.lock

# A CA bundle for a proxy that inspects TLS; see "Building" in docs/operations.md.
if [ -s /run/secrets/ca ]; then
    echo 'Acquire::https::CAInfo "/run/secrets/ca";' >/etc/apt/apt.conf.d/99ca
fi

# deb-src beside deb, in whichever of apt's two formats the base image uses.
find /etc/apt -maxdepth 2 -type f \( -name '*.list' -o -name '*.sources' \) -exec sed -i \
    -e 's/^Types:[[:space:]]*deb[[:space:]]*$/Types: deb deb-src/' \
    -e 's/^deb\([[:space:]].*\)$/&\ndeb-src\1/' {} +

# --error-on=any: without it apt-get update exits with 0 when every index failed.
apt-get update --error-on=any

# nasm makes decoding up to twice as fast, for 0.25 MB. Nothing is cleaned up: the stage is thrown away.
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    dpkg-dev gcc libc6-dev make nasm

mkdir -p /src
cd /src
if [ "${1:-}" = --renew ]; then
    apt-get source --download-only ffmpeg
    {
        sed -n 's/^Version: //p' ffmpeg_*.dsc | head -n 1
        sha256sum ffmpeg_*.dsc ffmpeg_*.tar.*z
    } >"$lock.new"
    mv "$lock.new" "$lock"
    cat "$lock"
    exit
fi

version=$(head -n 1 "$lock")
apt-get source --download-only "ffmpeg=$version" || {
    echo "the mirror has not ffmpeg $version, but:" >&2
    apt-cache showsrc ffmpeg | grep '^Version' >&2
    echo "\`make lock-ffmpeg\` writes deploy/ffmpeg/source.lock anew" >&2
    exit 1
}
tail -n +2 "$lock" | sha256sum --check --strict
# Each file that is used has a checksum in the lock.
for file in $(sed -n '/^Files:/,/^[^ ]/s/^ .* //p' ffmpeg_*.dsc | grep -v '\.asc$'); do
    grep -q "^[0-9a-f]\{64\}  $file\$" "$lock" || { echo "$file is not in source.lock" >&2; exit 1; }
done
dpkg-source --no-check -x ffmpeg_*.dsc ffmpeg
