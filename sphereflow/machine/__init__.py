"""What the machine gives: files, memory, threads, compiled kernels, signals."""
