"""Write models with drawn weights: python -m benchmarks.accelerator.write_models SHAPE [SHAPE ...]."""

import sys

from benchmarks.accelerator.places import written_model

if __name__ == "__main__":
    for shape in sys.argv[1:]:
        print(written_model(shape), flush=True)
