"""What measures us: `make bench` prints every figure beside a floor measured in the same run."""
