"""Pictures made of formulas, many at a time: textures, shapes and fractals as functions of a ``Canvas``.

Every picture is a function of its numbers alone. Only operations that IEEE 754 defines to the last bit are used
(sums, products, quotients, square roots, floors, a table of sines), so that all machines draw the same bytes.
"""
