"""The shell: command line, levels, progress, ``check``, ``verify`` and ``demo``."""
