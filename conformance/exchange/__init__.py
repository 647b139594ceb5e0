"""What is exchanged as files or between any two programs: tapes and traces, weights against weights, pairs."""
