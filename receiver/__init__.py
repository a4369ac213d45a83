"""The receiver: `async with receiver.serve(...)` runs one inside any program."""

from .processors import Processor, StreamInfo
from .service import Receiver, serve
from .settings import Limits, Settings

__all__ = ["Limits", "Processor", "Receiver", "Settings", "StreamInfo", "serve"]
