"""A GGUF file of f16, bf16 or f32 weights in another weight format, for tests: every format that octavo reads, and the mix Q4_K_M.

Run: python test/scripts/requantise.py IN.gguf OUT.gguf TYPE   (needs numpy and gguf; TYPE: q4_0 ... mxfp4, q4_k_m)

Formats of blocks of 256 are rounded to nearest (the gguf package has no quantiser for them), so files are a little worse than
llama.cpp's; what they say is what counts here. Where a width is no multiple of 256, q5_0, q5_1 and q8_0 take the place of q4_k,
q5_k and q6_k, and iq4_nl that of the others, as in llama.cpp's files.
"""

import sys

import gguf
import numpy as np

Type = gguf.GGMLQuantizationType
NARROWER = {Type.Q4_K: Type.Q5_0, Type.Q5_K: Type.Q5_1, Type.Q6_K: Type.Q8_0}
NARROWER |= {kind: Type.IQ4_NL for kind in (Type.Q2_K, Type.Q3_K, Type.IQ4_XS)}
IQ4_NL = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)


def f16(x):
    return x.astype(np.float16)


def bytes_of(x):
    return np.ascontiguousarray(x).view(np.uint8)


def inverse(x):
    x = x.astype(np.float32)
    return np.divide(1, x, out=np.zeros_like(x), where=x != 0)


def quantise_k45(x, bits):
    """x [blocks, 256] -> q4_k (4 bits) or q5_k (5)."""
    n, top = len(x), 2**bits - 1
    groups = x.reshape(n, 8, 32)
    minimum = np.maximum(0, -groups.min(-1))
    scale = (groups.max(-1) + minimum).clip(0) / top
    d, dm = f16(scale.max(-1, keepdims=True) / 63), f16(minimum.max(-1, keepdims=True) / 63)
    sc = np.rint(scale * inverse(d)).clip(0, 63).astype(np.uint8)
    mn = np.rint(minimum * inverse(dm)).clip(0, 63).astype(np.uint8)
    step, low = d.astype(np.float32) * sc, dm.astype(np.float32) * mn
    code = np.rint((groups + low[..., None]) * inverse(step)[..., None]).clip(0, top).astype(np.uint8)
    packed = np.zeros((n, 12), np.uint8)
    packed[:, 0:4] = sc[:, :4] | (sc[:, 4:] >> 4 << 6)
    packed[:, 4:8] = mn[:, :4] | (mn[:, 4:] >> 4 << 6)
    packed[:, 8:12] = (sc[:, 4:] & 15) | (mn[:, 4:] & 15) << 4
    low4 = code & 15
    qs = (low4[:, 0::2] | low4[:, 1::2] << 4).reshape(n, 128)
    high = [np.bitwise_or.reduce((code >> 4) << np.arange(8, dtype=np.uint8)[None, :, None], axis=1)] if bits == 5 else []
    return np.concatenate([bytes_of(d), bytes_of(dm), packed, *high, qs], axis=1)


def quantise_k6(x):
    n = len(x)
    groups = x.reshape(n, 16, 16)
    extreme = np.take_along_axis(groups, np.abs(groups).argmax(-1)[..., None], -1)[..., 0]
    scale = extreme / -32
    d = f16(np.abs(scale).max(-1, keepdims=True) / 127)
    sc = np.rint(scale * inverse(d)).clip(-128, 127).astype(np.int8)
    step = d.astype(np.float32) * sc
    code = (np.rint(groups * inverse(step)[..., None]).clip(-32, 31) + 32).astype(np.uint8).reshape(n, 2, 4, 32)
    low4, high2 = code & 15, code >> 4
    ql = np.stack([low4[:, :, 0] | low4[:, :, 2] << 4, low4[:, :, 1] | low4[:, :, 3] << 4], axis=2).reshape(n, 128)
    qh = np.bitwise_or.reduce(high2 << np.array([0, 2, 4, 6], np.uint8)[None, None, :, None], axis=2).reshape(n, 64)
    return np.concatenate([ql, qh, bytes_of(sc), bytes_of(d)], axis=1)


def packed_pairs(code):
    """[blocks, 256] of 0..3 -> 64 bytes: bits 2q and 2q + 1 of byte 32 n + l are weight 128 n + 32 q + l."""
    by_shift = code.reshape(-1, 2, 4, 32) << np.array([0, 2, 4, 6], np.uint8)[None, None, :, None]
    return np.bitwise_or.reduce(by_shift, axis=2).reshape(-1, 64)


def quantise_k2(x):
    groups = x.reshape(len(x), 16, 16)
    minimum = np.maximum(0, -groups.min(-1))
    scale = (groups.max(-1) + minimum).clip(0) / 3
    d, dm = f16(scale.max(-1, keepdims=True) / 15), f16(minimum.max(-1, keepdims=True) / 15)
    sc = np.rint(scale * inverse(d)).clip(0, 15).astype(np.uint8)
    mn = np.rint(minimum * inverse(dm)).clip(0, 15).astype(np.uint8)
    step, low = d.astype(np.float32) * sc, dm.astype(np.float32) * mn
    code = np.rint((groups + low[..., None]) * inverse(step)[..., None]).clip(0, 3).astype(np.uint8)
    return np.concatenate([sc | mn << 4, packed_pairs(code), bytes_of(d), bytes_of(dm)], axis=1)


