"""crosstune: fine-tune pretrained transformers on data of any modality."""

__version__ = "0.1.0"
