"""Decoders that are closed in the end."""

from contextlib import ExitStack, closing

import pytest

from sonoduct.audio.decoding import DecodeOptions, Limits, open_decoder


@pytest.fixture(name="opened")
def _opened():
    """open_decoder, with everything closed that it has opened."""
    with ExitStack() as stack:

        def opened(path, *, isolated=False, limits=None, ffmpeg=None, **how):
            options = DecodeOptions(limits=limits or Limits(), ffmpeg=ffmpeg)
            decoder = open_decoder(path, options, isolated=isolated, **how)
            return stack.enter_context(closing(decoder))

        yield opened
