"""Writes test/goldens/rope-goldens.h: RoPE frequencies and magnitudes as Hugging Face transformers computes them.

Run: python test/scripts/rope-goldens.py > test/goldens/rope-goldens.h   (needs torch and transformers)

transformers computes in float32; here torch's float32 names are pointed at float64 first, so that the very same code
gives values that can be compared at double precision.
"""

import math

import torch

torch.float = torch.float32 = torch.float64
torch.Tensor.float = torch.Tensor.double

import transformers  # noqa: E402
from transformers import LlamaConfig  # noqa: E402
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS  # noqa: E402


def longrope_factors(pairs, top):
    return [1.0 + (top - 1.0) * (i / (pairs - 1)) ** 2 for i in range(pairs)]


def case(name, dims, base, parameters, context, cpp):
    """One row: what transformers computes, and the RopeScaling that asks for the same."""
    config = LlamaConfig(
        hidden_size=dims * 4,
        num_attention_heads=4,
        head_dim=dims,
        max_position_embeddings=context,
        rope_parameters={"rope_theta": base, **parameters},
    )
    frequencies, magnitude = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, "cpu", seq_len=context)
    assert frequencies.dtype == torch.float64
    return name, dims, base, frequencies.tolist(), float(magnitude), cpp


def llama3(dims, base, factor, low, high, original):
    parameters = {"rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
                  "original_max_position_embeddings": original}
    cpp = {"kind": "llama3", "factor": factor, "original_context": original, "low_freq_factor": low, "high_freq_factor": high}
    return case(f"llama3 {dims} {factor}", dims, base, parameters, int(original * factor), cpp)


def yarn(dims, base, factor, original, fast, slow, attention=None):
    parameters = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original,
                  "beta_fast": fast, "beta_slow": slow}
    cpp = {"kind": "yarn", "factor": factor, "original_context": original, "beta_fast": fast, "beta_slow": slow}
    if attention is not None:
        # transformers takes the final magnitude; RopeScaling what multiplies 0.1 ln(factor) + 1.
        parameters["attention_factor"] = attention * (0.1 * math.log(factor) + 1)
        cpp["attention_factor"] = attention
    return case(f"yarn {dims} {factor}", dims, base, parameters, int(original * factor), cpp)


def longrope(dims, base, original, factor, top):
    factors = longrope_factors(dims // 2, top)
    parameters = {"rope_type": "longrope", "factor": factor, "original_max_position_embeddings": original,
                  "long_factor": factors, "short_factor": factors}
    magnitude = math.sqrt(1 + math.log(factor) / math.log(original))
    cpp = {"kind": "factors", "factors": factors, "magnitude": magnitude}
    return case(f"longrope {dims} {factor}", dims, base, parameters, int(original * factor), cpp)


def linear(dims, base, factor):
    parameters = {"rope_type": "linear", "factor": factor}
    return case(f"linear {dims} {factor}", dims, base, parameters, 4096, {"kind": "linear", "factor": factor})


CASES = [
    linear(64, 10000.0, 1.0),
    linear(128, 10000.0, 4.0),
    linear(96, 1000000.0, 2.5),
    llama3(64, 500000.0, 32.0, 1.0, 4.0, 8192),
    llama3(128, 500000.0, 8.0, 1.0, 4.0, 8192),
    llama3(128, 10000.0, 16.0, 2.0, 3.0, 4096),
    yarn(128, 1000000.0, 4.0, 32768, 32, 1),
    yarn(64, 10000.0, 16.0, 4096, 32, 1),
    yarn(128, 150000.0, 32.0, 4096, 32, 1, 0.75),
    yarn(32, 10000.0, 1.0, 2048, 16, 2),
    longrope(96, 10000.0, 4096, 32.0, 64.0),
    longrope(128, 10000.0, 4096, 16.0, 3.5),
]

print("// Frequencies and magnitudes of the RoPE scaling variants as Hugging Face transformers computes them.")
print(f"// Written by test/scripts/rope-goldens.py with transformers {transformers.__version__} in float64; do not edit.")
print("#pragma once")
print("#include <vector>")
print()
print('#include "model/rope.h"')
print()
print("struct RopeGolden {")
print("  const char* name;")
print("  int dims;")
print("  double base;")
print("  octavo::RopeScaling scaling;")
print("  double magnitude;")
print("  std::vector<double> frequencies;")
print("};")
print()


def numbers(values, indent):
    rows = [values[i:i + 6] for i in range(0, len(values), 6)]
    return "{" + (",\n" + indent).join(", ".join(repr(float(v)) for v in row) for row in rows) + "}"


def scaling(fields):
    order = ["kind", "factor", "original_context", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow",
             "attention_factor", "factors", "magnitude"]
    out = []
    for key in order:
        if key in fields:
            value = fields[key]
            text = f"octavo::RopeScaling::Kind::{value}" if key == "kind" else (
                numbers(value, "      ") if key == "factors" else repr(float(value)))
            out.append(f".{key} = {text}")
    return "{" + ",\n     ".join(out) + "}"


print("inline const std::vector<RopeGolden> rope_goldens = {")
for name, dims, base, frequencies, magnitude, cpp in CASES:
    print(f'    {{"{name}", {dims}, {base!r},')
    print(f"     {scaling(cpp)},")
    print(f"     {magnitude!r},")
    print(f"     {numbers(frequencies, '      ')}}},")
print("};")
