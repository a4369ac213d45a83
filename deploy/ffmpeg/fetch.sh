#!/bin/sh
# Fetches the source of ffmpeg, as Debian ships it, into /src/ffmpeg, with the tools to build it.
# The source comes from wherever the base image's packages come from; no mirror is named here.
set -eu

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
apt-get source -y ffmpeg
mv ffmpeg-*/ ffmpeg
