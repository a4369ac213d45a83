"""The parts of any service process: command line, logs, metrics, signals, health, children."""
