"""Files and images of a question: checked, and made parts of its message."""
