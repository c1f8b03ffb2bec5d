"""Labelled examples of the user's own, as a source proxy: folders of files, .npz archives, tables of text."""
