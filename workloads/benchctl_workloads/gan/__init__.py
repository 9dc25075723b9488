"""The lecture's DCGAN: digits out of noise."""
