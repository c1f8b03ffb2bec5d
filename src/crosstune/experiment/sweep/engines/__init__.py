"""Where jobs run: one engine per file, found by its ``ENGINE``."""
