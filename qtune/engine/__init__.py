"""Two engines for one plan: the reference, written to be read, and the kernel, compiled to be fast."""
