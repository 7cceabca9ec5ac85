"""What holds for every test: no example of a property test fails because the machine was busy."""

from hypothesis import settings

settings.register_profile("plantroom", deadline=None)
settings.load_profile("plantroom")
