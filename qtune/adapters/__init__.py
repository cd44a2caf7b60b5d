"""Real queues behind one protocol: what a measured run calls, with one SDK a file."""
