"""What torch makes of this GPU in bf16, for the goals that name it: products of matrices of 8192 x 8192, T among them, and FLASH
attention of 4,096 tokens. Times are medians of CUDA graphs in which weights rotate over more than 200 MB. Appends to
figures.tsv.

    python3 torch-limits.py --out FOLDER
"""

import argparse
import os
import statistics
import time

import torch


def seconds(act, times):
    """Of one of `times` calls act(i) in a graph."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for i in range(2):
            act(i)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(times):
            act(i)
    runs = []
    for _ in range(6):
        start = time.perf_counter()
        graph.replay()
        torch.cuda.synchronize()
        runs.append((time.perf_counter() - start) / times)
    return statistics.median(runs[1:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=".")
    folder = parser.parse_args().out
    with open(os.path.join(folder, "figures.tsv"), "a") as out:

        def figure(name, value, unit):
            print(f"  {name:52} {value:12.5g} {unit}", flush=True)
            out.write(f"{name}\t{value:.6g}\t{unit}\n")

        n = 8192
        weights = [torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2)]
        for m in [1, 8, 16, 32, 64, 128, 2048, n]:
            x = torch.randn(m, n, device="cuda", dtype=torch.bfloat16)
            s = seconds(lambda i: torch.mm(x, weights[i % 2].t()), 8)
            figure(f"torch.{n}x{n}.m{m}.us", s * 1e6, "us")
            if m == n:
                figure("limit.torch", 2 * n**3 / s / 1e12, "TFLOP/s, T")
        q = torch.randn(1, 32, 4096, 128, device="cuda", dtype=torch.bfloat16)
        k, v = (torch.randn(1, 32, 4096, 128, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION):
            s = seconds(lambda i: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True), 4)
        figure("torch.flash4k.us", s * 1e6, "us")


main()