def six_bit_scales(scale, most_negative):
    """[blocks, n] -> f16 d and whole numbers -32..31; the largest magnitude becomes -32 where that helps."""
    largest = np.take_along_axis(scale, np.abs(scale).argmax(-1)[:, None], -1)
    d = f16(largest / most_negative)
    return d, np.rint(scale * inverse(d)).clip(-32, 31).astype(np.int8)


def quantise_k3(x):
    n = len(x)
    groups = x.reshape(n, 16, 16)
    extreme = np.take_along_axis(groups, np.abs(groups).argmax(-1)[..., None], -1)[..., 0]
    d, sc = six_bit_scales(extreme / -4, -32)
    step = d.astype(np.float32) * sc
    code = (np.rint(groups * inverse(step)[..., None]).clip(-4, 3) + 4).astype(np.uint8).reshape(n, 256)
    six = (sc + 32).astype(np.uint8)
    packed = np.concatenate([(six[:, :8] & 15) | (six[:, 8:] & 15) << 4, np.zeros((n, 4), np.uint8)], axis=1)
    for i in range(16):
        packed[:, 8 + i % 4] |= six[:, i] >> 4 << (2 * (i // 4))
    high = np.bitwise_or.reduce((code >> 2).reshape(n, 8, 32) << np.arange(8, dtype=np.uint8)[None, :, None], axis=1)
    return np.concatenate([high, packed_pairs(code & 3), packed, bytes_of(d)], axis=1)


def quantise_iq4_xs(x):
    n = len(x)
    groups = x.reshape(n, 8, 32)
    extreme = np.take_along_axis(groups, np.abs(groups).argmax(-1)[..., None], -1)[..., 0]
    d, ls = six_bit_scales(extreme / -127, -32)
    scaled = groups * inverse(d.astype(np.float32) * ls)[..., None]
    code = np.abs(scaled[..., None] - IQ4_NL).argmin(-1).astype(np.uint8)
    six = (ls + 32).astype(np.uint16)
    high = np.bitwise_or.reduce((six >> 4) << np.arange(0, 16, 2, dtype=np.uint16), axis=1, keepdims=True)
    low = (six & 15).astype(np.uint8)
    codes = (code[:, :, :16] | code[:, :, 16:] << 4).reshape(n, 128)
    return np.concatenate([bytes_of(d), bytes_of(high), low[:, 0::2] | low[:, 1::2] << 4, codes], axis=1)


def quantise_iq4_nl(x):
    groups = x.reshape(-1, 32)
    extreme = np.take_along_axis(groups, np.abs(groups).argmax(-1)[:, None], -1)
    d = f16(extreme / -127)
    scaled = groups * inverse(d)
    code = np.abs(scaled[..., None] - IQ4_NL).argmin(-1).astype(np.uint8)
    return np.concatenate([bytes_of(d), code[:, :16] | code[:, 16:] << 4], axis=1)


OWN = {Type.Q2_K: quantise_k2, Type.Q3_K: quantise_k3, Type.IQ4_XS: quantise_iq4_xs}


def quantise(x, kind):
    """x [rows, width] float32 -> [rows, bytes]."""
    rows = len(x)
    blocks = lambda: x.reshape(-1, 256)  # noqa: E731
    if kind in (Type.Q4_K, Type.Q5_K):
        out = quantise_k45(blocks(), 4 if kind == Type.Q4_K else 5)
    elif kind == Type.Q6_K:
        out = quantise_k6(blocks())
    elif kind == Type.IQ4_NL:
        out = quantise_iq4_nl(x)
    elif kind in OWN:
        out = OWN[kind](blocks())
    else:
        return gguf.quants.quantize(x, kind)
    return out.reshape(rows, -1)


def kind_of(name, wanted, width, layers):
    if wanted == "q4_k_m":
        layer = int(name.split(".")[1]) if name.startswith("blk.") else 0
        finer = layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2
        head = name in ("output.weight", "token_embd.weight")
        kind = Type.Q6_K if head or (finer and ("attn_v" in name or "ffn_down" in name)) else Type.Q4_K
    else:
        kind = Type[wanted.upper()]
    return kind if width % gguf.GGML_QUANT_SIZES[kind][0] == 0 else NARROWER[kind]


def main(source, target, wanted):
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    layers = next(f.contents() for n, f in reader.fields.items() if n.endswith(".block_count"))
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        array = field.types[0] == gguf.GGUFValueType.ARRAY
        writer.add_key_value(name, field.contents(), field.types[0], field.types[-1] if array else None)
    for tensor in reader.tensors:
        values = np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)
        if values.ndim == 1:
            writer.add_tensor(tensor.name, values)
            continue
        kind = kind_of(tensor.name, wanted, values.shape[-1], layers)
        writer.add_tensor(tensor.name, quantise(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
