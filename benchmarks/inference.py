"""The logits of network M without a graph (no_grad, eval), for a batch of 64 and for a single image.

    python benchmarks/inference.py [--threads 1] [--batch 64] [--compile] [--json FILE]

Ours and those of every installed peer (PyTorch in inference_mode) from the same weights; the logits must agree to 1e-3
of the largest before anything is timed. The speed is relative to the fastest PyTorch variant of the run.
"""

from sides import Report, inference_sides, limited, options

from tinygrad_cnn.bench import M


def main() -> None:
    given = options(__doc__)
    report = Report(given)
    with limited(given.threads):
        for batch in dict.fromkeys((given.batch, 1)):
            report.time(f"M, inference, batch {batch}", inference_sides(M, M.batch(batch)[0], given.compile))
    report.write()


if __name__ == "__main__":
    main()
