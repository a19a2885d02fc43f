"""Writes test/goldens/weight-goldens.h: stored blocks of every quantised format and the weights that they are, as the `gguf`
package dequantises them in float32.

Run: python test/scripts/weight-goldens.py > test/goldens/weight-goldens.h   (needs numpy and gguf)

Blocks are random bits with scales that a file can hold: ordinary ones, the largest and smallest f16, subnormals, zeros of both
signs, negative ones; powers of two over all of mxfp4's exponents; subnormal and largest FP8 numbers in nvfp4.
"""

from importlib.metadata import version

import gguf
import numpy as np

FORMATS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "MXFP4", "Q2_K", "Q3_K", "IQ4_XS"]
FORMATS += ["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "NVFP4"]
F16 = [0x3C00, 0x2E66, 0xA3D7, 0x7BFF, 0xFBFF, 0x0001, 0x83FF, 0x0400, 0x0000, 0x8000]
SCALES_AT = {"Q4_1": [0, 2], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "Q2_K": [80, 82], "Q3_K": [108]}
UE4M3 = [0, 1, 7, 8, 9, 0x38, 0x77, 0x7E, 0x7F, 0x40]
E8M0 = [0, 1, 2, 3, 64, 118, 127, 128, 253, 254]


def blocks(name, rng):
    """[n, block bytes], n such that a format has at least ten scales."""
    _, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    out = rng.integers(0, 256, (10, size), dtype=np.uint8)
    for i in range(10):
        if name == "MXFP4":
            out[i, 0] = E8M0[i]
            continue
        if name == "NVFP4":
            out[i, 0:4] = [UE4M3[(i + 3 * n) % 10] for n in range(4)]
            continue
        if name == "IQ1_M":  # a nibble in each of four words
            for n in range(4):
                out[i, 49 + 2 * n] = (out[i, 49 + 2 * n] & 15) | (F16[i] >> (4 * n) & 15) << 4
            continue
        for n, at in enumerate(SCALES_AT.get(name, [0])):
            out[i, at:at + 2] = np.array([F16[(i + 3 * n) % 10]], np.uint16).view(np.uint8)
    return out


def main():
    rng = np.random.default_rng(20)
    print("// Stored blocks and their weights as the gguf package dequantises them (bits of float32).")
    print(f"// Written by test/scripts/weight-goldens.py with gguf {version('gguf')}; do not edit.")
    print("#pragma once\n#include <cstdint>\n#include <vector>\n")
    print("struct WeightGolden {\n  const char* format;\n  std::vector<std::uint8_t> blocks;")
    print("  std::uint64_t hash;                // FNV-1a of the bytes of all weights")
    print("  std::vector<std::uint32_t> first;  // of each block, the bits of its first 8 weights\n};\n")
    print("inline const std::vector<WeightGolden> weight_goldens = {")
    for name in FORMATS:
        data = blocks(name, rng)
        with np.errstate(over="ignore"):
            values = gguf.quants.dequantize(data, gguf.GGMLQuantizationType[name])
        bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
        hash_ = 0xCBF29CE484222325
        for byte in bits.tobytes():
            hash_ = (hash_ ^ byte) * 0x100000001B3 % 2**64
        print(f'    {{"{name.lower()}",')
        print("     {" + ", ".join(map(str, data.flatten().tolist())) + "},")
        print(f"     0x{hash_:016X}u,")
        print("     {" + ", ".join(f"0x{b:08X}u" for b in bits[:, :8].flatten().tolist()) + "}},")
    print("};")


main()
