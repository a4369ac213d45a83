"""What any service process needs: command line, logs, metrics endpoint, signals, health probe."""
