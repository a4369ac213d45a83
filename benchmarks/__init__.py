"""What `make bench` runs; README.md says which programs are compared."""
