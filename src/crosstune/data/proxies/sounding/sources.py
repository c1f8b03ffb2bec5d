"""The sounds themselves: each function gives a block of waves, (n, L), of any loudness."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crosstune.data.proxies.sounding.studio import Studio, Wave

Play = Callable[[Studio], Wave]


def tone(s: Studio) -> Wave:
    return s.tone(s.pitch(80, 3000))


def tremolo(s: Studio) -> Wave:
    return s.tone(s.pitch(200, 2000)) * (1 + 0.9 * np.sin(2 * np.pi * s.between(4, 12) * s.t))


def vibrato(s: Studio) -> Wave:
    depth = s.between(0.04, 0.12) * np.sin(2 * np.pi * s.between(4, 9) * s.t)
    return s.sweep(s.pitch(200, 2000) * (1 + depth))


def _glide(s: Studio, start: np.ndarray, end: np.ndarray) -> Wave:
    return s.sweep(start * (end / start) ** (s.t / s.seconds))


def rising(s: Studio) -> Wave:
    low = s.pitch(100, 800)
    return _glide(s, low, low * s.between(2, 5))


def falling(s: Studio) -> Wave:
    low = s.pitch(100, 800)
    return _glide(s, low * s.between(2, 5), low)


def siren(s: Studio) -> Wave:
    swing = np.sin(2 * np.pi * (s.between(0.8, 2.5) * s.t + s.random(1)))
    return s.sweep(s.pitch(400, 1200) * 2 ** (0.6 * swing))


def fifth(s: Studio) -> Wave:
    return s.partials(s.pitch(), [1, 1.5], [1, 1])


def major(s: Studio) -> Wave:
    return s.partials(s.pitch(), [1, 5 / 4, 3 / 2, 2], [1, 1, 1, 0.7])


def minor(s: Studio) -> Wave:
    return s.partials(s.pitch(), [1, 6 / 5, 3 / 2, 2], [1, 1, 1, 0.7])


def cluster(s: Studio) -> Wave:
    """Seven neighbouring semitones."""
    return s.partials(s.pitch(), [2 ** (k / 12) for k in range(7)], [1] * 7)


def beating(s: Studio) -> Wave:
    pitch = s.pitch(150, 1500)
    return s.tone(pitch) + s.tone(pitch + s.between(3, 12))


def sawtooth(s: Studio) -> Wave:
    return s.partials(s.pitch(80, 500), list(range(1, 15)), [1 / k for k in range(1, 15)])


def square(s: Studio) -> Wave:
    odd = list(range(1, 20, 2))
    return s.partials(s.pitch(80, 500), odd, [1 / k for k in odd])


def soft_reed(s: Studio) -> Wave:
    odd = list(range(1, 14, 2))
    return s.partials(s.pitch(80, 500), odd, [1 / k**2 for k in odd])


def buzz(s: Studio) -> Wave:
    """A narrow pulse: harmonics of one strength and phase."""
    phase = 2 * np.pi * (s.pitch(60, 250) * s.t + s.random(1))
    return sum((np.cos(k * phase) for k in range(1, 16)), np.zeros((s.rows, s.samples)))


def organ(s: Studio) -> Wave:
    return s.partials(s.pitch(80, 400), [1, 2, 4, 8], [1, 0.8, 0.6, 0.5])


def bell(s: Studio) -> Wave:
    """Partials of a church bell (hum, prime, tierce, quint, nominal and above), the higher the shorter."""
    pitch, start, length = s.pitch(200, 800), s.onset(), s.between(0.2, 0.6)
    ratios, weights = (0.5, 1, 1.2, 1.5, 2, 2.67, 4.1), (0.6, 1, 0.8, 0.5, 0.9, 0.5, 0.3)
    total: Wave = np.zeros((s.rows, s.samples))
    for ratio, weight in zip(ratios, weights):
        total += weight * s.tone(pitch * ratio) * s.decay(start, length / ratio)
    return total


def pluck(s: Studio) -> Wave:
    pitch, start, length = s.pitch(90, 500), s.onset(), s.between(0.2, 0.6)
    total: Wave = np.zeros((s.rows, s.samples))
    for k in range(1, 11):
        total += s.tone(pitch * k) * s.decay(start, length / k) / k
    return total


def brass(s: Studio) -> Wave:
    """Frequency modulation at the pitch itself, its index swelling (Chowning 1973)."""
    pitch = s.pitch(100, 500)
    index = s.between(3, 6) * np.minimum(s.t / s.between(0.1, 0.4), 1)
    phase = 2 * np.pi * pitch * s.t
    return np.sin(phase + index * np.sin(phase))


def metal(s: Studio) -> Wave:
    """Frequency modulation at an irrational ratio."""
    phase = 2 * np.pi * s.pitch(150, 700) * s.t
    return np.sin(phase + s.between(2, 6) * np.sin(np.sqrt(2) * phase))


def ring_modulated(s: Studio) -> Wave:
    carrier = s.tone(s.pitch(300, 1500))
    return carrier * s.tone(s.pitch(30, 150))


def white_noise(s: Studio) -> Wave:
    return s.white()


def pink_noise(s: Studio) -> Wave:
    return s.coloured(1.0)


def brown_noise(s: Studio) -> Wave:
    return s.coloured(2.0)


def blue_noise(s: Studio) -> Wave:
    return s.coloured(-1.5)


def narrow_noise(s: Studio) -> Wave:
    return s.band(s.pitch(300, 4000), 40.0)


def wind(s: Studio) -> Wave:
    slow = 1 + 0.8 * np.sin(2 * np.pi * (s.between(0.7, 2) * s.t + s.random(1)))
    return s.band(s.pitch(300, 900), 150.0) * slow


def bursts(s: Studio) -> Wave:
    return s.white() * s.gate(s.between(0.08, 0.25))


def beeps(s: Studio) -> Wave:
    return s.tone(s.pitch(400, 2500)) * s.gate(s.between(0.08, 0.25))


def dialling(s: Studio) -> Wave:
    """Two tones at once, on and off."""
    low = s.pitch(650, 950)
    return (s.tone(low) + s.tone(low * s.between(1.5, 1.8))) * s.gate(s.between(0.12, 0.25), 0.6)


def ticking(s: Studio) -> Wave:
    period = s.between(0.05, 0.2)
    return s.clicks(period * (np.arange(int(s.seconds / 0.05) + 1)[None] + s.random(1)))


def crackle(s: Studio) -> Wave:
    many = int(25 * s.seconds) + 1
    return s.clicks(s.random(many) * s.seconds)


def bouncing(s: Studio) -> Wave:
    """Ticks whose distances shrink geometrically."""
    first, ratio = s.between(0.15, 0.3), s.between(0.75, 0.88)
    gaps = first * ratio ** np.arange(40)[None]
    return s.clicks(s.onset(0.2) + np.cumsum(gaps, axis=1) - gaps)


def drum(s: Studio) -> Wave:
    """A thud: a fall in pitch under a short decay, with a little noise."""
    start = s.onset()
    fall = s.pitch(50, 120) * (1 + 2 * s.decay(start, 0.03))
    return s.sweep(fall) * s.decay(start, s.between(0.08, 0.25)) + 0.2 * s.white() * s.decay(start, 0.01)


def snare(s: Studio) -> Wave:
    return s.white() * s.decay(s.onset(), s.between(0.05, 0.15))


def swell(s: Studio) -> Wave:
    """Noise that grows and breaks off."""
    return s.coloured(0.5) * np.exp((s.t - s.seconds) / s.between(0.1, 0.3) / max(s.seconds, 1e-9))


def arpeggio(s: Studio) -> Wave:
    step = np.floor(s.t / s.between(0.08, 0.16)).astype(np.int64) % 4
    return s.sweep(s.pitch(200, 700) * np.array([1, 5 / 4, 3 / 2, 2])[step])


def warble(s: Studio) -> Wave:
    """Jumps between random pitches."""
    step = np.floor(s.t / s.between(0.05, 0.12)).astype(np.int64)
    pitches = 300 * 6 ** s.random(int(s.seconds / 0.05) + 2)
    return s.sweep(np.take_along_axis(pitches, np.minimum(step, pitches.shape[1] - 1), axis=1))


def echo(s: Studio) -> Wave:
    """A short tone and its repetitions, each fainter."""
    start, gap, source = s.onset(0.2), s.between(0.12, 0.22), s.tone(s.pitch(400, 2000))
    return sum((0.6**k * source * s.decay(start + k * gap, 0.03) for k in range(5)), np.zeros((s.rows, s.samples)))


def _vowel(s: Studio, formants: tuple[float, float, float]) -> Wave:
    """A pulse train through resonances at the formants (Peterson & Barney 1952), in Hz."""
    pitch, size = s.pitch(90, 250), s.between(0.9, 1.15)
    total: Wave = np.zeros((s.rows, s.samples))
    for k in range(1, 30):
        frequency = pitch * k
        strength = sum(1 / (1 + ((frequency - f * size) / (60 + 0.06 * f)) ** 2) for f in formants)
        total += strength / k**0.5 * s.tone(frequency)
    return total


def vowel_ah(s: Studio) -> Wave:
    return _vowel(s, (730, 1090, 2440))


def vowel_ee(s: Studio) -> Wave:
    return _vowel(s, (270, 2290, 3010))


def vowel_oo(s: Studio) -> Wave:
    return _vowel(s, (300, 870, 2240))


SOURCES: tuple[Play, ...] = (
    tone, tremolo, vibrato, rising, falling, siren, fifth, major, minor, cluster, beating, sawtooth, square, soft_reed,
    buzz, organ, bell, pluck, brass, metal, ring_modulated, white_noise, pink_noise, brown_noise, blue_noise,
    narrow_noise, wind, bursts, beeps, dialling, ticking, crackle, bouncing, drum, snare, swell, arpeggio, warble, echo,
    vowel_ah, vowel_ee, vowel_oo,
)  # fmt: skip
