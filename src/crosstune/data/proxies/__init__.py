"""Labelled source data for pretrained bodies of every modality, available offline.

A source proxy stands in for the data a body was pretrained on. Each module of this package that defines ``PROXY``
takes part (see ``crosstune.discovery``): a ``ProxySource``. ``choose`` turns what a user asked for (auto, none, a
name, a path) into one.
"""

from __future__ import annotations

from crosstune.data.proxies.choice import DEFAULTS, choose
from crosstune.data.proxies.contract import (
    AudioProxy,
    ImageProxy,
    Modality,
    Proxy,
    ProxySource,
    SeriesProxy,
    TextProxy,
    Wanted,
    balanced,
    make_audio_proxy,
    make_image_proxy,
    make_series_proxy,
    make_text_proxy,
)

__all__ = [
    "DEFAULTS",
    "AudioProxy",
    "ImageProxy",
    "Modality",
    "Proxy",
    "ProxySource",
    "SeriesProxy",
    "TextProxy",
    "Wanted",
    "balanced",
    "choose",
    "make_audio_proxy",
    "make_image_proxy",
    "make_series_proxy",
    "make_text_proxy",
]
