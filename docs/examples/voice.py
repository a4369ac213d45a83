"""A processor of ten lines: how many seconds of a stream are louder than -40 dBFS."""

import numpy as np


class Voice:
    def open(self, stream):
        self.window, self.loud = stream.samplerate // 50, 0

    def process(self, samples, offset):  # multiples of `window`, until the last call
        whole = len(samples) - len(samples) % self.window
        power = (samples[:whole] ** 2).mean(axis=1).reshape(-1, self.window).mean(axis=1)
        self.loud += np.count_nonzero(power > 1e-4)

    def close(self):
        return {"loud_seconds": self.loud / 50}
