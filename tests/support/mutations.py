"""Damaged audio files; the same seed makes the same file."""

import random

from tests.support.corpus import FFMPEG, LOSSLESS, SOUNDFILE, encode, write

BASES = (
    *("s16.wav", "float.wav", "s24.rf64", "ima.wav", "ms.wav", "gsm.wav", "ms.w64", "s24.aiff"),
    *("ulaw.aiff", "float.au", "s16.caf", "alac16.caf", "s16.flac", "s24.flac", "vorbis.ogg"),
    *("opus.ogg", "layer3.mp3", "s16.nist", "s16.voc", "aac.m4a", "front.m4a", "video.mp4"),
    *("adts.aac", "opus.webm", "vorbis.mka", "wma.wma", "ac3.ac3", "layer2.mp2", "alac24.m4a"),
    *("flac16.oga", "tta.tta", "wavpack.wv", "s24.mov", "cover.flac"),
)
"""The good files to damage: every container and every decoder."""

TELLING = (b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(8))
"""Values that are wrong as a length or a count."""


def make_bases(folder, names=BASES):
    """Write the good files; return their bytes by their names."""
    folder.mkdir()
    for name in names:
        path = folder / name
        if name in SOUNDFILE:
            write(path, SOUNDFILE[name], 3000)
        else:
            encode(path, *(FFMPEG.get(name) or LOSSLESS[name][1:]), frames=3000)
    return {name: (folder / name).read_bytes() for name in names}


def mutate(bases, seed):
    """Return the name and the bytes of a file with one to four mutations."""
    chance = random.Random(seed)
    name = chance.choice(sorted(bases))
    data = bytearray(bases[name])
    for _ in range(chance.randint(1, 4)):
        # Half of the mutations are where headers are.
        at = chance.randrange(chance.choice((min(200, len(data)), len(data))) or 1)
        match chance.randrange(7):
            case 0:
                del data[chance.randrange(len(data)) :]
            case 1:
                del data[at : at + chance.randrange(1, 50)]
            case 2:
                data[at:at] = chance.randbytes(chance.randrange(1, 50))
            case 3:
                data[at : at + 16] = chance.randbytes(16)
            case 4:
                value = chance.choice(TELLING)
                data[at : at + len(value)] = value
            case 5:
                other = bases[chance.choice(sorted(bases))]
                data[at : at + 500] = other[at : at + 500]
            case _ if data:
                data[at] ^= 1 << chance.randrange(8)
        if not data:
            break
    return f"{seed:05d}-{name}", bytes(data)
