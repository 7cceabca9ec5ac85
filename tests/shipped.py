"""The profiles that Plantroom ships, read once for all tests of a process: a profile never changes once it is loaded."""

from device_profiles.library import SHIPPED, Library

LIBRARY = Library([SHIPPED])
