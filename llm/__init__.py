"""The language model: backbone, prompt and adapters."""
