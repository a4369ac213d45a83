#!/bin/sh
# Builds an ffmpeg of 3 MB from /src/ffmpeg into /out: it decodes audio files and does nothing else.
# Debian's package brings 200 others, about 470 MB.
set -eu
cd /src/ffmpeg

# Its parts: each is named here, because all others are switched off.
# - No network and no http or tcp protocol: a hostile file cannot make it fetch anything.
# - No playlist demuxer (hls, concat, dash): a hostile file cannot make it open other files.
# - --disable-autodetect: it needs libc and libm only, whatever else the base image has.
# - No --enable-gpl, no --enable-nonfree: the result stays LGPL 2.1 or later.
# - --toolchain=hardened: PIE, RELRO, stack protector, FORTIFY; it parses files from strangers.
# - Sections and gc-sections: the linker drops what no enabled part calls.
# - iff reads DSDIFF; xwma and mp1, mp2 share the code of wma and mp3.
# - The encoders and muxers hand the audio on; null tests a file without output.
./configure \
    --prefix=/usr/local --toolchain=hardened --optflags=-O2 \
    --extra-cflags='-ffunction-sections -fdata-sections' --extra-ldflags=-Wl,--gc-sections \
    --disable-debug --disable-doc --disable-autodetect --disable-iconv \
    --disable-everything --disable-network \
    --disable-avdevice --disable-swscale --disable-pixelutils --disable-ffplay --disable-ffprobe \
    --enable-protocol='file,pipe,fd,subfile' \
    --enable-demuxer='wav,w64,aiff,caf,au,flac,ogg,mp3,aac,mov,matroska,asf,xwma,ac3,eac3' \
    --enable-demuxer='ape,tta,wv,dsf,iff,pcm_alaw,pcm_mulaw,pcm_[fsu]*' \
    --enable-decoder='pcm_alaw,pcm_mulaw,pcm_[fsu]*,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,gsm,gsm_ms' \
    --enable-decoder='flac,alac,ape,tta,wavpack,dsd_*,vorbis,opus,mp1float,mp2float,mp3float' \
    --enable-decoder='aac,ac3,eac3,wmav1,wmav2,wmapro,wmalossless' \
    --enable-parser='aac,ac3,flac,gsm,mpegaudio,opus,vorbis' \
    --enable-filter='aresample,aformat,anull,pan,atrim' \
    --enable-encoder='pcm_u8,pcm_s16le,pcm_s24le,pcm_s32le,pcm_f32le,flac' \
    --enable-muxer='pcm_u8,pcm_s16le,pcm_s24le,pcm_s32le,pcm_f32le,wav,flac,null' \
    >configure.out 2>&1 || { cat configure.out; tail -30 ffbuild/config.log; exit 1; }
cat configure.out

# configure only warns of a name that it does not know. The warning on pkg-config is expected.
if grep '^WARNING' configure.out | grep -v pkg-config; then exit 1; fi
grep -q '^License: LGPL version 2.1 or later' configure.out

make -s -j"$(nproc)" ffmpeg

# Compared exactly, so that a network protocol cannot come back unseen.
test "$(./ffmpeg -v error -protocols | tr -d '\n' | tr -s ' ')" = \
    'Supported file protocols:Input: fd file pipe subfileOutput: fd file pipe'

# The LGPL asks for its text, and for where the source is.
doc=/out/usr/share/doc/ffmpeg
install -D -m 755 ffmpeg /out/usr/local/bin/ffmpeg
install -d "$doc"
install -m 644 LICENSE.md COPYING.LGPLv2.1 debian/copyright "$doc/"
{
    echo "Built unmodified from the Debian source package ffmpeg $(dpkg-parsechangelog -S Version):"
    (cd /src && sha256sum ffmpeg_*)
    ./ffmpeg -hide_banner -buildconf
} >"$doc/BUILD"
