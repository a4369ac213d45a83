"""A fixture that opens decoders, and closes them after the test."""

from contextlib import ExitStack, closing

import pytest

from sonoduct.audio.decoding import DecodeOptions, Limits, open_decoder


@pytest.fixture(name="opened")
def _opened():
    """Opens decoders as `open_decoder` does; closes them after the test."""
    with ExitStack() as stack:

        def opened(path, *, isolated=False, limits=None, ffmpeg=None, **how):
            options = DecodeOptions(limits=limits or Limits(), ffmpeg=ffmpeg)
            decoder = open_decoder(path, options, isolated=isolated, **how)
            return stack.enter_context(closing(decoder))

        yield opened
