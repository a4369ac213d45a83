"""What `make bench` runs; README.md says what is compared with what."""
