from hypothesis import settings

# A deadline per example measures the machine, not the code.
settings.register_profile("osum", deadline=None, max_examples=50)
settings.load_profile("osum")
