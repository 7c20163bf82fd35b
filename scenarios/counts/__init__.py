"""Traffic that passes detectors as they counted it."""
