"""What the bytes of an audio file tell about it, without a decoder."""
