"""Writes cpp/files/iq_grids.h: the codebooks of the IQ weight formats, from the `gguf` package's tables.

Run: python test/scripts/iq-grids.py > cpp/files/iq_grids.h   (needs numpy and gguf)

A codebook is a set of points of a lattice: 8 (or 4) digits of base 3 (or 8) each. Read as numbers, the first digit the lowest, the
points ascend, so only the steps between them are written.
"""

from importlib.metadata import version

import gguf
import numpy as np

GRIDS = ["IQ1_S", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"]
FIRST, MORE, BASE = "#", "!", 28  # a step below 28 is one of "#" to ">"; a "!" before it adds 28; no quote, trigraph or backslash
WIDTH = 112

HEAD = """\
// The codebooks of the IQ weight formats, part of the GGUF file format (ggml, https://github.com/ggml-org/ggml): points
// that eight (IQ3: four) neighbouring weights take together. A point is a number of as many digits, of base 3 (IQ3: 8),
// the first weight the lowest; points ascend from 0, and a character gives the step from one to the next: '#' 0, '$' 1,
// ... and each '!' before it adds %d.
// Written by test/scripts/iq-grids.py from gguf %s; do not edit.
#pragma once

namespace octavo {
""" % (BASE, version("gguf"))


def points(name):
    kind = getattr(gguf.quants, name)
    kind.init_grid()
    levels = {level: i for i, level in enumerate(kind.grid_map)}
    digits = np.vectorize(lambda x: levels[int(x)])(kind.grid.reshape(kind.grid_shape))
    return digits @ len(levels) ** np.arange(digits.shape[1])


print(HEAD)
for name in GRIDS:
    steps = np.diff(points(name))
    assert steps.min() > 0
    text = "".join(MORE * (step // BASE) + chr(ord(FIRST) + step % BASE) for step in steps)
    assert '"' not in text and "\\" not in text
    print(f"inline constexpr char {name.lower()}_steps[] =  // {len(steps) + 1} points")
    lines = [text[i:i + WIDTH] for i in range(0, len(text), WIDTH)]
    print("\n".join(f'    "{line}"' for line in lines) + ";")
print("\n}  // namespace octavo")
