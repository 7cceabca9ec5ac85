"""Projectors and displays that speak PJLink, class 1 and 2."""
