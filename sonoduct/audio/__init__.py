"""Samples: from and to bytes, FLAC, recordings; decoding files. The only home of libsndfile."""
