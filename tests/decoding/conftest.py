"""Decoders that are closed in the end."""

from contextlib import ExitStack, closing

import pytest

from decoding import Limits, open_decoder


@pytest.fixture(name="opened")
def _opened():
    """open_decoder, with everything closed that it has opened."""
    with ExitStack() as stack:

        def opened(path, *, isolated=False, limits=None, **how):
            decoder = open_decoder(path, isolated=isolated, limits=limits or Limits(), **how)
            return stack.enter_context(closing(decoder))

        yield opened
